"""What the Sentiment lab shows, as a pure function of its run's events: each log record becomes a few small changes.

Promises: ``reduce(model, record)`` alters neither the view so far nor the record, and folding a log at once or in any
chunks gives the same model, which is plain JSON. Lists only grow. What a threshold makes of the scores, which cell is
open and which rows are corrected is the browser's.
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

KEPT = ("start", "summary", "bias", "evaluation", "comparison")
"""Steps that come once, whose values are shown as they are."""
LISTED = {"rows": "rows", "examples": "examples"}
"""Steps that bring some more rows of a list each time, by the list."""
NUMBERED = {"attribution": "attributions", "variant": "variants", "group": "groups"}
"""Steps that are one entry of a list each, by the list; the step's index is kept beside its values."""


def empty_model() -> Model:
    """The view of a run that has said nothing yet."""
    once: Model = dict.fromkeys(KEPT)
    lists: Model = {name: [] for name in (*LISTED.values(), *NUMBERED.values())}
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
        yield put(name, value=values)
    elif name in LISTED:
        for row in values["rows"]:
            yield push(LISTED[name], value=row)
    elif name in NUMBERED:
        yield push(NUMBERED[name], value={"index": record["index"], **values})


_KINDS: dict[str, Change] = {
    "step": _step,
    "artifact": tell_artifact,
    "progress": tell_progress,
    "warning": tell_warning_once,
    "done": tell_done,
    "failed": tell_failed,
}
