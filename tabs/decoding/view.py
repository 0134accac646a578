"""What the Decoding lab shows, as a pure function of its run's events: each log record becomes a few small changes.

Promises: ``reduce(model, record)`` reads the view model so far and the next record, alters neither, and returns the
operations (``tabs.widgets.view_ops``) that lead to the next model; folding a log at once or in any chunks gives the
same model. The model is plain JSON, and every number in it was in an event or follows from one by arithmetic.

Not here: drawing (the browser does that, ``tabs/widgets/run_view.py``), and the candidates of a step (the microscope
asks for those on its own).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tabs.widgets.view_ops import Model, Op, nothing, push, put, reduced

Json = Any
Record = Mapping[str, Any]

RATE_UNIT = "tokens/s"


def empty_model() -> Model:
    """The view of a run that has said nothing yet."""
    return {
        "status": "waiting",
        "error": None,
        "progress": None,
        "prompt": [],
        "waiting": False,
        "by_hand": False,
        "columns": [],
        "metrics": [],
        "facts": None,
        "warnings": [],
        "seconds": None,
    }


def reduce(model: Model, record: Record) -> list[Op]:
    """The operations that lead from ``model`` (``{}`` before the first record) to the model with ``record`` in it."""
    return reduced(model, record, empty_model, _KINDS, starts=True)


def _token(model: Model, record: Record) -> Iterator[Op]:
    number = record["column"]
    if model["progress"] is not None:
        yield put("progress", value=None)
    yield push("columns", number, "tokens", value=_shown_token(record, record["index"]))
    if record.get("forced"):
        yield put("columns", number, "forced", value=model["columns"][number]["forced"] + 1)
    else:
        yield from _rate(model, number, len(model["columns"][number]["tokens"]) + 1, record["at"])


def _shown_token(token: Mapping[str, Json], index: int) -> Model:
    """A token event (or one of a beam's tokens, which has the same fields) as the page shows it."""
    logprob = token["logprob"]
    return {
        "i": index,
        "id": token["id"],
        "t": token["text"],
        "piece": token["piece"],
        "p": float(f"{math.exp(logprob):.4g}"),
        "s": round(max(0.0, -logprob / math.log(2)), 3),
        "rank": token["rank"],
        "h": round(token["entropy"], 3),
        "f": bool(token.get("forced", False)),
    }


def _rate(model: Model, number: int, length: int, at: float) -> Iterator[Op]:
    """Tokens per second from the column's first produced token (at ``began``) to this one.

    Forced tokens cost nothing and do not count. By hand the pace is the visitor's, so there is no rate.
    """
    column = model["columns"][number]
    if model["by_hand"]:
        return
    if column["began"] is None:
        yield put("columns", number, "began", value=at)
    elif at > column["began"]:
        # The first token ends the wait before it, so it is not part of the interval.
        intervals = length - column["forced"] - 1
        yield put("columns", number, "rate", value=round(intervals / (at - column["began"]), 1))


def _metric(model: Model, record: Record) -> Iterator[Op]:
    number = record.get("column")
    if number is not None and record["unit"] == RATE_UNIT:
        yield put("columns", number, "rate", value=record["value"])
        return
    path: tuple[str | int, ...] = ("metrics",) if number is None else ("columns", number, "metrics")
    known = model["metrics"] if number is None else model["columns"][number]["metrics"]
    metric = {"name": record["name"], "value": record["value"], "unit": record["unit"]}
    for place, old in enumerate(known):
        if old["name"] == metric["name"]:
            yield put(*path, place, value=metric)
            return
    yield push(*path, value=metric)


def _warning(model: Model, record: Record) -> Iterator[Op]:
    number = record.get("column")
    if number is None:
        yield push("warnings", value=record["text"])
        return
    note = model["columns"][number]["note"]
    yield put("columns", number, "note", value=f"{note} {record['text']}".strip())


def _progress(model: Model, record: Record) -> Iterator[Op]:
    fields = ("done", "total", "unit", "note", "seconds_left")
    yield put("progress", value={name: record.get(name) for name in fields})


def _done(model: Model, record: Record) -> Iterator[Op]:
    yield put("status", value=record["reason"])
    yield from _ending(model, record, "stopped" if record["reason"] == "stopped" else None)


def _failed(model: Model, record: Record) -> Iterator[Op]:
    yield put("error", value={"what": record["what"], "todo": record.get("todo", "")})
    yield put("status", value="failed")
    yield from _ending(model, record, None)


def _ending(model: Model, record: Record, finish: str | None) -> Iterator[Op]:
    yield put("seconds", value=record["at"])
    yield put("waiting", value=False)
    yield put("progress", value=None)
    for number, column in enumerate(model["columns"]):
        if column["state"] != "done":
            yield put("columns", number, "state", value="done")
            yield put("columns", number, "finish", value=finish)


def _step(model: Model, record: Record) -> Iterator[Op]:
    return _STEPS.get(record["name"], nothing)(model, record)


def _start(model: Model, record: Record) -> Iterator[Op]:
    values = record["values"]
    yield put("progress", value=None)
    yield put("prompt", value=[_prompt_token(i, token) for i, token in enumerate(values["prompt"])])
    yield put("facts", value=values.get("facts"))
    yield put("columns", value=[_new_column(column) for column in values["columns"]])


def _prompt_token(index: int, token: Mapping[str, Json]) -> Mapping[str, Json]:
    return {"i": index, "id": token["id"], "t": token["text"], "piece": token["piece"]}


def _new_column(column: Mapping[str, Json]) -> Model:
    return {
        "strategy": column["strategy"],
        "title": column["title"],
        "state": "running",
        "note": "",
        "tokens": [],
        "forced": 0,
        "began": None,
        "rate": None,
        "metrics": [],
        "finish": None,
        "beam": None,
        "drafts": None,
        "check": None,
    }


def _beam(model: Model, record: Record) -> Iterator[Op]:
    """One more step of the tree: the hypotheses that were looked at, kept or pruned."""
    number, nodes = record["column"], record["values"]["nodes"]
    beam = model["columns"][number]["beam"]
    if beam is None:
        yield put("columns", number, "beam", value={"steps": [{"nodes": nodes}], "best": []})
        return
    yield push("columns", number, "beam", "steps", value={"nodes": nodes})


def _beam_best(model: Model, record: Record) -> Iterator[Op]:
    """The best hypothesis changed: the flow from ``from`` on is another one now."""
    number, values = record["column"], record["values"]
    column, first = model["columns"][number], values["from"]
    if model["progress"] is not None:
        yield put("progress", value=None)
    new = [_shown_token(token, first + i) for i, token in enumerate(values["tokens"])]
    flow = ("columns", number, "tokens")
    yield from _replaced(column["tokens"], first, new, flow)
    if first + len(new) > len(column["tokens"]):
        yield from _rate(model, number, first + len(new), record["at"])
    if column["beam"] is not None:
        ids = [token["id"] for token in column["tokens"][:first] + new if not token["f"]]
        best = _path_of(column["beam"], ids)
        same = _common_length(column["beam"]["best"], best)
        yield from _replaced(column["beam"]["best"], same, best[same:], ("columns", number, "beam", "best"))


def _replaced(old: list[Json], first: int, new: list[Json], path: tuple[str | int, ...]) -> Iterator[Op]:
    """Operations that make ``old[first:]`` equal ``new``: one per difference, or the whole list where it shrinks."""
    if first + len(new) < len(old):
        yield put(*path, value=old[:first] + new)
        return
    for place, value in enumerate(new, start=first):
        if place >= len(old):
            yield push(*path, value=value)
        elif old[place] != value:
            yield put(*path, place, value=value)


def _common_length(one: list[Json], other: list[Json]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _path_of(beam: Mapping[str, Json], ids: list[int]) -> list[int]:
    """The tree's nodes along the hypothesis with these token ids, from its first step to its last."""
    steps = beam["steps"]
    depth = min(len(ids), len(steps)) - 1
    for leaf in steps[depth]["nodes"] if depth >= 0 else ():
        if leaf["id"] == ids[depth]:
            path = _climb(steps, leaf, ids, depth)
            if path:
                return path
    return []


def _climb(steps: list[Json], leaf: Mapping[str, Json], ids: list[int], depth: int) -> list[int]:
    """From a leaf to the root as long as the ids agree; empty where they do not."""
    path, node = [leaf["n"]], leaf
    for level in range(depth - 1, -1, -1):
        parent = next((n for n in steps[level]["nodes"] if n["n"] == node["parent"]), None)
        if parent is None or parent["id"] != ids[level]:
            return []
        path.append(parent["n"])
        node = parent
    return path[::-1]


def _drafts(model: Model, record: Record) -> Iterator[Op]:
    values = record["values"]
    drafts = {name: values[name] for name in ("accepted", "proposed")}
    yield put("columns", record["column"], "drafts", value=drafts)


def _waiting(model: Model, record: Record) -> Iterator[Op]:
    yield put("waiting", value=bool(record["values"]["on"]))
    if not model["by_hand"]:
        yield put("by_hand", value=True)


def _column(model: Model, record: Record) -> Iterator[Op]:
    for key in ("state", "finish"):
        if key in record["values"]:
            yield put("columns", record["column"], key, value=record["values"][key])


def _check(model: Model, record: Record) -> Iterator[Op]:
    values = record["values"]
    yield put("columns", record["column"], "check", value={"same": values["same"], "text": values["text"]})


_Reducer = Callable[[Model, Record], Iterator[Op]]
_STEPS: dict[str, _Reducer] = {
    "start": _start,
    "beam": _beam,
    "beam_best": _beam_best,
    "draft": _drafts,
    "waiting": _waiting,
    "column": _column,
    "check": _check,
}
_KINDS: dict[str, _Reducer] = {
    "token": _token,
    "step": _step,
    "metric": _metric,
    "warning": _warning,
    "progress": _progress,
    "done": _done,
    "failed": _failed,
}
