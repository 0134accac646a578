"""Several training runs side by side: a table, their curves on one figure, and score over trained parameters.

Pure functions over the records of the runs' logs, complete or still growing; plain JSON comes out, with figures in the
form that the page draws (``{"title", "x", "y", "traces"}``). A run without a number has None in its place, never 0.
Reads no files and decides nothing about whose runs they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.training.parameters import METHOD_TITLES, Method, Task

Record = Mapping[str, Any]
Axis = Literal["step", "epoch", "tokens", "seconds"]
AXES: dict[str, str] = {"step": "Step", "epoch": "Epoch", "tokens": "Tokens", "seconds": "Time, s"}
MOST_RUNS = 12
POINTS = 500
"""Points of a curve on the overlay: longer ones are thinned evenly, their last point kept."""

_SHOWN = (
    "model", "data", "method", "r", "lora_alpha", "target_modules", "virtual_tokens", "learning_rate", "scheduler",
    "batch_size", "gradient_accumulation", "epochs", "max_steps", "weight_decay", "max_length", "packing", "seed",
)  # fmt: skip
_TITLES = {
    "model": "model", "data": "data", "r": "r", "lora_alpha": "alpha", "target_modules": "modules",
    "virtual_tokens": "virtual tokens", "learning_rate": "lr", "scheduler": "schedule", "batch_size": "batch",
    "gradient_accumulation": "accumulation", "epochs": "epochs", "max_steps": "steps", "weight_decay": "weight decay",
    "max_length": "max length", "packing": "packing", "seed": "seed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run to compare: its id, its request as stored, and its records so far."""

    id: str
    request: Mapping[str, Any]
    records: Sequence[Record]


def compare(logs: Iterable[ComparedRun], axis: Axis = "step") -> dict[str, Any]:
    """``{"columns", "rows", "ids", "figures": {"train", "eval", "score"}}`` of at most ``MOST_RUNS`` runs."""
    runs = list(logs)[:MOST_RUNS]
    names = titles([run.request for run in runs])
    readings = [reading(run) for run in runs]
    by_accuracy = bool(readings) and all(r["accuracy"] is not None for r in readings)
    rows = [_row(name, found) for name, found in zip(names, readings, strict=True)]
    return {
        "columns": list(_COLUMNS),
        "rows": rows,
        "ids": [run.id for run in runs],
        "figures": {
            "train": _overlay("Training loss", "train", runs, names, axis),
            "eval": _overlay("Evaluation loss", "eval", runs, names, axis),
            "score": _score(readings, names, "accuracy" if by_accuracy else "eval_loss"),
        },
    }


_COLUMNS = (
    "Run", "Method", "Trained parameters", "Trained, %", "Steps", "Training loss", "Evaluation loss", "Accuracy",
    "Time, s", "State",
)  # fmt: skip


def reading(run: ComparedRun) -> dict[str, Any]:
    """The run's numbers: what it trained, how far it is, its last losses and score; None where there is none yet.

    A run that is over says its own end results, so that a best checkpoint that was kept counts, not the last one.
    """
    start = next(iter(_steps(run.records, "start")), (0, {}))[1]
    train, evals = _steps(run.records, "train"), _steps(run.records, "eval")
    last = run.records[-1] if run.records else {}
    done = last.get("result", {}) if last.get("kind") == "done" else {}
    final_eval = evals[-1][1] if evals else {}
    trained, total = start.get("parameters_trained"), start.get("parameters_total")
    return {
        "method": str(start.get("method") or run.request.get("method", "")),
        "task": str(start.get("task") or run.request.get("task", "")),
        "trained": trained,
        "share": 100.0 * trained / total if trained is not None and total else None,
        "steps": done.get("steps", train[-1][0] if train else 0),
        "loss": done.get("loss", train[-1][1].get("loss") if train else None),
        "eval_loss": done.get("best_eval_loss", done.get("eval_loss", final_eval.get("loss"))),
        "accuracy": done.get("accuracy", final_eval.get("accuracy")),
        "seconds": train[-1][1].get("seconds") if train else None,
        "state": _state(last),
    }


def titles(requests: Sequence[Mapping[str, Any]]) -> list[str]:
    """A short name for each run: its method and what differs between the runs, numbered where that is nothing."""
    differing = [name for name in _SHOWN if len({repr(request.get(name)) for request in requests}) > 1]
    names = [" · ".join(_parts(request, differing)) for request in requests]
    return [name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names, 1)]


