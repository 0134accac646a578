"""What the Fine-tuning lab shows of a run, as a pure function of its events: each record becomes a few small changes.

Promises: ``reduce(model, record)`` reads the view model so far and the next record, alters neither, and returns the
operations (``tabs.widgets.view_ops``) that lead to the next model; folding a log at once or in any chunks gives the
same model. Points of curves are only ever appended, and hold the numbers of their events. What the base model wrote is
kept once, what the tuned one wrote at each evaluation.

Not here: drawing, axes, smoothing (the browser does that, ``tabs/widgets/training_view.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tabs.widgets.view_ops import Model, Op, nothing, push, put, reduced

Record = Mapping[str, Any]

FIXED = ("prompt", "text", "reference", "base", "base_p")
"""What of a sample stays as it is from one evaluation to the next."""


def empty_model() -> Model:
    """The view of a run that has said nothing yet."""
    return {
        "status": "waiting",
        "error": None,
        "queue": None,
        "progress": None,
        "start": None,
        "train": [],
        "eval": [],
        "samples": {"rows": [], "at": []},
        "readings": [],
        "checkpoints": [],
        "metrics": [],
        "warnings": [],
        "result": None,
        "seconds": None,
    }


def reduce(model: Model, record: Record) -> list[Op]:
    """The operations that lead from ``model`` (``{}`` before the first record) to the model with ``record`` in it."""
    return reduced(model, record, empty_model, _KINDS, starts=False)


def _step(model: Model, record: Record) -> Iterator[Op]:
    return _STEPS.get(record["name"], nothing)(model, record)


def _queue(model: Model, record: Record) -> Iterator[Op]:
    """The place in the queue: 0 is this run's own turn."""
    yield put("queue", value=record["values"]["position"])
    if model["status"] == "waiting":
        yield put("status", value="queued")


def _start(model: Model, record: Record) -> Iterator[Op]:
    yield put("start", value=dict(record["values"]))
    yield put("status", value="running")
    if model["queue"] is not None:
        yield put("queue", value=None)


def _train(model: Model, record: Record) -> Iterator[Op]:
    yield push("train", value=_point(record))
    if model["status"] != "running":
        yield put("status", value="running")


def _eval(model: Model, record: Record) -> Iterator[Op]:
    yield push("eval", value=_point(record))


def _point(record: Record) -> Model:
    numbers = {name: _rounded(value) for name, value in record["values"].items() if name != "seconds_left"}
    return {"step": record["index"], **numbers}


def _rounded(value: Any) -> Any:
    """Six digits are more than a figure shows."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _samples(model: Model, record: Record) -> Iterator[Op]:
    """What base and tuned model make of the same rows; a later look replaces one at the same step."""
    rows = record["values"]["rows"]
    fixed = [{name: row[name] for name in FIXED if name in row} for row in rows]
    if fixed != model["samples"]["rows"]:
        yield put("samples", "rows", value=fixed)
    look = {
        "step": record["index"],
        "tuned": [row.get("tuned") for row in rows],
        "p": [row.get("tuned_p") for row in rows],
    }
    known = model["samples"]["at"]
    place = next((i for i, other in enumerate(known) if other["step"] == look["step"]), len(known))
    yield put("samples", "at", place, value=look)


def _reading(model: Model, record: Record) -> Iterator[Op]:
    """One line for each kind of reading: the newest."""
    values = record["values"]
    line = {"name": values["name"], "text": values["text"], "step": record["index"]}
    yield from _named(model, "readings", line)


def _checkpoint(model: Model, record: Record) -> Iterator[Op]:
    yield push("checkpoints", value={"step": record["index"], "bytes": record["values"].get("bytes")})


def _metric(model: Model, record: Record) -> Iterator[Op]:
    yield from _named(model, "metrics", {name: record[name] for name in ("name", "value", "unit")})


def _named(model: Model, key: str, entry: Model) -> Iterator[Op]:
    for place, old in enumerate(model[key]):
        if old["name"] == entry["name"]:
            yield put(key, place, value=entry)
            return
    yield push(key, value=entry)


def _warning(model: Model, record: Record) -> Iterator[Op]:
    if record["text"] not in model["warnings"]:
        yield push("warnings", value=record["text"])


def _progress(model: Model, record: Record) -> Iterator[Op]:
    fields = ("done", "total", "unit", "note", "seconds_left")
    yield put("progress", value={name: record.get(name) for name in fields})
    if model["status"] == "waiting" or (model["status"] == "queued" and not model["queue"]):
        yield put("status", value="running")


def _done(model: Model, record: Record) -> Iterator[Op]:
    yield put("status", value=record["reason"])
    yield put("result", value=record.get("result") or {})
    yield from _ending(record)


def _failed(model: Model, record: Record) -> Iterator[Op]:
    yield put("error", value={"what": record["what"], "todo": record.get("todo", "")})
    yield put("status", value="failed")
    yield from _ending(record)


def _ending(record: Record) -> Iterator[Op]:
    yield put("queue", value=None)
    yield put("progress", value=None)
    yield put("seconds", value=record["at"])


_Reducer = Callable[[Model, Record], Iterator[Op]]
_STEPS: dict[str, _Reducer] = {
    "queue": _queue,
    "start": _start,
    "train": _train,
    "eval": _eval,
    "samples": _samples,
    "reading": _reading,
    "checkpoint": _checkpoint,
}
_KINDS: dict[str, _Reducer] = {
    "step": _step,
    "metric": _metric,
    "warning": _warning,
    "progress": _progress,
    "done": _done,
    "failed": _failed,
}
