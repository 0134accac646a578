"""A document with what was found in it, and how a long one is taken in parts.

Promises: the parts of a text are whole lines where there are any, and joined they are the text; an entity keeps its
words wherever it is counted from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.text.cooccurrence import Document, Graph, cooccurrence
from core.text.spans import Entity

PASSAGE = 6_000
"""Characters that are read at once."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """Entities in order of their places. ``windows``, ``tokens`` and ``seconds`` are sums over its passages."""

    name: str
    text: str
    entities: tuple[Entity, ...]
    windows: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def parts(self) -> Iterator[Tagged]:
        """The document in passages, each with its own entities, counted from the passage's first character."""
        at = 0
        for offset, text in passages(self.text):
            first = at
            while at < len(self.entities) and self.entities[at].start < offset + len(text):
                at += 1
            yield Tagged(self.name, text, tuple(shifted(entity, -offset) for entity in self.entities[first:at]))


def shifted(entity: Entity, by: int) -> Entity:
    """The same entity counted from elsewhere."""
    return replace(entity, start=entity.start + by, end=entity.end + by)


def passages(text: str, most: int = PASSAGE) -> Iterator[tuple[int, str]]:
    """A text as it is, or a long one in parts of whole lines, each with its offset; a longer line parts at a space."""
    start = 0
    while len(text) - start > most:
        cut = text.rfind("\n", start + 1, start + most) + 1
        cut = cut or text.rfind(" ", start + 1, start + most) + 1 or start + most
        yield start, text[start:cut]
        start = cut
    yield start, text[start:]


def plain(entity: Entity) -> dict[str, Any]:
    """An entity as events and files have it."""
    return {
        "start": int(entity.start),
        "end": int(entity.end),
        "type": entity.type,
        "score": round(float(entity.score), 6),
        "text": entity.text,
    }


def graph_of(documents: Sequence[Tagged], seed: int) -> Graph:
    """Which names share sentences."""
    parts = (part for document in documents for part in document.parts())
    return cooccurrence((Document(one.name, one.text, one.entities) for one in parts), seed=seed)
