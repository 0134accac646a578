"""Several models on the same rows: their scores, and whether a difference between two of them could be chance.

Promises: all models read the very same rows, in the same way; a probe has learned from none of them; a fine-tuned model
that has, is named in a note. Rows whose label the reference does not know are left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from core.errors import LabError, Stopped
from core.events import Done, Event, Progress, Step
from core.events import Warning as Notice
from core.labs.sentiment.evaluating import known_rows, told_places
from core.labs.sentiment.labels import match_labels
from core.labs.sentiment.material import Item, Labelled, Reader, read_labelled, reader_of, shown_text
from core.labs.sentiment.predicting import Pace, about, cut, lease, needs_labels, predictions
from core.labs.sentiment.probing import TITLE, Parted, part, probe
from core.labs.sentiment.request import PROBE, SentimentRequest
from core.measure.classification import report
from core.measure.significance import bootstrap_difference, bootstrap_interval, mcnemar, verdict
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.training.columns import Columns, Dropped, plan_texts
from core.training.datafiles import read_table
from core.training.datasets import UPLOAD

CHANGED = 300


@dataclass(slots=True)
class _Compared:
    """One model's answers, as numbers of the reference's labels; a label that those lack has a number of its own."""

    name: str
    title: str
    seconds: float = 0.0
    note: str = ""
    predicted: list[int] = field(default_factory=list)

    def right(self, gold: Sequence[int]) -> list[bool]:
        return [a == b for a, b in zip(self.predicted, gold, strict=True)]


@dataclass(slots=True)
class _Rows:
    """The rows that are compared on, in the reference's words."""

    labelled: Labelled
    places: tuple[int, ...]
    gold: list[int]
    labels: list[str]
    notes: list[str]
    parted: Parted | None = None

    @property
    def items(self) -> list[Item]:
        return [self.labelled.items[place] for place in self.places]


