"""The Quantization view: events in, the page's model out, for each mode."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from core.events import Artifact, Done, Event, Failed, Progress, Step, Table, dump
from core.events import Warning as Notice
from tabs.quantization.view import KEPT, NUMBERED, empty_model, reduce
from tabs.widgets.view_ops import apply, view_model


def log(*events: Event) -> list[dict[str, Any]]:
    return [{"seq": i, "at": round(i * 0.01, 4), **dump(event)} for i, event in enumerate(events)]


def step(name: str, index: int = 0, **values: Any) -> Step:
    return Step(name=name, index=index, values=values)


def start(mode: str) -> Step:
    return step("start", mode=mode, model={"name": "story-lm", "parameters": 4_260_000}, prompt_tokens=5)


def scheme(index: int, name: str, **values: Any) -> Step:
    measured = {"bytes": {"measured": 100, "predicted": 101}, "perplexity": 7.0, "kl": 0.01, "text": f"by {name}"}
    return step("scheme", index, scheme=name, title=name.upper(), **measured, **values)


RUNS = {
    "compare": log(
        Progress(done=0, total=3, unit="schemes", seconds_left=2.0),
        start("compare"),
        scheme(0, "float32"),
        step("front", names=["float32"]),
        step("skipped", 1, scheme="float16", title="float16", why="A CPU has no kernels for it."),
        Notice(text="The text was cut."),
        Notice(text="The text was cut."),
        scheme(2, "nf4"),
        step("front", names=["float32", "nf4"]),
        step("reading", lines=[{"scheme": "nf4", "text": "Dequantization takes half of the time."}]),
        Artifact(name="schemes", path="files/schemes.csv", bytes=120),
        step("unheard of", x=1),
        Done(result={}),
    ),
    "plan": log(start("plan"), step("plan", rows=[], devices=[], verdicts=[], kv={"per_token": 0}), Done(result={})),
    "lens": log(start("lens"), step("lens", layer="a.b", perplexity={"before": 7.0, "after": 7.5}), Done(result={})),
    "sweep": log(
        start("sweep"),
        step("layer", 0, layer="a", part="q_proj", depth=0, delta=0.1),
        step("layer", 1, layer="b", part="q_proj", depth=1, delta=-0.1),
        step("summary", order=["a", "b"], most="a", least="b", sentence="The first."),
        Done(reason="stopped"),
    ),
    "chat": log(
        start("chat"),
        step("format", 0, format="model", text="Hello", pieces=[{"text": "Hello", "kind": "content", "turn": 0}]),
        step("format", 1, format="chatml", text="<|im_start|>", pieces=[]),
        step("wrong", lines=["It repeats the role."], perplexity={"model": 12.0}),
        Done(result={}),
    ),
    "save": log(
        start("save"),
        step("files", files=[{"name": "model.safetensors", "bytes": 12}], bytes=12, full_bytes=48),
        step("certificate", columns=["measure", "measured"], rows=[["verdict", "pass"]]),
        Artifact(name="checkpoint", path="files/story-lm-nf4.zip", bytes=14),
        Done(result={}),
    ),
}


def test_schemes_come_one_by_one_with_the_newest_front_and_the_same_warning_once() -> None:
    model = view_model(reduce, RUNS["compare"])
    assert model["status"] == "finished"
    assert model["seconds"] == RUNS["compare"][-1]["at"]
    assert model["progress"] is None
    assert model["warnings"] == ["The text was cut."]
    assert [(one["index"], one["scheme"]) for one in model["schemes"]] == [(0, "float32"), (2, "nf4")]
    assert model["schemes"][1]["bytes"] == {"measured": 100, "predicted": 101}
    assert model["skipped"] == [
        {"index": 1, "scheme": "float16", "title": "float16", "why": "A CPU has no kernels for it."}
    ]
    assert model["front"] == {"names": ["float32", "nf4"]}
    assert model["reading"]["lines"][0]["scheme"] == "nf4"
    assert model["files"] == [{"name": "schemes", "path": "files/schemes.csv", "bytes": 120}]


def test_each_mode_has_its_part_of_the_view() -> None:
    views = {mode: view_model(reduce, records) for mode, records in RUNS.items()}
    assert all(view["start"]["mode"] == mode for mode, view in views.items())
    assert views["plan"]["plan"]["kv"] == {"per_token": 0}
    assert views["lens"]["lens"]["perplexity"]["after"] == 7.5
    assert [one["delta"] for one in views["sweep"]["layers"]] == [0.1, -0.1]
    assert views["sweep"]["summary"]["most"] == "a"
    assert views["sweep"]["status"] == "stopped"
    assert [one["format"] for one in views["chat"]["formats"]] == ["model", "chatml"]
    assert views["chat"]["wrong"]["perplexity"] == {"model": 12.0}


def test_saved_files_stand_beside_those_that_can_be_fetched() -> None:
    model = view_model(reduce, RUNS["save"])
    assert model["saved"]["full_bytes"] == 48
    assert [file["path"] for file in model["files"]] == ["files/story-lm-nf4.zip"]
    assert model["certificate"]["rows"] == [["verdict", "pass"]]


def test_a_certificate_may_come_as_a_table() -> None:
    table = Table(name="certificate", columns=("measure", "result"), rows=(("verdict", "pass"),))
    other = Table(name="something else", columns=("x",), rows=((1,),))
    model = view_model(reduce, log(start("save"), table, other))
    assert model["certificate"] == {"columns": ["measure", "result"], "rows": [["verdict", "pass"]]}


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
    model = view_model(reduce, log(Progress(done=1, total=4, unit="schemes", note="Measuring NF4", seconds_left=3.0)))
    assert set(model) == set(empty_model())
    assert {*KEPT.values(), *NUMBERED.values()} <= set(model)
    assert model["status"] == "running"
    assert model["progress"]["note"] == "Measuring NF4"
    failed = view_model(reduce, log(start("lens"), Failed(error="BadInput", what="No such layer.", todo="Choose one.")))
    assert failed["status"] == "failed"
    assert failed["error"] == {"what": "No such layer.", "todo": "Choose one."}
    assert failed["progress"] is None
