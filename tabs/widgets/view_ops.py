"""How a lab's view grows: small operations on a plain JSON model, the same in Python and in the browser.

A lab's view is ``reduce(model, record) -> list[Op]``, called once for each record of a run's log, in order. It reads
the view so far (``{}`` before the first record) and the record, changes neither, and says what changes. The
operations go to the browser (see ``tabs.routes``), where ``js/view_ops.js`` applies them to an object that starts
empty; ``apply`` does the same here, so that a test, the API and the page see one and the same view.

    {"set": ["columns", 0, "state"], "value": "done"}     assigns; the empty path replaces the whole model
    {"push": ["columns", 0, "tokens"], "value": {...}}    appends to a list

Containers that a path goes through are made when they are missing: a list where the next step is a number, else an
object. A list is only ever extended at its end. Operations and values are plain JSON. Nothing here draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Op = dict[str, Any]
Step = str | int
Model = dict[str, Any]
Record = Mapping[str, Any]
Reduce = Callable[[Model, Record], list[Op]]
Change = Callable[[Model, Record], Iterator[Op]]

JS = (Path(__file__).parent / "js" / "view_ops.js").read_text(encoding="utf-8")


def put(*path: Step, value: Any) -> Op:
    """The operation that assigns ``value`` at ``path``."""
    return {"set": list(path), "value": value}


def push(*path: Step, value: Any) -> Op:
    """The operation that appends ``value`` to the list at ``path``."""
    return {"push": list(path), "value": value}


def apply(model: Model, ops: Iterable[Op]) -> Model:
    """Apply operations to ``model`` in place and return it (another object only where the whole was replaced).

    Values are copied, so that growing the model changes neither an operation nor the record it came from. Raises
    ``ValueError`` for an operation that is neither, and ``IndexError`` for a path beyond the end of a list.
    """
    for op in ops:
        value = _copied(op.get("value"))
        if "set" in op:
            path = op["set"]
            if path:
                _assign(_walk(model, path[:-1], path[-1]), path[-1], value)
            else:
                model = value
        elif "push" in op:
            _walk(model, op["push"], 0).append(value)
        else:
            raise ValueError(f"not a view operation: {sorted(op)}")
    return model


def view_model(reduce: Reduce, records: Iterable[Mapping[str, Any]]) -> Model:
    """The whole view of a log: every record reduced, every operation applied."""
    model: Model = {}
    for record in records:
        model = apply(model, reduce(model, record))
    return model


def reduced(
    model: Model, record: Record, empty: Callable[[], Model], kinds: Mapping[str, Change], *, starts: bool
) -> list[Op]:
    """A record's operations by its kind; the first record fills an empty view beforehand.

    With ``starts`` a waiting view runs as soon as its run says anything but its end.
    """
    ops: list[Op] = []
    if "status" not in model:
        model = empty()
        ops += [put(key, value=value) for key, value in model.items()]
    if starts and model["status"] == "waiting" and record["kind"] not in ("done", "failed"):
        ops.append(put("status", value="running"))
    return [*ops, *kinds.get(record["kind"], nothing)(model, record)]


def nothing(model: Model, record: Record) -> Iterator[Op]:
    """For records that a view doesn't show."""
    return iter(())


def tell_progress(model: Model, record: Record) -> Iterator[Op]:
    """How far the run is; it stands until the next such record or the end."""
    yield put("progress", value={name: record.get(name) for name in ("done", "total", "unit", "note", "seconds_left")})


def tell_warning(model: Model, record: Record) -> Iterator[Op]:
    """What the visitor should know."""
    yield push("warnings", value=record["text"])


def tell_warning_once(model: Model, record: Mapping[str, Any]) -> Iterator[Op]:
    """A warning, unless the same words stand there already."""
    if record["text"] not in model["warnings"]:
        yield from tell_warning(model, record)


def tell_artifact(model: Model, record: Record) -> Iterator[Op]:
    """A file that the run has left."""
    yield push("files", value={name: record[name] for name in ("name", "path", "bytes")})


def tell_done(model: Model, record: Record) -> Iterator[Op]:
    """The run is over, by itself or stopped."""
    yield from _ended(record, record["reason"])


def tell_failed(model: Model, record: Record) -> Iterator[Op]:
    """The run ended in an error."""
    yield put("error", value={"what": record["what"], "todo": record.get("todo", "")})
    yield from _ended(record, "failed")


def _ended(record: Record, status: str) -> Iterator[Op]:
    yield put("status", value=status)
    yield put("progress", value=None)
    yield put("seconds", value=record["at"])


def _walk(node: Any, path: list[Step], then: Step) -> Any:
    """The container at ``path``; ``then`` is the step after it and says what to make where nothing is."""
    for at, step in enumerate(path):
        following = path[at + 1] if at + 1 < len(path) else then
        missing = step not in node if isinstance(node, dict) else step == len(node)
        if missing:
            _assign(node, step, [] if isinstance(following, int) else {})
        node = node[step]
    return node


def _assign(node: Any, step: Step, value: Any) -> None:
    if isinstance(node, list) and step == len(node):
        node.append(value)
    else:
        node[step] = value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return value
