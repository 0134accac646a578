"""What the Quantization lab shows, as a pure function of its run's events: each log record becomes a few small changes.

Promises: ``reduce(model, record)`` alters neither the view so far nor the record, and folding a log at once or in any
chunks gives the same model, which is plain JSON. Lists only grow. Which axes the figure has, which front belongs to
them and which reading of a layer is drawn is the browser's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tabs.widgets.view_ops import (
    Change,
    Model,
    Op,
    push,
    put,
    reduced,
    tell_artifact,
    tell_done,
    tell_failed,
    tell_progress,
    tell_warning_once,
)

Record = Mapping[str, Any]

KEPT = {
    "start": "start",
    "front": "front",
    "reading": "reading",
    "plan": "plan",
    "lens": "lens",
    "summary": "summary",
    "wrong": "wrong",
    "certificate": "certificate",
    "files": "saved",
}
"""Steps whose newest values are shown as they are, by where they stand; ``files`` is the list of artifacts already."""
NUMBERED = {"scheme": "schemes", "skipped": "skipped", "layer": "layers", "format": "formats"}
"""Steps that are one entry of a list each, by the list; the step's index is kept beside its values."""


def empty_model() -> Model:
    """The view of a run that has said nothing yet."""
    once: Model = dict.fromkeys(KEPT.values())
    lists: Model = {name: [] for name in NUMBERED.values()}
    return {
        "status": "waiting",
        "error": None,
        "progress": None,
        "seconds": None,
        "warnings": [],
        "files": [],
        **once,
        **lists,
    }


def reduce(model: Model, record: Record) -> list[Op]:
    """The operations that lead from ``model`` (``{}`` before the first record) to the model with ``record`` in it."""
    return reduced(model, record, empty_model, _KINDS, starts=True)


def _step(model: Model, record: Record) -> Iterator[Op]:
    name, values = record["name"], record["values"]
    if name in KEPT:
        yield put(KEPT[name], value=values)
    elif name in NUMBERED:
        yield push(NUMBERED[name], value={"index": record["index"], **values})


def _table(model: Model, record: Record) -> Iterator[Op]:
    if record["name"] == "certificate":
        yield put("certificate", value={"columns": record["columns"], "rows": record["rows"]})


_KINDS: dict[str, Change] = {
    "step": _step,
    "table": _table,
    "artifact": tell_artifact,
    "progress": tell_progress,
    "warning": tell_warning_once,
    "done": tell_done,
    "failed": tell_failed,
}
