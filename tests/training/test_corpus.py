"""The held-out split, near-duplicates, and the rows that training sees."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput
from core.training.corpus import (
    HELD_OUT_FILE,
    Mixture,
    Source,
    as_conversation,
    drop_near_duplicates,
    is_held_out,
    read_corpus,
    split_stories,
)

WORDS = [
    "cat",
    "dog",
    "sun",
    "hat",
    "red",
    "big",
    "ran",
    "sat",
    "tree",
    "boat",
    "fish",
    "lamp",
    "door",
    "king",
    "milk",
    "rain",
    "sand",
    "wolf",
    "book",
    "song",
]


def story(n: int) -> str:
    rng = np.random.default_rng(n)
    return ". ".join(" ".join(rng.choice(WORDS, 10)) for _ in range(3)) + "."


def write_corpus(root: Path, stories: int = 60) -> list[str]:
    """A corpus in the layout that ``read_corpus`` expects; returns the cased stories."""
    texts = [story(n) for n in range(stories)]
    (root / "stories").mkdir(parents=True)
    (root / "modern_prose").mkdir()
    (root / "stories" / HELD_OUT_FILE).write_text("\n<|endoftext|>\n".join(texts), encoding="utf-8")
    (root / "modern_prose" / "letters.txt").write_text(" ".join(story(n) for n in range(100, 140)), encoding="utf-8")
    return texts


def test_held_out_is_the_stated_twentieth() -> None:
    texts = [story(n) for n in range(400)]
    held = [t for t in texts if is_held_out(t)]
    assert held == [t for t in texts if int(hashlib.sha1(t.encode(), usedforsecurity=False).hexdigest(), 16) % 20 == 0]
    assert 5 <= len(held) <= 40


def test_split_drops_empty_documents_and_outer_space() -> None:
    assert split_stories(" one \n<|endoftext|>\n<|endoftext|>two\n<|endoftext|>\n") == ["one", "two"]


def test_near_duplicates_of_the_held_out_stories_are_dropped() -> None:
    kept, other = story(1), story(2)
    words = kept.split()
    nearly = " ".join([*words[:-3], "And", "then", "home."]).upper()
    assert drop_near_duplicates([nearly, kept, other], [kept]) == [other]


def test_read_corpus_trains_on_nothing_that_is_held_out(tmp_path: Path) -> None:
    texts = write_corpus(tmp_path)
    corpus = read_corpus(tmp_path)
    assert set(corpus.held_out) == {t for t in texts if is_held_out(t)}
    assert set(corpus.stories) | set(corpus.held_out) == set(texts)
    assert not set(corpus.stories) & set(corpus.held_out)
    assert corpus.novels == ()


def test_a_folder_without_stories_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Point --data"):
        read_corpus(tmp_path)


def test_conversation_splits_after_the_first_sentence() -> None:
    chat = as_conversation("A cat sat. It ran. It slept.")
    assert chat is not None
    assert chat[1]["content"].endswith("begins like this: A cat sat.")
    assert chat[2]["content"] == "It ran. It slept."
    assert as_conversation("Only one sentence") is None


def sources() -> list[Source]:
    return [
        Source.of("low", [[i, i, i] for i in range(10)], 8),
        Source.of("high", [[100 + i] * 5 for i in range(10)], 8),
    ]


def test_an_epoch_shows_every_document_once_before_any_twice() -> None:
    mixture = Mixture(sources(), 8, seed=3)
    rows = mixture.batch(3, {"low": 1.0, "high": 0.0})
    assert rows.shape == (3, 9)
    seen = sorted(rows[:, :8].ravel().tolist())
    assert max(seen.count(i) for i in range(10)) <= 3


def test_mixture_state_restores_the_same_rows() -> None:
    first = Mixture(sources(), 8, seed=3)
    for _ in range(5):
        first.batch(4, {"low": 0.5, "high": 0.5, "absent": 1.0})
    second = Mixture(sources(), 8, seed=3)
    second.restore(first.state())
    weights = {"low": 0.3, "high": 0.7}
    for _ in range(5):
        np.testing.assert_array_equal(first.batch(4, weights), second.batch(4, weights))


def test_a_source_too_small_for_one_row_is_refused() -> None:
    with pytest.raises(BadInput, match="too few letters"):
        Source.of("letters", [[1, 2, 3]], 8)
