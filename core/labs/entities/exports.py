"""Found entities as files: JSON with the texts, CSV for a spreadsheet, CoNLL with a tag for each word.

Promises: every entity of every document is in the JSON and the CSV; no cell of the CSV is taken for a formula; the
CoNLL file is IOB2 and can be read again by ``core.training.datafiles``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.events import Artifact
from core.labs.base import inert
from core.labs.entities.tagged import Tagged, plain
from core.text.cooccurrence import sentences
from core.text.spans import Entity

_WORD = re.compile(r"\w+(?:[-'’.]\w+)*|[^\w\s]")


def write_files(folder: Path, documents: Sequence[Tagged], about: dict[str, Any]) -> Iterator[Artifact]:
    """The three files in the run's folder."""
    found = {**about, "documents": [
        {"name": one.name, "text": one.text, "entities": [plain(entity) for entity in one.entities]}
        for one in documents
    ]}  # fmt: skip
    texts = {
        "entities.json": json.dumps(found, ensure_ascii=False, indent=1),
        "entities.csv": as_csv(documents),
        "entities.conll": as_conll(documents),
    }
    for name, text in texts.items():
        data = text.encode()
        (folder / name).write_bytes(data)
        yield Artifact(name=name, path=name, bytes=len(data))


def as_csv(documents: Sequence[Tagged]) -> str:
    """One line per entity."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(("document", "start", "end", "type", "score", "text"))
    for one in documents:
        for entity in one.entities:
            score = f"{float(entity.score):.6f}"
            cells = (inert(one.name), entity.start, entity.end, inert(entity.type), score, inert(entity.text))
            writer.writerow(cells)
    return out.getvalue()


def as_conll(documents: Sequence[Tagged]) -> str:
    """A word and its tag on each line, blank lines between sentences, ``-DOCSTART-`` before each document."""
    lines = []
    for one in documents:
        lines += ["-DOCSTART- O", ""]
        for part in one.parts():
            for start, end in sentences(part.text, part.entities):
                lines += [f"{word} {tag}" for word, tag in _tagged_words(part, start, end)]
                lines.append("")
    return "\n".join(lines) + "\n"


def _tagged_words(document: Tagged, begin: int, stop: int) -> Iterator[tuple[str, str]]:
    """The first word of an entity has B-, the others of the same one I-. Tokens that were not joined keep theirs."""
    before: Entity | None = None
    for match in _WORD.finditer(document.text, begin, stop):
        found = _entity_at(document.entities, *match.span())
        yield match.group(), _tag(found, before)
        before = found


def _tag(found: Entity | None, before: Entity | None) -> str:
    if found is None:
        return "O"
    prefix, dash, kind = found.type.partition("-")
    if dash and prefix in ("B", "I"):
        continues = prefix == "I" and before is not None and before.type.partition("-")[2] == kind
        return f"{'I' if continues else 'B'}-{kind}"
    return f"{'I' if found is before else 'B'}-{found.type}"


def _entity_at(entities: Sequence[Entity], start: int, end: int) -> Entity | None:
    """The entity that covers a part of the span; found by halves, since entities come in order."""
    low, high = 0, len(entities)
    while low < high:
        middle = (low + high) // 2
        if entities[middle].end <= start:
            low = middle + 1
        else:
            high = middle
    return entities[low] if low < len(entities) and entities[low].start < end else None
