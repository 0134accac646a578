import json
import pickle

import pytest
from pydantic import ValidationError

from core import events
from core.events import (
    Artifact,
    Candidate,
    Done,
    Event,
    Failed,
    Metric,
    Progress,
    Step,
    Table,
    Token,
    dump,
    is_last,
    parse,
)

EACH: list[Event] = [
    Token(
        column=1,
        index=2,
        id=262,
        text=" wäs",
        piece="Ġwäs",
        logprob=-0.3,
        rank=2,
        entropy=1.25,
        top=(Candidate(id=1, text="<b>${x}</b>", p=0.5), Candidate(id=2, text="\n", p=0.25)),
        forced=True,
    ),
    Step(name="beam", index=3, column=0, values={"nodes": [{"n": 1, "parent": None, "t": " a"}], "best": [1]}),
    Metric(name="perplexity", value=1.5, unit="", column=2),
    Metric(name="same", value=True),
    Metric(name="count", value=3),
    Metric(name="finish", value="eos"),
    Metric(name="rate", value=None),
    Progress(done=1, total=None, unit="steps", note="reading", seconds_left=2.5),
    Table(name="parts", columns=("part", "count"), rows=(("mlp", 5), ("norm", 1.5), ("tied", False), (None, "x"))),
    Artifact(name="adapter", path="adapter/model.safetensors", bytes=12),
    events.Warning(text="near tie", column=1),
    Done(reason="stopped", result={"text": "Once", "ids": [1, 2]}),
    Failed(error="BadInput", what="The prompt is empty.", todo="Type something."),
]


@pytest.mark.parametrize("event", EACH, ids=lambda event: event.kind)
def test_survives_a_log_line(event: Event) -> None:
    line = json.dumps({"seq": 7, "at": 0.5, **dump(event)})
    assert parse(json.loads(line)) == event
    assert type(parse(json.loads(line))) is type(event)


@pytest.mark.parametrize("event", EACH, ids=lambda event: event.kind)
def test_survives_pickling(event: Event) -> None:
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - our own


@pytest.mark.parametrize("event", EACH, ids=lambda event: event.kind)
def test_the_kind_comes_first_in_the_text_too(event: Event) -> None:
    assert next(iter(dump(event))) == "kind"
    assert event.model_dump_json().startswith(f'{{"kind":"{event.kind}"')  # what run_log reads a line's head by


def test_every_kind_is_tried_here() -> None:
    kinds = {cls.model_fields["kind"].default for cls in events._Event.__subclasses__() if "kind" in cls.model_fields}
    assert kinds == {event.kind for event in EACH}


def test_numbers_and_truth_values_keep_their_type() -> None:
    for value in (True, 1, 1.0, "1", None):
        back = parse(json.loads(json.dumps(dump(Metric(name="x", value=value)))))
        assert isinstance(back, Metric)
        assert type(back.value) is type(value)


def test_only_done_and_failed_are_last() -> None:
    assert [event.kind for event in EACH if is_last(dump(event))] == ["done", "failed"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_that_json_does_not_have(value: float) -> None:
    with pytest.raises(ValidationError):
        Candidate(id=1, text="a", p=value)
    with pytest.raises(ValidationError):
        Metric(name="x", value=value)
    assert json.loads(Step(name="x", index=0, values={"loss": value}).model_dump_json())["values"] == {"loss": None}


def test_events_are_frozen_and_refuse_unknown_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Done().reason = "stopped"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        parse({"kind": "done", "colour": "red"})
    with pytest.raises(ValidationError, match="tag"):
        parse({"kind": "surprise"})
