"""The Strategies view: events in, the page's model out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.events import Done, Event, Failed, Progress, Step, dump
from core.events import Warning as Notice
from tabs.strategies.view import empty_model, reduce
from tabs.widgets.view_ops import apply, view_model


def log(*events: Event) -> list[dict[str, Any]]:
    return [{"seq": i, "at": round(i * 0.01, 4), **dump(event)} for i, event in enumerate(events)]


def start(*titles: str) -> Step:
    columns = [{"title": title, "model": "mlp", "strategy": "mini", "toy": True} for title in titles]
    values = {
        "columns": columns,
        "budget": {"kind": "epochs", "amount": 2.0},
        "data": {},
        "toy": {},
    }
    return Step(name="start", index=0, values=values)


def step(what: str, column: int | None = None, index: int = 0, **values: Any) -> Step:
    return Step(name=what, index=index, column=column, values=values)


EVERYTHING = log(
    Progress(done=0, note="Getting the data ready"),
    start("Full batch 9", "Mini-batch 3"),
    step("pipeline", waste=[]),
    step("pixels", size=3),
    Notice(text="few examples"),
    step("point", 0, 0, epoch=0.0, loss=2.0),
    step("point", 1, 0, epoch=0.0, loss=2.0),
    step("boundary", 1, 0, share=0.0, grid="0z"),
    step("noise", 1, 0, variance=1.5),
    step("point", 1, 3, epoch=1.0, loss=1.0),
    step("unheard of", 1, 3, x=1),
    step("reading", 1, 3, name="overfitting", text="Overfitting: so it is."),
    Progress(done=0.5, total=1, note="Training"),
    step("result", 1, 3, test_accuracy=0.9),
    step("accumulation", 1, 0, relative=1e-7),
    Done(result={}),
)


def test_a_whole_run() -> None:
    model = view_model(reduce, EVERYTHING)
    assert model["status"] == "finished"
    assert model["seconds"] == EVERYTHING[-1]["at"]
    assert model["progress"] is None
    assert model["warnings"] == ["few examples"]
    assert model["pipeline"] == {"waste": []}
    assert model["pixels"] == {"size": 3}
    assert model["accumulation"] == [{"relative": 1e-7}]
    full, mini = model["columns"]
    assert full["points"] == [{"step": 0, "epoch": 0.0, "loss": 2.0}]
    assert [point["step"] for point in mini["points"]] == [0, 3]
    assert mini["frames"] == [{"step": 0, "share": 0.0, "grid": "0z"}]
    assert mini["noise"] == [{"step": 0, "variance": 1.5}]
    assert mini["readings"][0]["name"] == "overfitting"
    assert mini["result"] == {"test_accuracy": 0.9}
    assert full["result"] is None
    json.dumps(model, allow_nan=False)


@pytest.mark.parametrize("cut", range(1, len(EVERYTHING)))
def test_chunks_give_the_same_model(cut: int) -> None:
    model: dict[str, Any] = {}
    for part in (EVERYTHING[:cut], EVERYTHING[cut:]):
        for record in part:
            before = json.dumps([model, record])
            ops = reduce(model, record)
            assert json.dumps([model, record]) == before
            model = apply(model, ops)
    assert model == view_model(reduce, EVERYTHING)


def test_columns_do_not_share_their_lists() -> None:
    model = view_model(reduce, log(start("a", "b"), step("point", 0, 1, loss=1.0)))
    assert len(model["columns"][0]["points"]) == 1
    assert model["columns"][1]["points"] == []


def test_waiting_running_and_failing() -> None:
    assert empty_model()["status"] == "waiting"
    model = view_model(reduce, log(Progress(done=0, note="Getting the data ready")))
    assert model["status"] == "running"
    assert model["progress"] == {"done": 0.0, "total": None, "note": "Getting the data ready"}
    model = view_model(reduce, log(start("a"), Failed(error="OutOfMemory", what="No room.", todo="Use less.")))
    assert model["status"] == "failed"
    assert model["error"] == {"what": "No room.", "todo": "Use less."}
