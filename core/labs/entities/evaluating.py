"""A tagger beside tags that are known: scores of whole entities, broken sequences, and the kind of every error.

Promises: predictions are those of each word's first token; strict and lenient scores are seqeval's; errors are those of
the lenient reading, so that a broken sequence is compared and not only counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from core.errors import Stopped
from core.events import Done, Event, Metric, Progress, Step
from core.events import Warning as Notice
from core.labs.entities.material import Labelled, in_the_models_words, labelled_rows
from core.labs.entities.request import EntitiesRequest
from core.measure.entities import VERDICTS, EntityError, entity_scores, errors, invalid_tags, is_iob1, spans, to_iob2
from core.runtime.labelling import labels_of
from core.runtime.loading import LoadedModel
from core.runtime.run_context import RunContext
from core.settings import Settings
from core.text.spans import word_tags
from core.text.tag import tag_words

SHOWN_ERRORS = 300
IOB1 = (
    "No entity of this data begins with B-: it is IOB1, an older scheme. It is scored as IOB2, with the first tag of "
    "each entity as B-."
)
Tags = Sequence[str]


def evaluate(
    request: EntitiesRequest, settings: Settings, loaded: LoadedModel, context: RunContext, start: dict[str, Any]
) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    labels = labels_of(loaded)
    rows = in_the_models_words(labelled_rows(request, settings, context), labels)
    yield Step(name="start", index=0, values={**start, "source": rows.source, "total": len(rows.words)})
    yield from (Notice(text=note) for note in rows.notes)
    original = rows.tags
    gold: Sequence[Tags] = original
    if is_iob1(original):
        gold = [to_iob2(tags) for tags in original]
        yield Notice(text=IOB1)
    began = time.monotonic()
    predicted: dict[int, list[str]] = {}
    with suppress(Stopped):
        for some in _predicted(rows, loaded, context):
            predicted |= some
            yield _progress(len(predicted), len(rows.words), time.monotonic() - began)
    if not predicted:
        yield Done(reason="stopped")
        return
    seconds = time.monotonic() - began
    kept = sorted(predicted)
    told = list(_told(rows, [gold[i] for i in kept], [predicted[i] for i in kept], [original[i] for i in kept], kept))
    yield from told
    yield Metric(name="sentences per second", value=round(len(kept) / seconds, 2) if seconds else 0.0, unit="1/s")
    values = told[0].values
    result = {name: values[name] for name in ("n", "strict", "lenient", "errors")}
    result["invalid"] = {who: values["invalid"][who]["total"] for who in ("gold", "predicted")}
    yield Done(reason="stopped" if context.cancelled() else "finished", result={**result, "seconds": round(seconds, 4)})


def _predicted(rows: Labelled, loaded: LoadedModel, context: RunContext) -> Iterator[dict[int, list[str]]]:
    """The tags of some sentences, by their numbers."""
    id2label = dict(enumerate(labels_of(loaded)))
    for batch in tag_words(loaded, rows.words, visitor=context.visitor, cancelled=context.cancelled):
        yield {one.index: word_tags(one, len(rows.words[one.index]), id2label) for one in batch}
        context.check()


def _told(
    rows: Labelled, gold: Sequence[Tags], predicted: Sequence[Tags], original: Sequence[Tags], kept: Sequence[int]
) -> Iterator[Step]:
    """``Step("evaluation")`` and ``Step("errors")``."""
    scores = entity_scores(gold, predicted).plain()
    compared = [errors(spans(a), spans(b)) for a, b in zip(gold, predicted, strict=True)]
    counts = Counter(error.kind for found in compared for error in found)
    yield Step(
        name="evaluation",
        index=0,
        values={
            "n": len(kept),
            "source": rows.source,
            **scores,
            "types": sorted({one["type"] for half in scores.values() for one in half["types"]}),
            "invalid": {"gold": invalid_tags(original).plain(), "predicted": invalid_tags(predicted).plain()},
            "errors": {kind: counts[kind] for kind in VERDICTS},
        },
    )
    wrong = [at for at, found in enumerate(compared) if any(error.kind != "correct" for error in found)]
    wrong.sort(key=lambda at: (-_wrong(compared[at]), at))
    shown = [
        {
            "i": kept[at],
            "words": list(rows.words[kept[at]]),
            "gold": list(original[at]),
            "predicted": list(predicted[at]),
            "kinds": [error.kind for error in compared[at]],
        }
        for at in wrong[:SHOWN_ERRORS]
    ]
    yield Step(name="errors", index=0, values={"rows": shown, "total": len(wrong)})


def _wrong(found: Sequence[EntityError]) -> int:
    return sum(error.kind != "correct" for error in found)


def _progress(done: int, total: int, seconds: float) -> Progress:
    left = round(seconds * (total - done) / done, 1) if done else None
    return Progress(done=done, total=total, unit="sentences", note="Tagging", seconds_left=left)
