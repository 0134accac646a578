"""The Sentiment view: events in, the page's model out, for each mode."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from core.events import Artifact, Done, Event, Failed, Progress, Step, dump
from core.events import Warning as Notice
from tabs.sentiment.view import empty_model, reduce
from tabs.widgets.view_ops import apply, view_model

LABELS = ["negative", "positive"]


def log(*events: Event) -> list[dict[str, Any]]:
    return [{"seq": i, "at": round(i * 0.01, 4), **dump(event)} for i, event in enumerate(events)]


def step(name: str, index: int = 0, **values: Any) -> Step:
    return Step(name=name, index=index, values=values)


def start(mode: str) -> Step:
    return step("start", mode=mode, labels=LABELS, total=3, source="your text", model={"name": "minilm-sentiment"})


def row(i: int) -> dict[str, Any]:
    text = {"text": f"text {i}", "cut": False, "tokens": 4, "windows": 1, "ms": 1.5}
    return {"i": i, **text, "label": 1, "p": [0.25, 0.75]}


ATTRIBUTION = step("attribution", 0, text="so good", label=1, p=[0.1, 0.9], target=1, methods=[{"scores": [0.1, 0.8]}])
RUNS = {
    "label": log(
        Progress(done=0, total=3, unit="texts", seconds_left=2.0),
        start("label"),
        step("rows", 0, rows=[row(0), row(1)]),
        Notice(text="One text was long."),
        Notice(text="One text was long."),
        step("rows", 1, rows=[row(2)]),
        Artifact(name="predictions", path="files/predictions.csv", bytes=120),
        step("summary", n=3, counts=[0, 3], seconds=0.1, texts_per_second=30.0, long={"n": 1, "how": "windows"}),
        step("unheard of", x=1),
        Done(result={}),
    ),
    "explain": log(start("explain"), step("rows", rows=[row(0)]), ATTRIBUTION, Done(result={})),
    "whatif": log(
        start("whatif"),
        step("variant", 0, kind="original", text="good", p=[0.1, 0.9], changes=[]),
        step("variant", 1, kind="negation", text="not good", p=[0.8, 0.2], changes=[[0, 4, "good", "not good"]]),
        Done(result={}),
    ),
    "bias": log(
        start("bias"),
        step("group", 0, group="a", n=2, mean=0.5),
        step("group", 1, group="b", n=2, mean=0.6),
        step("bias", axis="gender", positive=1, gap=0.1, p_value=0.4, sentence="Could be chance."),
        Done(result={}),
    ),
    "evaluate": log(
        start("evaluate"),
        step("evaluation", n=3, scores=[0.1, 0.8, 0.4], gold=[0, 1, 1], positive=1),
        step("examples", 0, rows=[{"i": 2, "gold": 1, "predicted": 0}]),
        step("examples", 1, rows=[{"i": 0, "gold": 0, "predicted": 0}]),
        Done(result={}),
    ),
    "compare": log(start("compare"), step("comparison", n=3, models=[], pairs=[], changed=[]), Done(reason="stopped")),
}


def test_labels_come_row_by_row_and_the_same_warning_once() -> None:
    model = view_model(reduce, RUNS["label"])
    assert model["status"] == "finished"
    assert model["seconds"] == RUNS["label"][-1]["at"]
    assert model["progress"] is None
    assert model["warnings"] == ["One text was long."]
    assert [one["i"] for one in model["rows"]] == [0, 1, 2]
    assert model["files"] == [{"name": "predictions", "path": "files/predictions.csv", "bytes": 120}]
    assert model["summary"]["counts"] == [0, 3]
    assert model["start"]["labels"] == LABELS


def test_each_mode_has_its_part_of_the_view() -> None:
    views = {mode: view_model(reduce, records) for mode, records in RUNS.items()}
    assert views["explain"]["attributions"] == [{"index": 0, **ATTRIBUTION.values}]
    assert [one["index"] for one in views["whatif"]["variants"]] == [0, 1]
    assert views["whatif"]["variants"][1]["changes"] == [[0, 4, "good", "not good"]]
    assert [one["group"] for one in views["bias"]["groups"]] == ["a", "b"]
    assert views["bias"]["bias"]["sentence"] == "Could be chance."
    assert views["evaluate"]["evaluation"]["gold"] == [0, 1, 1]
    assert [one["i"] for one in views["evaluate"]["examples"]] == [2, 0]
    assert views["compare"]["comparison"]["n"] == 3
    assert views["compare"]["status"] == "stopped"


@pytest.mark.parametrize("mode", RUNS)
def test_any_chunks_give_the_same_plain_view_and_alter_no_record(mode: str) -> None:
    records = RUNS[mode]
    before = copy.deepcopy(records)
    whole = view_model(reduce, records)
    for cut in range(1, len(records)):
        model = view_model(reduce, records[:cut])
        seen = copy.deepcopy(model)
        for record in records[cut:]:
            ops = reduce(model, record)
            assert model == seen  # reducing reads, applying writes
            model = apply(model, ops)
            seen = copy.deepcopy(model)
        assert model == whole
    assert records == before
    json.dumps(whole, allow_nan=False)


def test_the_first_record_fills_the_view_and_a_failure_ends_it() -> None:
    model = view_model(reduce, log(Progress(done=1, total=4, unit="texts", note="Labelling", seconds_left=3.0)))
    assert set(model) == set(empty_model())
    assert model["status"] == "running"
    assert model["progress"] == {"done": 1, "total": 4, "unit": "texts", "note": "Labelling", "seconds_left": 3.0}
    failed = view_model(reduce, log(start("label"), Failed(error="BadInput", what="No column.", todo="Choose one.")))
    assert failed["status"] == "failed"
    assert failed["error"] == {"what": "No column.", "todo": "Choose one."}
    assert failed["progress"] is None
