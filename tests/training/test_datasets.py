"""From a source to rows to train on: columns found or chosen, labels numbered, a split that a seed decides."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput, NotFound
from core.settings import Settings
from core.training import datasets as subject
from core.training.columns import Columns
from core.training.datasets import DataSource, Prepared, find_source, open_data, split
from core.training.parameters import Task

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def opened(
    folder: Path, rows: list[dict[str, Any]], task: Task = Task.LANGUAGE, columns: Columns | None = None, **options: Any
) -> Prepared:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    share, seed = options.get("share", 0.2), options.get("seed", 7)
    return open_data(DataSource("file", "rows.jsonl", path), columns or Columns(), task, share, seed)


def all_rows(prepared: Prepared) -> list[dict[str, Any]]:
    return [*prepared.train.to_list(), *prepared.validation.to_list()]


@pytest.mark.parametrize(
    ("row", "columns", "form", "expected"),
    [
        ({"id": 1, "text": "Once"}, Columns(), "text", {"text": "Once"}),
        ({"Story": "Once"}, Columns(), "text", {"text": "Once"}),
        ({"whatever": "Once"}, Columns(), "text", {"text": "Once"}),
        ({"a": "Once", "b": "x"}, Columns("a"), "text", {"text": "Once"}),
        ({"a": "P", "b": "C"}, Columns("a", "b"), "completion", {"prompt": "P\n", "completion": "C"}),
        ({"prompt": "P ", "completion": "C"}, Columns(), "completion", {"prompt": "P ", "completion": "C"}),
        ({"prompt": "P", "completion": " C"}, Columns(), "completion", {"prompt": "P", "completion": " C"}),
        ({"question": "Q", "answer": "A"}, Columns(), "completion", {"prompt": "Q\n", "completion": "A"}),
        (
            {"instruction": "I", "input": "X", "output": "O"},
            Columns(),
            "completion",
            {"prompt": "I\nX\n", "completion": "O"},
        ),
        (
            {"instruction": "I", "input": "", "response": "O"},
            Columns(),
            "completion",
            {"prompt": "I\n", "completion": "O"},
        ),
        ({"messages": TURNS}, Columns(), "messages", {"messages": TURNS}),
        ({"chat": json.dumps(TURNS)}, Columns("chat"), "messages", {"messages": TURNS}),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
            Columns(),
            "messages",
            {"messages": TURNS},
        ),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, Columns(), "messages", {"messages": TURNS}),
    ],
)
def test_columns_of_language_are_found_or_chosen(
    row: dict[str, Any], columns: Columns, form: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    prepared = opened(tmp_path, [row] * 4, columns=columns)
    assert prepared.form == form
    assert prepared.labels == ()
    assert all_rows(prepared) == [expected] * 4


@pytest.mark.parametrize(
    ("rows", "labels", "first"),
    [
        ([{"text": "a", "label": "pos"}, {"text": "b", "label": "neg"}], ("neg", "pos"), {"text": "a", "label": 1}),
        ([{"sentence": "a", "sentiment": 1}, {"sentence": "b", "sentiment": 0}], ("0", "1"), {"text": "a", "label": 1}),
        ([{"review": "a", "stars": "10"}, {"review": "b", "stars": "9"}], ("9", "10"), {"text": "a", "label": 1}),
        ([{"tweet": "a", "category": 2.0}, {"tweet": "b", "category": 1.0}], ("1", "2"), {"text": "a", "label": 1}),
        ([{"body": "a", "spam": True}, {"body": "b", "spam": False}], ("false", "true"), {"text": "a", "label": 1}),
        (
            [{"premise": "a", "hypothesis": "b", "label": 1}, {"premise": "c", "hypothesis": "d", "label": 0}],
            ("0", "1"),
            {"text": "a", "text_pair": "b", "label": 1},
        ),
    ],
)
def test_labels_become_numbers_in_a_sensible_order(
    rows: list[dict[str, Any]], labels: tuple[str, ...], first: dict[str, Any], tmp_path: Path
) -> None:
    prepared = opened(tmp_path, rows * 3, Task.CLASSIFICATION)
    assert prepared.form == "labels"
    assert prepared.labels == labels
    assert prepared.train[0] == first


def test_words_and_tags_from_lists_or_from_text(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"tokens": ["Anna", "slept"], "ner_tags": ["B-PER", "O"]},
        {"tokens": "in New York", "ner_tags": "O B-LOC I-LOC"},
        {"tokens": '["yes"]', "ner_tags": ["I-PER"]},
    ]
    prepared = opened(tmp_path, rows, Task.TOKENS)
    assert prepared.form == "tags"
    assert prepared.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    by_word = {row["words"][0]: row["tags"] for row in all_rows(prepared)}
    assert by_word == {"Anna": [3, 0], "in": [0, 1, 2], "yes": [4]}


def test_a_conll_file_is_tagged_words(tmp_path: Path) -> None:
    path = tmp_path / "kept-under-a-hash"
    path.write_text("Anna B-PER\nslept O\n\nBen B-PER\nran O\n")
    prepared = open_data(DataSource("file", "my.txt", path), Columns(), Task.TOKENS, 0.5, 1)
    assert prepared.labels == ("O", "B-PER")
    assert sorted(row["words"] for row in all_rows(prepared)) == [["Anna", "slept"], ["Ben", "ran"]]


def test_the_seed_decides_the_split_and_nothing_else_does(tmp_path: Path) -> None:
    rows = [{"text": f"story {i}"} for i in range(100)]
    one, same, other = (opened(tmp_path, rows, seed=seed) for seed in (7, 7, 8))
    assert len(one.train) == 80
    assert len(one.validation) == 20
    assert one.train.to_list() == same.train.to_list()
    assert one.validation.to_list() == same.validation.to_list()
    assert one.validation.to_list() != other.validation.to_list()
    assert sorted(row["text"] for row in all_rows(one)) == sorted(row["text"] for row in rows)


def test_each_label_gives_its_share_to_validation(tmp_path: Path) -> None:
    rows = [{"text": f"t{i}", "label": ("often", "seldom", "rare")[0 if i < 80 else 1 if i < 99 else 2]}
            for i in range(100)]  # fmt: skip
    prepared = opened(tmp_path, rows, Task.CLASSIFICATION, share=0.2)
    names = prepared.labels
    counts = Counter(names[label] for label in prepared.validation["label"])
    assert counts == {"often": 16, "seldom": 4}
    assert {names[label] for label in prepared.train["label"]} == {"often", "seldom", "rare"}


@pytest.mark.parametrize(("rows", "share", "kept_out"), [(2, 0.01, 1), (2, 0.5, 1), (3, 0.5, 2), (10, 0.01, 1)])
def test_both_sides_of_a_split_have_rows(rows: int, share: float, kept_out: int) -> None:
    train, validation = split([{"text": str(i)} for i in range(rows)], share, 3)
    assert len(validation) == kept_out
    assert len(train) == rows - kept_out


def test_validation_is_at_most_so_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_VALIDATION", 5)
    train, validation = split([{"text": str(i)} for i in range(100)], 0.5, 3)
    assert (len(train), len(validation)) == (95, 5)


def test_rows_with_nothing_in_them_are_left_out_and_counted(tmp_path: Path) -> None:
    text = '{"text": "a"}\n{"text": NaN}\n{"text": null}\n{"text": "  "}\n{"text": "b"}\n{"other": 1}\n'
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    prepared = open_data(DataSource("file", "a.jsonl", path), Columns("text"), Task.LANGUAGE, 0.1, 1)
    assert sorted(row["text"] for row in all_rows(prepared)) == ["a", "b"]
    assert prepared.notes == ("4 rows without a text were left out.",)


def test_hidden_labels_and_nan_labels_are_left_out(tmp_path: Path) -> None:
    rows = [{"text": f"t{i}", "label": label} for i, label in enumerate([0, 1, 0, 1, -1, float("nan")])]
    prepared = opened(tmp_path, rows, Task.CLASSIFICATION)
    assert prepared.labels == ("0", "1")
    assert prepared.notes == ("2 rows without a label were left out.",)


def test_characters_that_no_tokenizer_takes_are_gone(tmp_path: Path) -> None:
    prepared = opened(tmp_path, [{"text": "a\0b\ud800c"}] * 2)
    assert all_rows(prepared)[0] == {"text": "ab?c"}


BAD: list[tuple[str, list[dict[str, Any]], Task, Columns, str]] = [
    ("no such column", [{"text": "a"}] * 3, Task.LANGUAGE, Columns("story"), "“story”. The data has one column"),
    ("not recognised", [{"x": "a", "y": "b", "z": "c"}] * 3, Task.LANGUAGE, Columns(), "“x”, “y”, “z”"),
    ("no labels", [{"text": "a", "x": 1, "y": 2}] * 3, Task.CLASSIFICATION, Columns(), "No column of labels"),
    ("one class", [{"text": f"{i}", "label": "a"} for i in "123"], Task.CLASSIFICATION, Columns(), "same label, “a”"),
    ("texts as labels", [{"text": f"{i}", "label": f"l{i}"} for i in range(50)], Task.CLASSIFICATION, Columns(),
     "50 different values in 50 rows"),
    ("one column twice", [{"text": "a", "b": "c"}] * 3, Task.LANGUAGE, Columns("text", "text"), "the same column"),
    ("lists as texts", [{"text": ["a"]}] * 3, Task.LANGUAGE, Columns(), "Row 1 has a list in column “text”"),
    ("one row", [{"text": "a"}], Task.LANGUAGE, Columns(), "Only 1 of 1 rows"),
    ("no row left", [{"text": ""}] * 5, Task.LANGUAGE, Columns(), "Only 0 of 5 rows"),
    ("tags that do not fit", [{"words": ["a", "b"], "tags": ["O"]}] * 3, Task.TOKENS, Columns(), "2 words and 1 tags"),
    ("turns without a role", [{"messages": [{"role": "user", "content": "a"}]}, {"messages": [{"content": "b"}]}],
     Task.LANGUAGE, Columns(), "Row 2 has a turn without a role"),
    ("no turns", [{"messages": [{"role": "user", "content": "a"}]}, {"messages": "text"}], Task.LANGUAGE, Columns(),
     "Row 2 has no list of turns"),
    ("nobody answers", [{"messages": [{"role": "user", "content": "a"}]}] * 3, Task.LANGUAGE, Columns(), "Only 0 of 3"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "task", "columns", "sentence"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
def test_data_that_cannot_be_used_is_refused_with_a_sentence(
    rows: list[dict[str, Any]], task: Task, columns: Columns, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as caught:
        opened(tmp_path, rows, task, columns)
    assert sentence in caught.value.what
    assert caught.value.todo.endswith(".")


def test_a_name_is_an_upload_a_bundled_set_or_a_dataset_of_the_hub(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, offline=True)
    upload = find_source("upload:1f", settings, upload=lambda name: (tmp_path / name, "my.csv"))
    assert upload == DataSource("file", "my.csv", tmp_path / "upload:1f")
    bundled = find_source("feelings", settings)
    assert bundled.kind == "bundled"
    assert bundled.path is not None
    assert bundled.path.is_file()
    hub = find_source("owner/name:config", settings, token="hf_secret")
    assert (hub.kind, hub.name, hub.offline) == ("hub", "owner/name:config", True)
    assert "hf_secret" not in repr(hub)
    with pytest.raises(NotFound):
        find_source("upload:1f", settings)
    with pytest.raises(NotFound):
        open_data(upload, Columns(), Task.LANGUAGE, 0.1, 1)
    with pytest.raises(NotFound):
        open_data(DataSource("bundled", "nothing-here"), Columns(), Task.LANGUAGE, 0.1, 1)
