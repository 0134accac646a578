"""From labelled tokens to entities and to words' tags: transformers' five aggregation strategies.

``entities`` gives what ``pipeline("token-classification", aggregation_strategy=...)`` gives, entity for entity (tests
compare): ``none`` each token by itself, ``simple`` neighbouring tokens of one type, and ``first``, ``average`` and
``max`` the same after all tokens of a word were given one label. Where a vocabulary has no mark for a word's
continuation (byte-level BPE, SentencePiece), a word is whatever stands between spaces, as in the library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.text.tag import TokenLabels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STRATEGIES = ("none", "simple", "first", "average", "max")
OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Entity:
    """A place in a text, from ``start`` to before ``end``, and what the model takes it for.

    ``type`` is without its B- or I-, but for the strategy ``none``, whose tokens keep their labels.
    """

    start: int
    end: int
    type: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class _Unit:
    """A token, or a word of several, with its one label."""

    label: str
    score: float
    start: int
    end: int


def entities(labels: TokenLabels, text: str, id2label: Mapping[int, str], strategy: str = "simple") -> list[Entity]:
    """The entities of ``text`` in order, under one of ``STRATEGIES``. Raises ``ValueError`` for another name."""
    if strategy not in STRATEGIES:
        raise ValueError(f"no such strategy: {strategy}")
    if not len(labels.tokens):
        return []
    best, scores = labels.probabilities.argmax(-1), labels.probabilities.max(-1)
    names = [id2label[number] for number in best.tolist()]
    if strategy in ("none", "simple") and all(name == OUTSIDE for name in names):
        return []
    if strategy in ("none", "simple"):
        spans = labels.spans
        units = [_Unit(name, score, *span) for name, score, span in zip(names, scores.tolist(), spans, strict=True)]
    else:
        units = [_word(labels, tokens, id2label, strategy) for tokens in _words(labels.continues)]
    if strategy == "none":
        return [_entity([unit], unit.label, text) for unit in units if unit.label != OUTSIDE]
    return [_entity(group, kind, text) for group, kind in _grouped(units) if kind != OUTSIDE]


def word_tags(labels: TokenLabels, n_words: int, id2label: Mapping[int, str]) -> list[str]:
    """A tag for each of ``n_words`` words: that of its first token; "O" for a word that no token stands for."""
    tags = [OUTSIDE] * n_words
    best = labels.probabilities.argmax(-1).tolist() if len(labels.tokens) else []
    for word, number in reversed(list(zip(labels.word_ids, best, strict=True))):
        if word is not None:
            tags[word] = id2label[number]
    return tags


def _words(continues: Sequence[bool]) -> Iterator[list[int]]:
    """The places of each word's tokens."""
    word: list[int] = []
    for at, goes_on in enumerate(continues):
        if word and not goes_on:
            yield word
            word = []
        word.append(at)
    if word:
        yield word


def _word(labels: TokenLabels, tokens: list[int], id2label: Mapping[int, str], strategy: str) -> _Unit:
    """One label for all of a word's tokens."""
    rows: NDArray[np.float32] = labels.probabilities[tokens]
    if strategy == "first":
        row = rows[0]
    elif strategy == "max":
        row = rows[rows.max(-1).argmax()]
    else:
        row = rows.mean(0)
    best = int(row.argmax())
    return _Unit(id2label[best], float(row[best]), labels.spans[tokens[0]][0], labels.spans[tokens[-1]][1])


def _grouped(units: Sequence[_Unit]) -> Iterator[tuple[list[_Unit], str]]:
    """Neighbours of one type, parted where a label begins with B-; without such marks a type goes on."""
    group: list[_Unit] = []
    last = ""
    for unit in units:
        begins, kind = unit.label.startswith("B-"), _type(unit.label)
        if group and (begins or kind != last):
            yield group, last
            group = []
        group.append(unit)
        last = kind
    if group:
        yield group, last


def _type(label: str) -> str:
    return label[2:] if label.startswith(("B-", "I-")) else label


def _entity(group: Sequence[_Unit], kind: str, text: str) -> Entity:
    start, end = group[0].start, group[-1].end
    return Entity(start, end, kind, sum(unit.score for unit in group) / len(group), text[start:end])
