"""A strategies run: the data, then every model with every strategy in turn, then the scores.

Promises: all curves of a model begin with the same weights and end on the same budget; curves grow together, a reading
each in turn; each step asks whether the run was stopped. Small work, so it computes on one thread beside the lane.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.events import Done, Event, Progress, Step, Table
from core.events import Warning as Notice
from core.labs.strategies.choices import Strategy
from core.labs.strategies.columns import Column, accumulation_check
from core.labs.strategies.material import Materials, gather
from core.labs.strategies.request import StrategiesRequest
from core.labs.strategies.script import script
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.runtime.threads import suitable_threads

__all__ = ["run", "script"]

POINTS_SHOWN = 400
SCORES = (
    "strategy", "test accuracy", "macro F1", "test loss", "train accuracy", "steps", "examples", "seconds", "memory",
    "ended",
)  # fmt: skip


def run(request: StrategiesRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one run, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    yield Progress(done=0, note="Getting the data ready")
    materials = gather(request, pool, context)
    columns = [
        Column(number, request, model, strategy, materials.by_model[model])
        for number, (model, strategy) in enumerate((m, s) for m in request.models for s in request.strategies)
    ]
    yield _start(request, materials, columns)
    if materials.pipeline is not None:
        yield Step(name="pipeline", index=0, values=materials.pipeline)
    if materials.pixels is not None:
        yield Step(name="pixels", index=0, values=materials.pixels)
    yield from _warnings(request, columns)
    yield from _trained(columns, context)
    for column in columns:
        if column.strategy is Strategy.ACCUMULATED:
            whole = next((c for c in columns if c.kind is column.kind and c.strategy is Strategy.MINI), None)
            yield Step(name="accumulation", index=0, column=column.number, values=accumulation_check(column, whole))
    yield _table(columns)
    yield Done(
        reason="stopped" if context.cancelled() else "finished",
        result={"columns": [column.result for column in columns]},
    )


def _start(request: StrategiesRequest, materials: Materials, columns: list[Column]) -> Step:
    data = {}
    toy = None
    for material in materials.by_model.values():
        data[material.title] = {**material.counts(), "labels": list(material.labels)}
        if material.box is not None:
            rows = zip(material.train.inputs[:POINTS_SHOWN], material.train.labels[:POINTS_SHOWN], strict=True)
            points = [[round(float(p[0]), 3), round(float(p[1]), 3), int(label)] for p, label in rows]
            toy = {"box": material.box, "points": points, "side": 40}
    return Step(
        name="start",
        index=0,
        values={
            "columns": [column.about() for column in columns],
            "budget": {"kind": request.budget_kind.value, "amount": request.budget},
            "data": data,
            "toy": toy,
        },
    )


def _warnings(request: StrategiesRequest, columns: list[Column]) -> Iterator[Event]:
    if Strategy.ACCUMULATED in request.strategies and request.dropout > 0:
        yield Notice(
            text="With dropout each micro-batch hides other values than the whole batch would, so the accumulated "
            "curve differs from the mini-batch's. Without dropout they are the same to rounding."
        )
    for column in columns:
        few = min(len(column.material.train), request.batch_size)
        if column.strategy in (Strategy.MINI, Strategy.ACCUMULATED) and few < request.batch_size:
            yield Notice(text=f"{column.title}: there are only {few} training examples, so that is the batch.")


def _trained(columns: list[Column], context: RunContext) -> Iterator[Event]:
    """A reading of each curve in turn until all are over, then their scores."""
    going = list(columns)
    while going:
        for column in list(going):
            with suitable_threads(column.device, 0):
                events = list(column.advance(context.cancelled))
            yield from events
            if column.reason or context.cancelled():
                column.reason = column.reason or "stopped"
                going.remove(column)
                with suitable_threads(column.device, 0):
                    events = list(column.finish()) if column.points else []
                yield from events
        if going:
            shares = [1.0 if column.reason else column.training.share for column in columns]
            yield Progress(done=round(sum(shares) / len(shares), 3), total=1, note="Training")


def _table(columns: list[Column]) -> Table:
    rows = []
    for column in columns:
        found = column.result
        if found:
            kept = ("test_accuracy", "f1", "test_loss", "train_accuracy", "steps", "examples", "seconds")
            rows.append((column.title, *(found[name] for name in kept), found["memory"]["total"], found["reason"]))
    return Table(name="scores", columns=SCORES, rows=tuple(rows))