def compare(request: SentimentRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    reader = reader_of(pool.settings, context)
    labelled = read_labelled(request, reader)
    known: dict[str, dict[str, Any]] = {}
    for name in request.models:
        if name != PROBE:
            yield Progress(done=len(known), total=len(request.models), note=f"Getting {name} ready")
            with lease(name, pool, context) as loaded:
                needs_labels(loaded)
                known[name] = about(name, loaded, pool, context.owner)
    model = known[request.reference]
    rows = _rows(request, labelled, model["labels"], model["title"])
    numbers = {name: _numbers(one["labels"], rows, one["title"]) for name, one in known.items()}
    start = {"mode": request.mode.value, "model": model, "models": list(request.models), "source": labelled.source}
    yield Step(name="start", index=0, values={**start, "labels": list(rows.labels), "total": len(rows.gold)})
    yield from (Notice(text=note) for note in (*labelled.notes, *rows.notes))
    taught = len(rows.parted.taught) if rows.parted else 0
    pace = Pace(len(rows.gold) * len(request.models) + taught, "texts", "Comparing")
    done: list[_Compared] = []
    with suppress(Stopped):
        for name in request.models:
            if name == PROBE:
                one = _Compared(name, TITLE)
                yield from _probed(one, rows, request, pool, context, pace)
            else:
                one = _Compared(name, known[name]["title"])
                yield from _asked(one, rows, numbers[name], request, pool, context, pace)
            yield from _seen(one, rows, pool, reader, context)
            done.append(one)
    if len(done) < 2:
        yield Done(reason="stopped")
        return
    if len(done) < len(request.models):
        yield Notice(text=f"Stopped: {len(done)} of {len(request.models)} models have read all rows.")
    values = _told(rows, done, request.seed)
    yield Step(name="comparison", index=0, values=values)
    result = {name: values[name] for name in ("n", "models", "pairs")}
    yield Done(reason="stopped" if context.cancelled() else "finished", result={**result, "labels": list(rows.labels)})


def _rows(request: SentimentRequest, labelled: Labelled, labels: Sequence[str], title: str) -> _Rows:
    known = known_rows(labelled, labels, title)
    rows = _Rows(labelled, known.places, list(known.gold), list(labels), list(known.notes))
    if PROBE not in request.models:
        return rows
    matched = match_labels([name for _, name in labelled.spare], labels, title) if labelled.spare else None
    spare = [(item, matched.numbers[name]) for item, name in labelled.spare if matched and name in matched.numbers]
    rows.parted = part(rows.items, rows.gold, spare, request.seed, labelled.source)
    rows.places = tuple(rows.places[at] for at in rows.parted.compared)
    rows.gold = [rows.gold[at] for at in rows.parted.compared]
    rows.notes.append(f"The linear probe has learned from {rows.parted.said}.")
    return rows


def _asked(
    one: _Compared,
    rows: _Rows,
    numbers: Sequence[int],
    request: SentimentRequest,
    pool: Pool,
    context: RunContext,
    pace: Pace,
) -> Iterator[Progress]:
    with lease(one.name, pool, context) as loaded:
        given = [0] * len(rows.gold)
        began = time.monotonic()
        for batch in predictions(loaded, rows.items, request.long, context):
            for found in batch:
                given[found.index] = numbers[found.label]
            yield from pace.add(len(batch))
        one.seconds = time.monotonic() - began
    one.predicted = given


def _numbers(labels: Sequence[str], rows: _Rows, title: str) -> list[int]:
    """For each label of a model its number among all; those that the reference lacks are added."""
    matched = match_labels(labels, rows.labels, "the reference")
    if matched.notes:
        rows.notes.append(f"{title}: {' '.join(matched.notes)}")
    rows.labels += matched.unknown
    return [matched.numbers[name] if name in matched.numbers else rows.labels.index(name) for name in labels]


def _probed(
    one: _Compared, rows: _Rows, request: SentimentRequest, pool: Pool, context: RunContext, pace: Pace
) -> Iterator[Progress]:
    assert rows.parted is not None
    one.note = f"Learned from {rows.parted.said}."
    began = time.monotonic()
    for count, labels in probe(rows.parted, rows.items, pool, context, request.seed):
        if not one.predicted and not labels:
            began = time.monotonic()  # what is timed is the prediction
        one.predicted += labels
        yield from pace.add(count)
    one.seconds = time.monotonic() - began


def _seen(one: _Compared, rows: _Rows, pool: Pool, reader: Reader, context: RunContext) -> Iterator[Event]:
    """A note where a fine-tuned model has learned from rows that it is compared on."""
    tuned = pool.named(one.name, context.owner) if one.name != PROBE else None
    if tuned is None or not tuned.card.data:
        return
    count = len(rows.gold)
    if tuned.card.data != rows.labelled.source:
        try:
            count = len(_texts_of(tuned.card.data, reader) & set(map(shown_text, rows.items)))
        except LabError:  # its data is gone: nothing is known
            return
    if count:
        one.note = f"{count:,} of the {len(rows.gold):,} rows were in the data that {one.title} was trained on."
        yield Notice(text=f"{one.note} Its score says little about other texts.")


def _texts_of(data: str, reader: Reader) -> set[str]:
    if not data.startswith(UPLOAD) or reader.upload is None:
        return set()
    path, title = reader.upload(data)
    table = read_table(path, title)
    plan = plan_texts(table.names, Columns())
    made = plan.rows(table.rows, Dropped())
    return {shown_text((row["text"], row["text_pair"]) if plan.pair else row["text"]) for row in made}


def _told(rows: _Rows, done: Sequence[_Compared], seed: int) -> dict[str, Any]:
    """What ``Step("comparison")`` says."""
    gold = rows.gold
    return {
        "n": len(gold),
        "labels": list(rows.labels),
        "rows": told_places(rows.places),
        "models": [_model(one, gold, rows.labels, seed) for one in done],
        "pairs": [_pair(a, b, gold, seed) for a, b in combinations(done, 2)],
        "changed": _changed(rows, done),
    }


def _model(one: _Compared, gold: Sequence[int], labels: Sequence[str], seed: int) -> dict[str, Any]:
    scores = report(gold, one.predicted, labels)
    low, high = bootstrap_interval(one.right(gold), seed=seed)
    return {
        "name": one.name,
        "title": one.title,
        "accuracy": scores.accuracy,
        "f1": scores.f1,
        "ci": [low, high],
        "seconds": round(one.seconds, 4),
        "note": one.note,
    }


def _pair(a: _Compared, b: _Compared, gold: Sequence[int], seed: int) -> dict[str, Any]:
    right_a, right_b = a.right(gold), b.right(gold)
    test, difference = mcnemar(right_a, right_b), bootstrap_difference(right_a, right_b, seed=seed)
    return {
        "a": a.name,
        "b": b.name,
        "only_a": test.only_a,
        "only_b": test.only_b,
        "both": test.both,
        "neither": test.neither,
        "p_value": test.p_value,
        "test": test.title,
        "low": difference.low,
        "high": difference.high,
        "difference": difference.difference,
        "sentence": verdict(a.title, b.title, test, difference),
    }


def _changed(rows: _Rows, done: Sequence[_Compared]) -> list[dict[str, Any]]:
    """Rows on which the models do not agree, in their order."""
    found = []
    for at, gold in enumerate(rows.gold):
        given = [one.predicted[at] for one in done]
        if len(set(given)) > 1:
            text, shortened = cut(shown_text(rows.labelled.items[rows.places[at]]))
            found.append({"i": at, "text": text, "cut": shortened, "gold": gold, "predicted": given})
        if len(found) == CHANGED:
            break
    return found
