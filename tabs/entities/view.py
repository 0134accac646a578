"""What the Entities lab shows, as a pure function of its run's events: each log record becomes a few small changes.

Promises: ``reduce(model, record)`` alters neither the view so far nor the record, and folding a log at once or in any
chunks gives the same model, which is plain JSON. Sorting, choosing a document and looking at one error are the
browser's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tabs.widgets.view_ops import (
    Change,
    Model,
    Op,
    nothing,
    push,
    put,
    reduced,
    tell_artifact,
    tell_done,
    tell_failed,
    tell_progress,
    tell_warning,
)

Record = Mapping[str, Any]


def empty_model() -> Model:
    """The view of a run that has said nothing yet."""
    return {
        "status": "waiting",
        "error": None,
        "progress": None,
        "seconds": None,
        "warnings": [],
        "start": None,
        "documents": [],
        "table": None,
        "graph": None,
        "files": [],
        "strategies": None,
        "alignments": [],
        "evaluation": None,
        "errors": None,
        "result": {},
    }


def reduce(model: Model, record: Record) -> list[Op]:
    """The operations that lead from ``model`` (``{}`` before the first record) to the model with ``record`` in it."""
    return reduced(model, record, empty_model, _KINDS, starts=True)


def _done(model: Model, record: Record) -> Iterator[Op]:
    yield put("result", value=record.get("result") or {})
    yield from tell_done(model, record)


def _step(model: Model, record: Record) -> Iterator[Op]:
    return _STEPS.get(record["name"], nothing)(model, record)


def _kept(model: Model, record: Record) -> Iterator[Op]:
    yield put(record["name"], value=record["values"])


def _document(model: Model, record: Record) -> Iterator[Op]:
    yield push("documents", value={"index": record["index"], **record["values"]})


def _alignment(model: Model, record: Record) -> Iterator[Op]:
    yield push("alignments", value={"index": record["index"], **record["values"]})


_KINDS: dict[str, Change] = {
    "progress": tell_progress,
    "warning": tell_warning,
    "artifact": tell_artifact,
    "done": _done,
    "failed": tell_failed,
    "step": _step,
}
_STEPS: dict[str, Change] = {
    "start": _kept,
    "document": _document,
    "table": _kept,
    "graph": _kept,
    "strategies": _kept,
    "alignment": _alignment,
    "evaluation": _kept,
    "errors": _kept,
}
