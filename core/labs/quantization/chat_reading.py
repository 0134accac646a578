"""A rendered conversation as this tokenizer's tokens: each with its turn, and which of a format's marks stay whole.

Promises: the ids are those of the whole text encoded at once, without any token added; a token belongs to the turn of
its first character.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.labs.quantization.choices import FORMAT_TITLES, Format
from core.quantization.chat_formats import FORMATS, Rendered


@dataclass(frozen=True, slots=True)
class ReadToken:
    """A token: its id, how the vocabulary writes it, whether it is special, its turn, and whether it is content."""

    id: int
    piece: str
    special: bool
    turn: int | None
    content: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of a rendered conversation."""

    tokens: tuple[ReadToken, ...]

    @property
    def ids(self) -> list[int]:
        """What the model is given."""
        return [one.id for one in self.tokens]


def encoded(tokenizer: Any, found: Rendered) -> Encoded:
    """The text as a fast tokenizer reads it."""
    read = tokenizer(found.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, spans = read["input_ids"], read["offset_mapping"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    controls = control_tokens(tokenizer)
    starts, at = [], 0
    for piece in found.pieces:
        starts.append(at)
        at += len(piece.text)
    tokens = []
    for number, written, (begin, end) in zip(ids, pieces, spans, strict=True):
        piece = found.pieces[max(0, bisect_right(starts, begin) - 1)]
        content = piece.kind == "content" and end > begin
        tokens.append(ReadToken(number, written, written in controls, piece.turn, content))
    return Encoded(tuple(tokens))


def control_tokens(tokenizer: Any) -> frozenset[str]:
    """The strings that the tokenizer takes for one token wherever they stand, space left out."""
    return frozenset(one for one in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()) if one.strip())


def marks(tokenizer: Any, special: Sequence[str], found: Rendered) -> dict[str, Any]:
    """How many of the format's marks in the text are one token here, and how many fall into pieces, by name too."""
    written = {piece.text for piece in found.pieces if piece.kind == "special"}
    written |= {one for one in special if one in found.text}
    sizes = {one: len(tokenizer(one, add_special_tokens=False)["input_ids"]) for one in sorted(written)}
    return {
        "one": sum(size == 1 for size in sizes.values()),
        "split": sum(size != 1 for size in sizes.values()),
        "tokens": sizes,
    }


def smuggled(tokenizer: Any, messages: Sequence[dict[str, str]], formats: Sequence[Format]) -> Iterator[str]:
    """A warning for each mark that a turn's own text holds, with what this tokenizer makes of it."""
    controls = control_tokens(tokenizer)
    known = dict.fromkeys(controls, "this model")
    for name in formats:
        if name in FORMATS:
            for one in FORMATS[name].special:
                known.setdefault(one, FORMAT_TITLES[name])
    for turn, message in enumerate(messages):
        for mark in sorted(one for one in known if one in message["content"]):
            ids = tokenizer(message["content"], add_special_tokens=False, verbose=False)["input_ids"]
            parsed = mark in controls and tokenizer.convert_tokens_to_ids(mark) in ids
            yield f"Turn {turn + 1} holds the text {mark}. " + (
                "This tokenizer reads it as the special token itself: whoever writes it can end a turn or begin one."
                if parsed
                else f"It is a mark of {known[mark]}, which this tokenizer reads as plain text."
            )
