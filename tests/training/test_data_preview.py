"""The preview before a training: tokens and masks, cuts, lengths, duplicates, labels, and the number of steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from core.settings import ASSETS
from core.training import preview as subject
from core.training.columns import Columns, Form
from core.training.datasets import DataSource, Prepared, open_data
from core.training.parameters import Task, TrainingParameters
from core.training.preview import histogram, preview, steps_of


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(ASSETS / "models" / "story-lm", local_files_only=True)


def prepared(form: Form, train: list[dict[str, Any]], validation: list[dict[str, Any]], *labels: str) -> Prepared:
    return Prepared(Dataset.from_list(train), Dataset.from_list(validation), form, labels, ("A note.",))


def text_of(row: dict[str, Any], *, trained: bool | None = None) -> str:
    return "".join(token["text"] for token in row["tokens"] if trained is None or token["trained"] is trained)


@pytest.mark.parametrize(
    ("name", "task"),
    [("pirate-stories", "language"), ("story-requests", "language"), ("feelings", "classification")],
)
def test_bundled_sets_have_no_duplicates_and_fit_the_default_length(name: str, task: str, tokenizer: Any) -> None:
    parameters = TrainingParameters(task=Task(task))
    shown = preview(open_data(DataSource("bundled", name), Columns(), Task(task), 0.1, 7), tokenizer, parameters)
    assert json.loads(json.dumps(shown)) == shown
    assert shown["truncated"] == 0
    assert shown["duplicates"] == {"within": 0, "across": 0, "conflicts": 0, "examples": []}
    assert shown["notes"] == []
    assert sum(shown["lengths"]["counts"]) == shown["train_rows"] == shown["sequences"]
    assert len(shown["rows"]) == 8


def test_a_row_shows_what_gives_loss_and_what_is_cut(tokenizer: Any) -> None:
    row = {"prompt": "Say hello.\n", "completion": "Hello, my dear little friend in the garden!"}
    data = prepared("completion", [row, row], [row])
    shown = preview(data, tokenizer, TrainingParameters(max_length=12))
    first = shown["rows"][0]
    assert text_of(first, trained=False) == "<|endoftext|>Say hello.\n"
    assert text_of(first).startswith("<|endoftext|>Say hello.\nHello, my")
    assert len(first["tokens"]) == 12
    assert first["tokens"][0]["special"]
    assert not first["tokens"][1]["special"]
    whole = len(tokenizer(row["prompt"] + row["completion"])["input_ids"]) + 1
    assert first["cut"] == whole - 12
    assert shown["lengths"]["longest"] == whole
    assert shown["truncated"] == 2
    assert shown["notes"] == ["A note."]


def test_rows_that_the_cut_leaves_nothing_to_learn_are_said_to_be_gone(tokenizer: Any) -> None:
    gone = {"prompt": "A very long prompt. " * 9 + "\n", "completion": "Gone."}
    kept = {"prompt": "Short.\n", "completion": "Kept."}
    shown = preview(prepared("completion", [gone, kept], [kept]), tokenizer, TrainingParameters(max_length=16))
    assert len(shown["rows"]) == shown["sequences"] == 1
    assert "1 rows are left out: the cut takes all that would give loss." in shown["notes"]


def test_packed_rows_share_a_length(tokenizer: Any) -> None:
    rows = [{"text": f"Once there was a cat who was {n} years old."} for n in range(30)]
    shown = preview(prepared("text", rows, rows[:2]), tokenizer, TrainingParameters(max_length=64, packing=True))
    assert {len(row["tokens"]) for row in shown["rows"][:-1]} == {64}
    assert shown["sequences"] < 30
    assert shown["steps"] == steps_of(shown["sequences"], TrainingParameters())


def test_labels_are_shown_by_row_and_counted(tokenizer: Any) -> None:
    rows = [{"text": "Yes!", "label": 1}, {"text": "No.", "label": 0}, {"text": "Yes, yes!", "label": 1}]
    data = prepared("labels", rows, rows[:1], "no", "yes")
    shown = preview(data, tokenizer, TrainingParameters(task=Task.CLASSIFICATION), rows=2)
    assert [row["label"] for row in shown["rows"]] == ["yes", "no"]
    assert not any(token["trained"] for row in shown["rows"] for token in row["tokens"])
    assert shown["labels"] == {"no": 1, "yes": 2}


def test_tags_stand_on_the_first_token_of_a_word(tokenizer: Any) -> None:
    rows = [{"words": ["Alessandro", "ran"], "tags": [1, 0]}] * 2
    data = prepared("tags", rows, rows[:1], "O", "B-PER")
    shown = preview(data, tokenizer, TrainingParameters(task=Task.TOKENS))
    tokens = shown["rows"][0]["tokens"]
    assert [token["tag"] for token in tokens if token["trained"]] == ["B-PER", "O"]
    assert not any("tag" in token for token in tokens if not token["trained"])
    assert shown["labels"] == {"O": 2, "B-PER": 2}


def test_tags_stand_on_every_token_of_a_word_when_asked(tokenizer: Any) -> None:
    rows = [{"words": ["Alessandro", "ran"], "tags": [1, 0]}] * 2
    data = prepared("tags", rows, rows[:1], "O", "B-PER", "I-PER")
    shown = preview(data, tokenizer, TrainingParameters(task=Task.TOKENS, label_all_tokens=True))
    given = [token["tag"] for token in shown["rows"][0]["tokens"] if token["trained"]]
    assert given[:2] == ["B-PER", "I-PER"]
    assert given[-1] == "O"
    assert len(given) == len(shown["rows"][0]["tokens"]) - 1


def test_duplicates_are_found_whatever_their_case_and_spaces(tokenizer: Any) -> None:
    train = [{"text": "A good day.", "label": 0}, {"text": "a  GOOD day. ", "label": 1}, {"text": "Other.", "label": 1}]
    validation = [{"text": "other.", "label": 1}, {"text": "New.", "label": 0}]
    found = preview(
        prepared("labels", train, validation, "x", "y"), tokenizer, TrainingParameters(task=Task.CLASSIFICATION)
    )["duplicates"]
    assert found == {"within": 1, "across": 1, "conflicts": 1, "examples": ["a  GOOD day. ", "other."]}


def test_many_rows_are_measured_in_part(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MEASURED", 10)
    rows = [{"text": f"Story {n}."} for n in range(25)]
    shown = preview(prepared("text", rows, rows[:2]), tokenizer, TrainingParameters(max_length=8192))
    assert sum(shown["lengths"]["counts"]) == 10
    assert shown["sequences"] == 25
    assert "Lengths are measured on 10 of 25 rows." in shown["notes"]
    assert "Rows are cut at 512 tokens: the model reads no more." in shown["notes"]


def test_a_histogram_has_equal_steps_and_counts_every_row() -> None:
    found = histogram([0, 1, 31, 32, 33])
    assert found["edges"] == list(range(0, 40, 5))
    assert found["counts"] == [2, 0, 0, 0, 0, 0, 3]
    assert (found["longest"], found["mean"], found["unit"]) == (33, 19.4, "tokens")
    assert histogram([]) == {"edges": [0, 1], "counts": [0], "unit": "tokens", "longest": 0, "mean": 0.0}


@pytest.mark.parametrize(
    ("rows", "batch", "accumulation", "epochs", "most"),
    [
        (10, 4, 1, 1.0, 0),
        (10, 4, 2, 1.0, 0),
        (10, 4, 2, 2.5, 0),
        (10, 4, 4, 0.5, 0),
        (3, 8, 3, 2, 0),
        (9, 2, 1, 3, 4),
    ],
)
def test_steps_are_those_of_the_trainer(
    rows: int, batch: int, accumulation: int, epochs: float, most: int, tmp_path: Path
) -> None:
    parameters = TrainingParameters(batch_size=batch, gradient_accumulation=accumulation, epochs=epochs, max_steps=most)
    done: list[int] = []

    class Last(TrainerCallback):
        def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            done.append(state.global_step)

    config = LlamaConfig(vocab_size=8, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1)
    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no",
        per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, num_train_epochs=epochs,
        max_steps=most or -1,
    )  # fmt: skip
    data = Dataset.from_list([{"input_ids": [1, 2], "labels": [1, 2]}] * rows)
    Trainer(LlamaForCausalLM(config), arguments, train_dataset=data, callbacks=[Last()]).train()
    assert done == [steps_of(rows, parameters)]
