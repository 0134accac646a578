"""What the Strategies lab shows, as a pure function of its run's events: each log record becomes a few small changes.

Promises: ``reduce(model, record)`` alters neither the view so far nor the record, and folding a log at once or in any
chunks gives the same model, which is plain JSON. Axes, smoothing and logarithms are the browser's: every point carries
all four of its places (epoch, examples, step, seconds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tabs.widgets.view_ops import Model, Op, nothing, push, put, reduced, tell_done, tell_failed, tell_warning

Record = Mapping[str, Any]


def empty_model() -> Model:
    """The view of a run that has said nothing yet."""
    return {
        "status": "waiting",
        "error": None,
        "progress": None,
        "seconds": None,
        "warnings": [],
        "budget": None,
        "data": {},
        "toy": None,
        "columns": [],
        "pipeline": None,
        "pixels": None,
        "accumulation": [],
    }


def reduce(model: Model, record: Record) -> list[Op]:
    """The operations that lead from ``model`` (``{}`` before the first record) to the model with ``record`` in it."""
    return reduced(model, record, empty_model, _KINDS, starts=True)


def _progress(model: Model, record: Record) -> Iterator[Op]:
    yield put("progress", value={name: record.get(name) for name in ("done", "total", "note")})


def _step(model: Model, record: Record) -> Iterator[Op]:
    return _STEPS.get(record["name"], nothing)(model, record)


def _start(model: Model, record: Record) -> Iterator[Op]:
    values = record["values"]
    grown = {"points": [], "noise": [], "frames": [], "readings": [], "result": None}
    for name in ("budget", "data", "toy"):
        yield put(name, value=values[name])
    yield put("columns", value=[{**column, **{k: list(v) if v == [] else v for k, v in grown.items()}}
                                for column in values["columns"]])  # fmt: skip


def _point(model: Model, record: Record) -> Iterator[Op]:
    yield push("columns", record["column"], "points", value={"step": record["index"], **record["values"]})


def _noise(model: Model, record: Record) -> Iterator[Op]:
    yield push("columns", record["column"], "noise", value={"step": record["index"], **record["values"]})


def _boundary(model: Model, record: Record) -> Iterator[Op]:
    yield push("columns", record["column"], "frames", value={"step": record["index"], **record["values"]})


def _reading(model: Model, record: Record) -> Iterator[Op]:
    yield push("columns", record["column"], "readings", value=record["values"])


def _result(model: Model, record: Record) -> Iterator[Op]:
    yield put("columns", record["column"], "result", value=record["values"])


def _accumulation(model: Model, record: Record) -> Iterator[Op]:
    yield push("accumulation", value=record["values"])


def _kept(model: Model, record: Record) -> Iterator[Op]:
    yield put(record["name"], value=record["values"])


_KINDS: dict[str, Callable[[Model, Record], Iterator[Op]]] = {
    "progress": _progress,
    "warning": tell_warning,
    "done": tell_done,
    "failed": tell_failed,
    "step": _step,
}
_STEPS: dict[str, Callable[[Model, Record], Iterator[Op]]] = {
    "start": _start,
    "point": _point,
    "noise": _noise,
    "boundary": _boundary,
    "reading": _reading,
    "result": _result,
    "accumulation": _accumulation,
    "pipeline": _kept,
    "pixels": _kept,
}
