"""Finding entities in documents: passages through the model, entities back in their documents, tables and files.

Promises: offsets are those of the document, in characters; a document of any length is read to its end; a run that is
stopped keeps the documents that were finished.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from core.errors import Stopped
from core.events import Done, Event, Progress, Step
from core.events import Warning as Notice
from core.labs.entities.exports import write_files
from core.labs.entities.material import Document, documents_of
from core.labs.entities.request import EntitiesRequest
from core.labs.entities.tagged import Tagged, graph_of, passages, plain, shifted
from core.runtime.labelling import labels_of
from core.runtime.loading import LoadedModel
from core.runtime.run_context import RunContext
from core.settings import Settings
from core.text.spans import Entity, entities
from core.text.tag import TokenLabels, tag

SHOWN_CHARACTERS, SHOWN_IN_ALL, SHOWN_DOCUMENTS = 20_000, 300_000, 200
"""Of one document, of all, and how many: what the page draws. Files and tables have everything."""
NAMES = 500


@dataclass(frozen=True, slots=True)
class _Passage:
    document: int
    offset: int
    text: str


@dataclass(slots=True)
class _Reading:
    """A document on its way."""

    document: Document
    left: int
    found: list[Entity] = field(default_factory=list)
    windows: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def take(self, labels: TokenLabels, passage: _Passage, found: Sequence[Entity]) -> None:
        """A passage of it was read."""
        self.left -= 1
        self.found += [shifted(entity, passage.offset) for entity in found]
        self.windows += labels.windows
        self.tokens += len(labels.tokens)
        self.seconds += labels.seconds

    def tagged(self, least: float) -> Tagged:
        kept = (entity for entity in self.found if entity.score >= least)
        ordered = tuple(sorted(kept, key=lambda entity: (entity.start, entity.end)))
        return Tagged(self.document.name, self.document.text, ordered, self.windows, self.tokens, self.seconds)


def find_entities(
    request: EntitiesRequest, settings: Settings, loaded: LoadedModel, context: RunContext, start: dict[str, Any]
) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    found = documents_of(request, settings, context)
    yield Step(name="start", index=0, values={**start, "source": found.source, "total": len(found.documents)})
    yield from (Notice(text=note) for note in found.notes)
    began = time.monotonic()
    done: dict[int, Tagged] = {}
    shown = 0
    with suppress(Stopped):
        for whole, progress in _read(request, loaded, found.documents, context):
            for at, one in whole:
                done[at] = one
                room = min(SHOWN_CHARACTERS, SHOWN_IN_ALL - shown) if len(done) <= SHOWN_DOCUMENTS else 0
                if room > 0:
                    shown += min(room, len(one.text))
                    yield _shown(at, one, room)
            yield progress
    kept = [done[at] for at in sorted(done)]
    if len(kept) > SHOWN_DOCUMENTS or shown >= SHOWN_IN_ALL:
        yield Notice(text="Not every document is drawn below; the table, the graph and the files have all of them.")
    yield from _afterwards(request, loaded, kept, context)
    seconds, tokens = time.monotonic() - began, sum(one.tokens for one in kept)
    yield Done(
        reason="stopped" if context.cancelled() else "finished",
        result={
            "documents": len(kept),
            "entities": [{"document": one.name, **plain(entity)} for one in kept for entity in one.entities][:NAMES],
            "tokens": tokens,
            "seconds": round(seconds, 4),
            "tokens_per_second": round(tokens / seconds, 1) if seconds else 0.0,
        },
    )


def _read(
    request: EntitiesRequest, loaded: LoadedModel, documents: Sequence[Document], context: RunContext
) -> Iterator[tuple[list[tuple[int, Tagged]], Progress]]:
    """After each batch: the documents that it finished, with their numbers, and how far it is."""
    cut = [list(passages(document.text)) for document in documents]
    readings = [_Reading(document, len(parts)) for document, parts in zip(documents, cut, strict=True)]
    waiting = [_Passage(at, offset, text) for at, parts in enumerate(cut) for offset, text in parts]
    total, read, began = sum(len(passage.text) for passage in waiting), 0, time.monotonic()
    id2label = dict(enumerate(labels_of(loaded)))
    texts = [passage.text for passage in waiting]
    for batch in tag(loaded, texts, visitor=context.visitor, cancelled=context.cancelled):
        whole = []
        for labels in batch:
            passage = waiting[labels.index]
            reading = readings[passage.document]
            reading.take(labels, passage, entities(labels, passage.text, id2label, request.aggregation.value))
            read += len(passage.text)
            if not reading.left:
                whole.append((passage.document, reading.tagged(request.minimum_score)))
        yield whole, _progress(read, total, time.monotonic() - began)
        context.check()


def _progress(read: int, total: int, seconds: float) -> Progress:
    left = round(seconds * (total - read) / read, 1) if read else None
    return Progress(done=read, total=total, unit="characters", note="Reading", seconds_left=left)


def _shown(at: int, one: Tagged, room: int) -> Step:
    cut = len(one.text) > room
    kept = [plain(entity) for entity in one.entities if entity.end <= room]
    values = {
        "name": one.name, "text": one.text[:room], "cut": cut, "entities": kept, "found": len(one.entities),
        "ms": round(1000 * one.seconds, 3), "windows": one.windows,
    }  # fmt: skip
    return Step(name="document", index=at, values=values)


def _afterwards(
    request: EntitiesRequest, loaded: LoadedModel, documents: Sequence[Tagged], context: RunContext
) -> Iterator[Event]:
    rows = names_of(documents)
    yield Step(name="table", index=0, values={"rows": rows[:NAMES], "total": len(rows)})
    yield Step(name="graph", index=0, values=graph_of(documents, request.seed).plain())
    if context.folder is not None:
        about = {"model": request.model, "aggregation": request.aggregation.value, "labels": list(labels_of(loaded))}
        yield from write_files(context.folder, documents, about)


def names_of(documents: Sequence[Tagged]) -> list[dict[str, Any]]:
    """Each name of each type once, whatever its capitals, the most frequent first."""
    written: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    places: dict[tuple[str, str], set[int]] = defaultdict(set)
    for at, one in enumerate(documents):
        for entity in one.entities:
            key = (" ".join(entity.text.split()).casefold(), entity.type)
            written[key][" ".join(entity.text.split())] += 1
            scores[key].append(float(entity.score))
            places[key].add(at)
    rows = [
        {
            "text": max(ways, key=lambda way: ways[way]),
            "type": key[1],
            "count": len(scores[key]),
            "score": round(sum(scores[key]) / len(scores[key]), 6),
            "documents": len(places[key]),
        }
        for key, ways in written.items()
    ]
    return sorted(rows, key=lambda row: (-row["count"], row["text"]))
