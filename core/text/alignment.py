"""How a tokenizer cuts tagged words: each word's tokens, which of them carry the tag, and why the others do not.

Promises
- Words and labels are those of a training (``core.measure.words`` decides for both), so what is shown here is what
  happens there: special tokens, later tokens of a word and what truncation takes away included.
- Every token is in exactly one row, in the order of the text; cut ones say so. A word that became no token has a row
  without tokens.

A slow tokenizer cannot say where its tokens stand in the text and is refused, as in a training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import BadInput, BadModel
from core.measure.words import word_ids

_SPECIAL = "A special token that the model expects here; it belongs to no word, so its label is -100."
_SPACE = "A space that is a token of its own; it belongs to no word, so its label is -100."
_FIRST = "The word's first token carries its tag."
_LATER = "A later token of the same word: -100, so that each word gives loss once."
_INSIDE = "A later token of the same word carries the tag too, with I-, because the entity goes on."
_REPEATED = "A later token of the same word carries the tag too."
_NOTHING = "The tokenizer made no token of this word, so nothing carries its tag."


@dataclass(frozen=True, slots=True)
class Subword:
    """One token. ``label`` is the tag it is trained on, None for -100; ``start`` and ``end`` are places in the text."""

    piece: str
    id: int
    start: int
    end: int
    label: str | None
    why: str
    cut: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class AlignedRow:
    """A word and its tokens; ``word_id`` is None for a special token or a space, whose row has no word.

    ``label`` is that of the first token, None for -100 and for a word that is cut off; ``why`` says why.
    """

    word: str
    word_id: int | None
    tag: str
    subwords: tuple[Subword, ...]
    label: str | None
    why: str

    @property
    def cut(self) -> bool:
        """Whether truncation takes some of the word's tokens."""
        return any(subword.cut for subword in self.subwords)

    def plain(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "subwords": [asdict(subword) for subword in self.subwords], "cut": self.cut}


def align_words(
    tokenizer: Any, words: Sequence[str], tags: Sequence[str] = (), *, label_all: bool = False, max_length: int = 512
) -> list[AlignedRow]:
    """Rows in the order of the text. Without ``tags`` a token that would carry one has the empty label.

    Raises ``BadInput`` for tags that do not fit the words or no room for a word, ``BadModel`` for a slow tokenizer.
    """
    _check(tokenizer, words, tags, max_length)
    groups: dict[int, list[Subword]] = {}  # by word; tokens of no word have negative keys of their own
    for word, subword in _tokens(tokenizer, words, tags, label_all, max_length):
        groups.setdefault(-1 - len(groups) if word is None else word, []).append(subword)
    rows: list[AlignedRow] = []
    shown = 0
    for word, subwords in groups.items():
        if word < 0:
            rows.append(AlignedRow("", None, "", tuple(subwords), None, subwords[0].why))
            continue
        rows += [_untokenized(words, tags, n) for n in range(shown, word)]
        rows.append(_row(words[word], word, tags[word] if tags else "", tuple(subwords)))
        shown = word + 1
    last = next((n for n in reversed(range(len(rows))) if rows[n].word_id is not None), 0) + 1
    return [*rows[:last], *(_untokenized(words, tags, n) for n in range(shown, len(words))), *rows[last:]]


def _tokens(
    tokenizer: Any, words: Sequence[str], tags: Sequence[str], label_all: bool, max_length: int
) -> Iterator[tuple[int | None, Subword]]:
    """Every token of the words with its word, those that truncation takes included."""
    whole = tokenizer(" ".join(words), return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    ids, spans, special = whole["input_ids"], whole["offset_mapping"], whole["special_tokens_mask"]
    of_word = word_ids([(0, 0) if mark else span for span, mark in zip(spans, special, strict=True)], words)
    pieces, cut = tokenizer.convert_ids_to_tokens(ids), _cut(special, tokenizer, max_length)
    seen = -1
    for at, word in enumerate(of_word):
        if word is None:
            label, why = None, _SPECIAL if special[at] else _SPACE
        else:
            label, why = _label(tags[word] if tags else "", word != seen, label_all)
            seen = word
        if cut[at]:
            label, why = None, f"Beyond the first {max_length:,} tokens: cut off, so the model never sees it."
        start, end = spans[at]
        unknown = not special[at] and ids[at] == tokenizer.unk_token_id
        yield word, Subword(str(pieces[at]), int(ids[at]), start, end, label, why, cut[at], unknown)


def cut_words(rows: Sequence[AlignedRow]) -> int:
    """Words of which truncation takes at least one token."""
    return sum(row.word_id is not None and row.cut for row in rows)


def _check(tokenizer: Any, words: Sequence[str], tags: Sequence[str], max_length: int) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise BadModel("This model's tokenizer cannot say which tokens a word became.", "Choose another model.")
    if not words:
        raise BadInput("There are no words to align.", "Write at least one.")
    if tags and len(tags) != len(words):
        raise BadInput(
            f"There are {len(words):,} words and {len(tags):,} tags.", "Write one tag for each word, or none at all."
        )
    spaced = next((word for word in words if not word or any(c.isspace() for c in word)), None)
    if spaced is not None:
        raise BadInput(f"“{spaced[:40]}” is no single word.", "Give words without spaces in them.")
    added = tokenizer.num_special_tokens_to_add()
    if max_length <= added:
        raise BadInput(
            f"{max_length:,} tokens have no room for a word: {added:,} are special ones.",
            f"Allow at least {added + 1:,}.",
        )


def _cut(special: Sequence[int], tokenizer: Any, max_length: int) -> list[bool]:
    """Which tokens truncation takes: text's own, from the end, or from the start with such a tokenizer."""
    over = max(0, len(special) - max_length)
    own = [at for at, mark in enumerate(special) if not mark]
    gone = set(own[:over] if getattr(tokenizer, "truncation_side", "right") == "left" else own[len(own) - over :])
    return [at in gone for at in range(len(special))]


def _label(tag: str, first: bool, label_all: bool) -> tuple[str | None, str]:
    """The label of a word's token, and why."""
    if first:
        return tag, _FIRST
    if not label_all:
        return None, _LATER
    return (f"I-{tag[2:]}", _INSIDE) if tag.startswith("B-") else (tag, _REPEATED)


def _row(word: str, number: int, tag: str, subwords: tuple[Subword, ...]) -> AlignedRow:
    first = subwords[0]
    partly = not first.cut and any(subword.cut for subword in subwords)
    why = f"{first.why} Some of its later tokens are cut off." if partly else first.why
    return AlignedRow(word, number, tag, subwords, first.label, why)


def _untokenized(words: Sequence[str], tags: Sequence[str], number: int) -> AlignedRow:
    return AlignedRow(words[number], number, tags[number] if tags else "", (), None, _NOTHING)
