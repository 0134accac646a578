"""What the inspector shows is what a training does: compared with its encoding, for three kinds of tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.catalog.catalog import Catalog
from core.errors import BadInput, BadModel
from core.measure.words import IGNORED, continued
from core.settings import ASSETS, Settings
from core.text.alignment import align_words, cut_words
from core.text.tokenizers import KINDS, kind_of, open_tokenizer, train_unigram
from core.training.encoding import encode_batch

WORDS = ["Alessandro", "O'Neill-Díaz", "met", "Zoë", ",", "in\u200bside", "𝄞", "New-Zürich", "🙂", "."]
TAGS = ["B-PER", "I-PER", "O", "B-PER", "O", "O", "O", "B-LOC", "O", "O"]
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), offline=True)


@pytest.fixture(scope="module")
def tokenizers(settings: Settings) -> dict[str, Any]:
    catalog = Catalog(settings)
    return {name: open_tokenizer(name, catalog, settings) for name in KINDS}


def test_the_three_kinds_are_there(tokenizers: dict[str, Any]) -> None:
    assert {name: found.kind for name, found in tokenizers.items()} == {
        "bert": "WordPiece", "byte-level": "Byte-level BPE", "sentencepiece": "SentencePiece unigram",
    }  # fmt: skip
    assert all(found.note and found.title for found in tokenizers.values())


@pytest.mark.parametrize("label_all", [False, True])
@pytest.mark.parametrize("length", [512, 14])
@pytest.mark.parametrize("name", list(KINDS))
def test_labels_are_those_of_a_training(name: str, length: int, label_all: bool, tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers[name].tokenizer
    rows = align_words(tokenizer, WORDS, TAGS, label_all=label_all, max_length=length)
    kept = [subword for row in rows for subword in row.subwords if not subword.cut]
    batch = {"words": [WORDS], "tags": [[LABELS.index(tag) for tag in TAGS]]}
    later = continued(LABELS) if label_all else None
    encoded = encode_batch(batch, "tags", tokenizer, length, later)
    assert [subword.id for subword in kept] == encoded["input_ids"][0]
    numbers = [IGNORED if subword.label is None else LABELS.index(subword.label) for subword in kept]
    assert numbers == encoded["labels"][0]
    assert [row.word for row in rows if row.word_id is not None] == WORDS
    assert all(row.why and all(subword.why for subword in row.subwords) for row in rows)
    assert (cut_words(rows) > 0) == (length == 14)


def test_every_reason_is_told(tokenizers: dict[str, Any]) -> None:
    rows = align_words(tokenizers["bert"].tokenizer, WORDS, TAGS, max_length=14)
    assert "special token" in rows[0].why
    assert (rows[0].subwords[0].piece, rows[-1].subwords[0].piece) == ("[CLS]", "[SEP]")
    name = next(row for row in rows if row.word.startswith("O'"))
    assert name.label == "I-PER"
    assert "first token carries" in name.why
    assert [subword.label for subword in name.subwords] == ["I-PER"] + [None] * (len(name.subwords) - 1)
    assert "each word gives loss once" in name.subwords[1].why
    last = rows[-2]
    assert (last.word, last.label) == (".", None)
    assert "Beyond the first 14 tokens" in last.why
    byte_level = align_words(tokenizers["byte-level"].tokenizer, WORDS, TAGS)
    assert any("space" in row.why and not row.word for row in byte_level)
    assert any(s.unknown for row in align_words(tokenizers["bert"].tokenizer, ["𝄞"]) for s in row.subwords)


def test_a_word_of_nothing_is_still_a_row(tokenizers: dict[str, Any]) -> None:
    rows = align_words(tokenizers["bert"].tokenizer, ["Anna", "\u200b", "ran", "\u200b"], ["B-PER", "O", "O", "O"])
    assert [row.word for row in rows] == ["", "Anna", "\u200b", "ran", "\u200b", ""]
    assert (rows[2].subwords, rows[2].label) == ((), None)
    assert "no token" in rows[2].why
    only = align_words(tokenizers["bert"].tokenizer, ["\u200b"])
    assert [row.word for row in only] == ["", "\u200b", ""]


def test_without_tags_labelled_tokens_have_the_empty_label(tokenizers: dict[str, Any]) -> None:
    rows = align_words(tokenizers["bert"].tokenizer, ["unbelievably"])
    assert rows[1].subwords[0].label == rows[1].label == ""
    assert rows[1].plain()["subwords"][0]["piece"]


@pytest.mark.parametrize(
    ("words", "tags", "length", "sentence"),
    [
        ([], [], 512, "no words"),
        (["a"], ["O", "O"], 512, "1 words and 2 tags"),
        (["a b"], [], 512, "no single word"),
        (["a"], [], 2, "no room for a word"),
    ],
)
def test_bad_input(words: list[str], tags: list[str], length: int, sentence: str, tokenizers: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=sentence):
        align_words(tokenizers["bert"].tokenizer, words, tags, max_length=length)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(BadModel, match="cannot say which tokens"):
        align_words(object(), ["a"])


def test_a_bundled_head_has_its_bases_tokenizer(settings: Settings, tokenizers: dict[str, Any]) -> None:
    head = next(path.parent.name for path in (ASSETS / "models").glob("*/adapter_config.json"))
    found = open_tokenizer(head, Catalog(settings), settings)
    assert found.kind == "WordPiece"
    assert found.tokenizer.tokenize("Zürich") == tokenizers["bert"].tokenizer.tokenize("Zürich")


def test_the_unigram_tokenizer_is_made_by_the_code_beside_it(tmp_path: Path, tokenizers: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    train_unigram(["the cat slept", "a cat and the dog", "the dog slept in the sun"] * 20, tmp_path, 600)
    made = AutoTokenizer.from_pretrained(tmp_path)
    assert kind_of(made) == "SentencePiece unigram"
    assert made.tokenize("the cat")[0].startswith("▁")
    shipped = tokenizers["sentencepiece"].tokenizer
    assert made.num_special_tokens_to_add() == shipped.num_special_tokens_to_add() == 2
    text = "A naïve frog, 12 ships & Zoë!"
    assert shipped.decode(shipped(text)["input_ids"], skip_special_tokens=True) == text
    assert len(shipped) == 1953  # as its card says