def _parts(request: Mapping[str, Any], differing: Sequence[str]) -> list[str]:
    parts = [_method_title(str(request.get("method", "")))]
    for name in differing:
        value = request.get(name)
        if name == "method" or not _reads(str(request.get("method", "")), name):
            continue
        if name in ("model", "data"):
            parts.append(str(value))
        elif name == "target_modules":
            parts.append(" ".join(value) if value else "all linear")
        else:
            parts.append(f"{_TITLES[name]} {value:g}" if isinstance(value, float) else f"{_TITLES[name]} {value}")
    return parts


def _reads(method: str, name: str) -> bool:
    """Whether a field says anything about a run of this method."""
    if name in ("r", "lora_alpha", "target_modules"):
        return method in ("lora", "rslora", "dora", "qlora")
    return name != "virtual_tokens" or method == "prompt"


def _method_title(method: str) -> str:
    return METHOD_TITLES[Method(method)] if method in set(Method) else method or "Run"


def _row(name: str, found: Mapping[str, Any]) -> list[Any]:
    return [
        name, _method_title(found["method"]), found["trained"], _rounded(found["share"], 3), found["steps"],
        _rounded(found["loss"], 4), _rounded(found["eval_loss"], 4), _rounded(found["accuracy"], 4),
        _rounded(found["seconds"], 1), found["state"],
    ]  # fmt: skip


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _state(last: Record) -> str:
    if last.get("kind") == "done":
        return str(last.get("reason", "finished"))
    return "failed" if last.get("kind") == "failed" else "running"


def _steps(records: Sequence[Record], name: str) -> list[tuple[int, dict[str, Any]]]:
    """Index and values of the ``Step`` records called ``name``; of one index the later record counts."""
    found: dict[int, dict[str, Any]] = {}
    for record in records:
        if record.get("kind") == "step" and record.get("name") == name:
            found[int(record["index"])] = dict(record["values"])
    return sorted(found.items())


def _overlay(title: str, name: str, runs: Sequence[ComparedRun], names: Sequence[str], axis: Axis) -> dict[str, Any]:
    traces = []
    for color, (run, label) in enumerate(zip(runs, names, strict=True)):
        points = [
            (index if axis == "step" else values.get(axis), values.get("loss"))
            for index, values in _steps(run.records, name)
        ]
        points = _thinned([point for point in points if None not in point])
        mode = "lines" if name == "train" else "lines+markers"
        traces.append(
            {"name": label, "x": [x for x, _ in points], "y": [y for _, y in points], "mode": mode, "color": color}
        )
    return _figure(title, AXES[axis], "Loss, nats per token" if _all_language(runs) else "Loss, nats", traces)


def _all_language(runs: Sequence[ComparedRun]) -> bool:
    return all(run.request.get("task", Task.LANGUAGE) == Task.LANGUAGE for run in runs)


def _thinned(points: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    stride = -(-len(points) // POINTS) or 1
    return [point for i, point in enumerate(points) if i % stride == 0 or i == len(points) - 1]


def _score(readings: Sequence[Mapping[str, Any]], names: Sequence[str], score: str) -> dict[str, Any]:
    """One point for each run: how well it does over how many parameters it trains, a colour for each method."""
    methods = list(dict.fromkeys(found["method"] for found in readings))
    traces = []
    for color, method in enumerate(methods):
        points = sorted(
            (found["trained"], found[score], name)
            for found, name in zip(readings, names, strict=True)
            if found["method"] == method and found["trained"] and found[score] is not None
        )
        if points:
            traces.append(
                {
                    "name": _method_title(method), "x": [x for x, _, _ in points], "y": [y for _, y, _ in points],
                    "text": [name for _, _, name in points], "color": color,
                    "mode": "lines+markers" if len(points) > 1 else "markers",
                }
            )  # fmt: skip
    title = "Accuracy" if score == "accuracy" else "Evaluation loss, nats"
    figure = _figure("Score over trained parameters", "Trained parameters", title, traces)
    figure["x"]["log"] = True
    return figure


def _figure(title: str, x: str, y: str, traces: list[dict[str, Any]]) -> dict[str, Any]:
    return {"title": title, "x": {"title": x, "log": False}, "y": {"title": y, "log": False}, "traces": traces}
