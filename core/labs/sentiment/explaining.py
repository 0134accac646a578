"""Why a text has its label: what each word adds to the score, by two methods side by side.

Promises: the scores are signed for one label, the predicted one unless another was asked for; with each method stands
what its scores sum up to and what they should. ``explain_row`` explains one row of a run that is over, as that run read
it, for a click on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from core.errors import BadInput, NotFound, Stopped
from core.events import Done, Event, Progress, Step
from core.events import Warning as Notice
from core.labs.sentiment.choices import Long, Mode
from core.labs.sentiment.evaluating import place_of
from core.labs.sentiment.labelling_run import row_of
from core.labs.sentiment.labels import label_number
from core.labs.sentiment.material import Item, Reader, read_labelled, read_texts, reader_of, shown_text
from core.labs.sentiment.predicting import about, lease, many_labels, needs_labels, predictions, rounded
from core.labs.sentiment.request import SentimentRequest
from core.runtime.labelling import label_spec, labels_of
from core.runtime.loading import LoadedModel
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.runtime.run_log import RunLog
from core.text.attribution import Attribution, attribute
from core.text.classify import Prediction, classify

EXPLAINED = 8
"""Texts of one run that are explained: each takes some hundred passes."""
METHODS = ("integrated_gradients", "occlusion")
TITLES = {"integrated_gradients": "Integrated gradients", "occlusion": "Occlusion"}


def explain_texts(request: SentimentRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    texts = read_texts(request, reader_of(pool.settings, context))
    items, count = texts.items[:EXPLAINED], len(texts.items)
    with lease(request.model, pool, context) as loaded:
        labels = labels_of(loaded)
        chosen = label_number(request.target, labels, "to explain") if request.target.strip() else None
        start = {"mode": request.mode.value, "model": about(request.model, loaded, pool, context.owner)}
        more = {"labels": list(labels), "total": len(items), "source": texts.source}
        yield Step(name="start", index=0, values={**start, **more, "several": many_labels(loaded)})
        yield from (Notice(text=note) for note in texts.notes)
        if count > len(items):
            yield Notice(text=f"The first {len(items)} of {count:,} texts are explained.")
        told = []
        with suppress(Stopped):
            found = [one for batch in predictions(loaded, items, request.long, context) for one in batch]
            found.sort(key=lambda one: one.index)
            yield Step(name="rows", index=0, values={"rows": [row_of(one, items[one.index]) for one in found]})
            for one in found:
                yield Progress(done=one.index, total=len(items), unit="texts", note="Asking each word")
                target = one.label if chosen is None else chosen
                item, visitor = items[one.index], context.visitor
                values = _explained(request, loaded, item, one, target, visitor, context.cancelled)
                told.append(values)
                yield Step(name="attribution", index=one.index, values=values)
    result = {"labels": list(labels), "explained": told}
    yield Done(reason="stopped" if context.cancelled() else "finished", result=result)


def explain_row(
    log: RunLog,
    row: int,
    pool: Pool,
    reader: Reader,
    *,
    visitor: str = "",
    owner: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """What ``Step("attribution")`` says, of row ``row`` of a run that labelled texts or was an evaluation.

    The run's model is asked; of a comparison its reference. Raises ``NotFound`` for a row the run did not read.
    """
    request = SentimentRequest.model_validate(log.meta.request)
    measured = request.mode in (Mode.EVALUATE, Mode.COMPARE)
    row = place_of(log, row) if measured else row
    items = read_labelled(request, reader).items if measured else read_texts(request, reader).items
    if not 0 <= row < len(items):
        raise NotFound(f"The run has no row {row + 1:,}.", "Choose a row of its table.")
    with pool.lease(
        label_spec(request.reference, "classification", pool.settings), reader.token, cancelled, owner
    ) as loaded:
        needs_labels(loaded)
        long: Any = request.long.value
        found = classify(
            loaded, [items[row]], long=long, visitor=visitor, cancelled=cancelled, multi_label=many_labels(loaded)
        )
        one = next(one for batch in found for one in batch)
        return _explained(request, loaded, items[row], one, one.label, visitor, cancelled)


def _explained(
    request: SentimentRequest,
    loaded: LoadedModel,
    item: Item,
    one: Prediction,
    target: int,
    visitor: str,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    if not shown_text(item).strip():
        raise BadInput("An empty text has no words to ask.", "Choose a text with words.")
    found = attribute(
        loaded,
        item,
        target=target,
        methods=METHODS,
        steps=request.steps,
        long="windows" if request.long is Long.WINDOWS else "truncate",
        visitor=visitor,
        cancelled=cancelled,
    )
    return {
        "text": shown_text(item),
        "label": one.label,
        "p": rounded(one.probabilities),
        "target": target,
        "methods": [_method(method) for method in found],
    }


def _method(found: Attribution) -> dict[str, Any]:
    return {
        "name": found.method,
        "title": TITLES.get(found.method, found.method),
        "words": list(found.words),
        "spans": [list(span) for span in found.spans],
        "scores": rounded(found.scores),
        "total": round(found.total, 6),
        "expected": round(found.expected, 6),
        "gap": round(found.gap, 6),
        "of": found.of,
        "baseline": found.baseline,
        "seconds": round(found.seconds, 4),
        "windows": found.windows,
        "note": found.note,
    }
