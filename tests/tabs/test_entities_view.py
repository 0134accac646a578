"""The Entities view: events in, the page's model out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.events import Artifact, Done, Event, Failed, Progress, Step, dump
from core.events import Warning as Notice
from tabs.entities.view import empty_model, reduce
from tabs.widgets.view_ops import apply, view_model


def log(*events: Event) -> list[dict[str, Any]]:
    return [{"seq": i, "at": round(i * 0.01, 4), **dump(event)} for i, event in enumerate(events)]


def step(what: str, index: int = 0, **values: Any) -> Step:
    return Step(name=what, index=index, values=values)


START = step("start", mode="tag", model={"name": "minilm-entities"}, labels=["O", "B-PER"], source="your text", total=1)
ENTITY = {"start": 0, "end": 3, "type": "PER", "score": 0.9, "text": "Ada"}
EVERYTHING = log(
    Progress(done=0, note="Getting the model ready"),
    START,
    Notice(text="one line was read as Windows-1252"),
    step("document", 1, name="b.txt", text="none", entities=[]),
    Progress(done=4, total=9, unit="characters", seconds_left=1.0),
    step("document", 0, name="a.txt", text="Ada <b>", entities=[ENTITY]),
    step("unheard of", x=1),
    step("table", rows=[{"text": "Ada", "type": "PER", "count": 1, "score": 0.9, "documents": 1}], total=1),
    step("graph", nodes=[], edges=[]),
    Artifact(name="entities.json", path="entities.json", bytes=12),
    step("strategies", text="Ada", tokens=[], results=[]),
    step("alignment", 0, tokenizer="WordPiece", rows=[]),
    step("alignment", 1, tokenizer="Unigram", rows=[]),
    step("evaluation", n=3, strict={}, lenient={}),
    step("errors", rows=[], total=0),
    Done(result={"documents": 2}),
)


def test_a_whole_run() -> None:
    model = view_model(reduce, EVERYTHING)
    assert model["status"] == "finished"
    assert model["seconds"] == EVERYTHING[-1]["at"]
    assert model["progress"] is None
    assert model["start"]["source"] == "your text"
    assert model["warnings"] == ["one line was read as Windows-1252"]
    assert [document["index"] for document in model["documents"]] == [1, 0]
    assert model["documents"][1]["entities"] == [ENTITY]
    assert model["table"]["rows"][0]["text"] == "Ada"
    assert model["graph"] == {"nodes": [], "edges": []}
    assert model["files"] == [{"name": "entities.json", "path": "entities.json", "bytes": 12}]
    assert [one["tokenizer"] for one in model["alignments"]] == ["WordPiece", "Unigram"]
    assert model["evaluation"]["n"] == 3
    assert model["errors"] == {"rows": [], "total": 0}
    assert model["result"] == {"documents": 2}
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


def test_waiting_running_stopping_and_failing() -> None:
    assert empty_model()["status"] == "waiting"
    model = view_model(reduce, log(Progress(done=1, total=4, unit="characters", note="Reading", seconds_left=2.5)))
    assert model["status"] == "running"
    assert model["progress"] == {
        "done": 1.0, "total": 4.0, "unit": "characters", "note": "Reading", "seconds_left": 2.5,
    }  # fmt: skip
    assert view_model(reduce, log(START, Done(reason="stopped")))["status"] == "stopped"
    model = view_model(reduce, log(START, Failed(error="BadInput", what="No words.", todo="Write some.")))
    assert model["status"] == "failed"
    assert model["error"] == {"what": "No words.", "todo": "Write some."}
