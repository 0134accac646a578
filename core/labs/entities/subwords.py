"""One sentence under five ways of joining tokens, and how tokenizers cut tagged words.

Promises: all five ways read the same scores of one forward pass; a difference is marked where another way says
something else of the same place. The alignment is that of a training, row for row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.catalog.catalog import Catalog
from core.errors import BadInput
from core.events import Done, Event, Step
from core.events import Warning as Notice
from core.labs.entities.request import SENTENCE, EntitiesRequest
from core.labs.entities.tagged import plain
from core.runtime.labelling import labels_of
from core.runtime.loading import LoadedModel
from core.runtime.run_context import RunContext
from core.settings import Settings
from core.text.alignment import align_words, cut_words
from core.text.spans import STRATEGIES, Entity, entities, word_tags
from core.text.tag import TokenLabels, tag, tag_words
from core.text.tokenizers import open_tokenizer

MOST_WORDS = 300


def five_ways(
    request: EntitiesRequest, loaded: LoadedModel, context: RunContext, start: dict[str, Any]
) -> Iterator[Event]:
    """``Step("strategies")`` for the text's beginning."""
    text = request.text[:SENTENCE]
    yield Step(name="start", index=0, values={**start, "source": "your text", "total": 1})
    if len(text) < len(request.text):
        yield Notice(text=f"The first {SENTENCE:,} characters are shown here. Find entities reads all of the text.")
    id2label = dict(enumerate(labels_of(loaded)))
    began = time.monotonic()
    labels = next(iter(next(tag(loaded, [text], visitor=context.visitor, cancelled=context.cancelled))))
    seconds = time.monotonic() - began
    found = {way: entities(labels, text, id2label, way) for way in STRATEGIES}
    yield Step(
        name="strategies",
        index=0,
        values={
            "text": text,
            "tokens": _tokens(labels, id2label),
            "results": [
                {"strategy": way, "entities": [plain(one) for one in mine], "differs": differing(way, found)}
                for way, mine in found.items()
            ],
        },
    )
    result = {way: [plain(one) for one in mine] for way, mine in found.items()}
    yield Done(result={"strategies": result, "seconds": round(seconds, 4)})


def _tokens(labels: TokenLabels, id2label: dict[int, str]) -> list[dict[str, Any]]:
    """Each token of the text, with the label that it has by itself."""
    rows = []
    for at, piece in enumerate(labels.tokens):
        if labels.word_ids[at] is None:
            continue
        best = int(labels.probabilities[at].argmax())
        start, end = labels.spans[at]
        score = round(float(labels.probabilities[at][best]), 6)
        rows.append({"piece": piece, "start": int(start), "end": int(end), "label": id2label[best], "score": score})
    return rows


def differing(way: str, found: Mapping[str, Sequence[Entity]]) -> list[bool]:
    """Of each entity whether some other way does not find it: the same place and type.

    What stays single tokens is compared by its type alone, with what the others find in its place.
    """
    others = {name: mine for name, mine in found.items() if name not in (way, "none")}
    if way == "none":
        return [not all(any(_covers(other, one) for other in mine) for mine in others.values()) for one in found[way]]
    places = [{(other.start, other.end, other.type) for other in mine} for mine in others.values()]
    return [not all((one.start, one.end, one.type) in place for place in places) for one in found[way]]


def _covers(other: Entity, token: Entity) -> bool:
    kind = token.type.partition("-")[2] or token.type
    return other.start <= token.start and token.end <= other.end and other.type == kind


def alignments(
    request: EntitiesRequest, settings: Settings, loaded: LoadedModel | None, context: RunContext, start: dict[str, Any]
) -> Iterator[Event]:
    """``Step("alignment")`` for each tokenizer. ``loaded`` gives the tags when none were typed."""
    words = request.text[: SENTENCE * 4].split()[:MOST_WORDS]
    yield Step(name="start", index=0, values={**start, "source": "your text", "total": len(request.tokenizers)})
    if len(words) < len(request.text.split()):
        yield Notice(text=f"The first {len(words):,} words are shown here.")
    tags = request.tags.split()
    if tags and len(tags) != len(request.text.split()):
        raise BadInput(
            f"There are {len(request.text.split()):,} words and {len(tags):,} tags.",
            "Write a tag for each word, or leave the tags empty. Words are parted by spaces, signs are words too.",
        )
    tags = tags[: len(words)] or _models_tags(words, loaded, context)
    catalog = Catalog(settings)
    result = []
    for at, name in enumerate(request.tokenizers):
        context.check()
        one = open_tokenizer(name, catalog, settings, context.secret)
        rows = align_words(
            one.tokenizer, words, tags, label_all=request.label_all_tokens, max_length=request.max_length
        )
        told = {"tokenizer": one.title, "kind": one.kind, "rows": [row.plain() for row in rows]}
        result.append({**told, "truncated": cut_words(rows)})
        yield Step(name="alignment", index=at, values={**result[-1], "note": one.note})
    yield Done(result={"alignments": result})


def _models_tags(words: Sequence[str], loaded: LoadedModel | None, context: RunContext) -> list[str]:
    assert loaded is not None, "a run without tags has a model"
    id2label = dict(enumerate(labels_of(loaded)))
    labels = next(iter(next(tag_words(loaded, [words], visitor=context.visitor, cancelled=context.cancelled))))
    return word_tags(labels, len(words), id2label)
