"""What the preview shows is what the trainers train on: compared with TRL's own processed rows, mask by mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.errors import BadInput
from core.measure.words import continued, token_labels, word_ids
from core.settings import ASSETS
from core.training.columns import Form
from core.training.datasets import Prepared
from core.training.encoding import IGNORED, encode, language_data, language_rows, room
from core.training.parameters import Task, TrainingParameters

TEXTS = [
    "Once upon a time there was a cat.",
    "Arr, me hearties! The ship sailed on, and on, and on.",
    "Ends already.<|endoftext|>",
]
EXCHANGES = [
    {"prompt": "Say hello.\n", "completion": "Hello, friend!"},
    {"prompt": "Write a word that merges with the pro", "completion": "mpt, please."},
    {"prompt": "A prompt so long that nothing is left of the row when it is cut. " * 6, "completion": "Gone."},
]
CHATS = [
    [
        {"role": "system", "content": "You tell short, simple stories."},
        {"role": "user", "content": "Tell one."},
        {"role": "assistant", "content": "Once there was a frog."},
    ],
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "See you soon."},
    ],
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(ASSETS / "models" / "story-lm", local_files_only=True)


def prepared(form: Form, rows: list[dict[str, Any]], labels: tuple[str, ...] = ()) -> Prepared:
    return Prepared(Dataset.from_list(rows), Dataset.from_list(rows[:2]), form, labels, ())


FORMS: dict[Form, list[dict[str, Any]]] = {
    "text": [{"text": text} for text in TEXTS],
    "completion": EXCHANGES,
    "messages": [{"messages": chat} for chat in CHATS],
}


def trl_rows(data: Any, tokenizer: Any, folder: Path) -> tuple[Dataset, Dataset]:
    """The rows as an ``SFTTrainer`` holds them after its preparation."""
    from trl import SFTConfig, SFTTrainer

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    arguments = SFTConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, **data.settings
    )
    trainer = SFTTrainer(
        LlamaForCausalLM(config),
        args=arguments,
        train_dataset=data.train,
        eval_dataset=data.validation,
        processing_class=tokenizer,
    )
    return trainer.train_dataset, trainer.eval_dataset


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize(
    ("form", "template"),
    [
        ("text", "marked"),
        ("completion", "marked"),
        ("messages", "marked"),
        ("messages", "unmarked"),
        ("messages", "none"),
    ],
)
def test_rows_and_masks_are_those_of_trl(
    form: Form, template: str, only: bool, packing: bool, tokenizer: Any, tmp_path: Path
) -> None:
    if template != "marked":
        tokenizer = AutoTokenizer.from_pretrained(ASSETS / "models" / "story-lm", local_files_only=True)
        plain = tokenizer.chat_template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
        tokenizer.chat_template = plain if template == "unmarked" else None
    parameters = TrainingParameters(max_length=48, completion_only_loss=only, packing=packing)
    data = language_data(prepared(form, FORMS[form]), tokenizer, parameters)
    theirs = trl_rows(data, tokenizer, tmp_path)
    for rows, processed in zip((data.train, data.validation), theirs, strict=True):
        ours = language_rows(rows, tokenizer, data.settings)
        assert [row.ids for row in ours] == processed["input_ids"][:]
        labels = [[i if trained else IGNORED for i, trained in zip(row.ids, row.trained, strict=True)] for row in ours]
        assert labels == processed["labels"][:]


def test_a_text_ends_with_one_end_token_and_all_of_it_gives_loss(tokenizer: Any) -> None:
    data = language_data(prepared("text", FORMS["text"]), tokenizer, TrainingParameters())
    rows = language_rows(data.train, tokenizer, data.settings)
    for row in rows:
        assert row.ids[-1] == tokenizer.eos_token_id != row.ids[-2]
        assert all(row.trained)


def test_only_the_assistants_turns_give_loss_with_a_template_that_marks_them(tokenizer: Any) -> None:
    data = language_data(prepared("messages", FORMS["messages"]), tokenizer, TrainingParameters())
    row = language_rows(data.train, tokenizer, data.settings)[1]
    scored = tokenizer.decode([i for i, trained in zip(row.ids, row.trained, strict=True) if trained])
    assert scored == "Hello!<|im_end|>See you soon.<|im_end|>"
    assert data.settings["assistant_only_loss"]
    assert data.notes == ()


def test_without_marks_only_the_last_turn_gives_loss_and_a_note_says_so(tokenizer: Any) -> None:
    unmarked = AutoTokenizer.from_pretrained(ASSETS / "models" / "story-lm", local_files_only=True)
    unmarked.chat_template = tokenizer.chat_template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    data = language_data(prepared("messages", FORMS["messages"]), unmarked, TrainingParameters())
    row = language_rows(data.train, unmarked, data.settings)[1]
    scored = unmarked.decode([i for i, trained in zip(row.ids, row.trained, strict=True) if trained])
    assert scored == "See you soon.<|im_end|>\n"
    assert "last turn" in data.notes[0]


def test_without_a_template_turns_become_lines(tokenizer: Any) -> None:
    bare = AutoTokenizer.from_pretrained(ASSETS / "models" / "story-lm", local_files_only=True)
    bare.chat_template = None
    data = language_data(prepared("messages", FORMS["messages"]), bare, TrainingParameters())
    assert data.train[1]["prompt"] == "User: Hi\nAssistant: Hello!\nUser: Bye\nAssistant:"
    assert data.train[1]["completion"] == " See you soon."
    assert "no chat template" in data.notes[0]


def test_a_row_is_never_longer_than_the_tokenizers_own_limit(tokenizer: Any) -> None:
    assert room(tokenizer, TrainingParameters(max_length=8192)) == 512
    assert room(tokenizer, TrainingParameters(max_length=64)) == 64
    unlimited = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    assert room(unlimited, TrainingParameters(max_length=8192)) == 8192


def test_texts_with_labels_and_pairs_are_encoded_and_cut(tokenizer: Any) -> None:
    rows = [{"text": "A long happy day. " * 20, "label": 1}, {"text": "No.", "label": 0}]
    parameters = TrainingParameters(task=Task.CLASSIFICATION, max_length=16)
    encoded = encode(prepared("labels", rows, ("no", "yes")), tokenizer, parameters)
    assert [len(ids) for ids in encoded.train["input_ids"]] == [16, len(tokenizer("No.")["input_ids"])]
    assert encoded.train["labels"][:] == [1, 0]
    pairs = [{"text": "One.", "text_pair": "Two.", "label": 1}, {"text": "Three.", "text_pair": "Four.", "label": 0}]
    both = encode(prepared("labels", pairs, ("no", "yes")), tokenizer, parameters)
    assert both.train["input_ids"][0] == tokenizer("One.", "Two.")["input_ids"]


def test_each_word_is_labelled_on_its_first_token_only(tokenizer: Any) -> None:
    words = ["Alessandro", "met", "Wolfgang", "."]
    rows = [{"words": words, "tags": [1, 0, 1, 0]}] * 2
    parameters = TrainingParameters(task=Task.TOKENS)
    row = encode(prepared("tags", rows, ("O", "B-PER")), tokenizer, parameters).train[0]
    assert len(row["labels"]) == len(row["input_ids"])
    assert [label for label in row["labels"] if label != IGNORED] == [1, 0, 1, 0]
    first = {i for i, label in enumerate(row["labels"]) if label != IGNORED}
    pieces = [tokenizer.decode([i]) for i in row["input_ids"]]
    starts = [pieces[i].strip() for i in sorted(first)]
    assert all(word.startswith(start) for word, start in zip(words, starts, strict=True))
    assert len(pieces) > len(words) + 1  # some word is more than one token, or the test shows nothing


def test_a_word_that_was_cut_off_or_has_no_token_gets_no_label() -> None:
    words, tags = ["ab", "cd", "ef"], [5, 6, 7]
    assert token_labels(word_ids([(0, 0), (0, 2), (2, 4), (4, 5)], words), tags) == [IGNORED, 5, 6, IGNORED]
    assert token_labels(word_ids([(0, 1), (1, 2), (5, 8)], words), tags) == [5, IGNORED, 7]


def test_every_subword_learns_the_words_tag_in_training_rows_only(tokenizer: Any) -> None:
    words = ["Alessandro", "Wolfgang", "ran"]
    rows = [{"words": words, "tags": [1, 2, 0]}] * 2
    first = encode(prepared("tags", rows, ("O", "B-PER", "I-PER")), tokenizer, TrainingParameters(task=Task.TOKENS))
    parameters = TrainingParameters(task=Task.TOKENS, label_all_tokens=True)
    every = encode(prepared("tags", rows, ("O", "B-PER", "I-PER")), tokenizer, parameters)
    of_word = word_ids(tokenizer(" ".join(words), return_offsets_mapping=True)["offset_mapping"], words)
    counts = [of_word.count(word) for word in range(3)]
    assert min(counts[:2]) > 1
    assert every.train[0]["labels"] == [IGNORED, 1, *[2] * (counts[0] - 1), *[2] * counts[1], *[0] * counts[2]]
    assert every.validation[0] == first.validation[0] == first.train[0]
    assert every.train[0]["labels"].count(IGNORED) < first.train[0]["labels"].count(IGNORED)


def test_the_label_of_later_subwords() -> None:
    assert continued(("O", "B-PER", "I-PER", "B-LOC", "NOUN")) == [0, 2, 2, 3, 4]


def test_a_task_and_rows_that_do_not_fit_are_refused(tokenizer: Any) -> None:
    with pytest.raises(BadInput, match="without labels"):
        encode(prepared("text", FORMS["text"]), tokenizer, TrainingParameters())
    labelled = prepared("labels", [{"text": "a", "label": 0}, {"text": "b", "label": 1}], ("x", "y"))
    with pytest.raises(BadInput, match="labelled"):
        language_data(labelled, tokenizer, TrainingParameters())
