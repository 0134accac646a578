"""The Decoding view: events in, the page's model out."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from core.events import Done, Event, Failed, Metric, Progress, Step, Token, dump
from core.events import Warning as Notice
from tabs.decoding.view import empty_model, reduce
from tabs.widgets.view_ops import apply, view_model


def log(*events: Event, every: float = 0.01) -> list[dict[str, Any]]:
    return [{"seq": i, "at": round(i * every, 4), **dump(event)} for i, event in enumerate(events)]


def start(*titles: str) -> Step:
    columns = [{"strategy": title.lower(), "title": title} for title in titles or ("Greedy",)]
    prompt = [{"id": 5, "text": "Once", "piece": "Once"}, {"id": 6, "text": " upon", "piece": "Ġupon"}]
    values = {"prompt": prompt, "columns": columns, "facts": {"name": "story"}}
    return Step(name="start", index=0, values=values)


def token(index: int, column: int = 0, p: float = 0.25, forced: bool = False, token_id: int | None = None) -> Token:
    number = 100 + index if token_id is None else token_id
    return Token(
        column=column, index=index, id=number, text=f" w{number}", piece=f"Ġw{number}", logprob=math.log(p), rank=2,
        entropy=3.14159, forced=forced,
    )  # fmt: skip


def beam(index: int, *nodes: tuple[int, int | None, int, bool]) -> Step:
    listed = [
        {
            "n": n,
            "parent": parent,
            "t": f" w{number}",
            "id": number,
            "logprob": -1.0,
            "score": -0.5,
            "kept": kept,
            "done": False,
        }
        for n, parent, number, kept in nodes
    ]
    return Step(name="beam", column=0, index=index, values={"nodes": listed})


def beam_best(first: int, *ids: int) -> Step:
    tokens = [dump(token(first + i, token_id=number)) for i, number in enumerate(ids)]
    return Step(name="beam_best", column=0, index=0, values={"from": first, "tokens": tokens})


EVERYTHING = log(
    Progress(done=1, total=2, note="Loading the model"),
    start("Beam search", "Sampling"),
    Notice(text="The prompt was shortened."),
    token(0, column=1, forced=True),
    token(1, column=1),
    beam(0, (1, None, 10, True), (2, None, 20, True), (3, None, 30, False)),
    beam_best(0, 10),
    token(2, column=1),
    Notice(text="A near tie.", column=1),
    beam(1, (4, 1, 11, True), (5, 2, 21, True)),
    beam_best(0, 20, 21),
    Step(name="draft", column=1, index=0, values={"proposed": 5, "accepted": 3}),
    Step(name="waiting", index=0, values={"on": True}),
    Step(name="waiting", index=0, values={"on": False}),
    beam(2, (6, 5, 22, True)),
    beam_best(2, 22),
    beam_best(1, 11),
    Metric(name="perplexity", value=1.94, column=0),
    Metric(name="perplexity", value=2.04, column=0),
    Metric(name="load", value=1.5, unit="s"),
    Step(name="check", column=1, index=0, values={"same": True, "text": "3 of 3 ids equal"}),
    Step(name="column", column=0, index=0, values={"state": "done", "finish": "eos"}),
    Done(),
)


def view(records: list[dict[str, Any]]) -> dict[str, Any]:
    return view_model(reduce, records)


@pytest.mark.parametrize("cuts", [(0,), (1, 2, 9), (5,), tuple(range(len(EVERYTHING)))])
def test_a_log_folded_in_any_chunks_gives_one_view(cuts: tuple[int, ...]) -> None:
    sender: dict[str, Any] = {}
    browser: dict[str, Any] = {}
    for begin, end in zip((0, *cuts), (*cuts, len(EVERYTHING)), strict=True):
        message: list[Any] = []
        for record in EVERYTHING[begin:end]:
            ops = reduce(sender, record)
            message += json.loads(json.dumps(ops))  # as it travels
            sender = apply(sender, ops)
        browser = apply(browser, message)
    assert browser == sender == view(EVERYTHING)


def test_reduce_alters_neither_the_model_nor_the_record() -> None:
    model: dict[str, Any] = {}
    for record in EVERYTHING:
        before = json.dumps([model, record])
        ops = reduce(model, record)
        assert json.dumps([model, record]) == before
        model = apply(model, json.loads(json.dumps(ops)))


def test_nothing_yet_is_the_empty_model_and_a_first_record_makes_it_run() -> None:
    assert view([]) == {}
    model = view(log(Progress(done=1, total=4, unit="MB", note="Loading", seconds_left=3.0)))
    assert model == empty_model() | {
        "status": "running",
        "progress": {"done": 1, "total": 4, "unit": "MB", "note": "Loading", "seconds_left": 3.0},
    }


def test_start_names_the_columns_and_the_prompt() -> None:
    model = view(log(Progress(done=0), start("Greedy", "Sampling")))
    assert [c["title"] for c in model["columns"]] == ["Greedy", "Sampling"]
    assert all(c["state"] == "running" and c["tokens"] == [] and c["finish"] is None for c in model["columns"])
    assert model["prompt"][1] == {"i": 1, "id": 6, "t": " upon", "piece": "Ġupon"}
    assert model["facts"] == {"name": "story"}
    assert model["progress"] is None


def test_a_token_shows_probability_and_bits() -> None:
    shown = view(log(start(), token(0, p=0.25)))["columns"][0]["tokens"][0]
    assert shown == {
        "i": 0, "id": 100, "t": " w100", "piece": "Ġw100", "p": 0.25, "s": 2.0, "rank": 2, "h": 3.142, "f": False,
    }  # fmt: skip


def test_a_certain_token_has_no_negative_surprisal() -> None:
    shown = view(log(start(), token(0, p=1.0)))["columns"][0]["tokens"][0]
    assert shown["s"] == 0
    assert not math.copysign(1, shown["s"]) < 0


def test_rate_counts_the_intervals_between_produced_tokens_only() -> None:
    records = log(start(), token(0, forced=True), token(1), token(2), token(3), every=0.1)
    assert view(records[:3])["columns"][0]["rate"] is None
    assert view(records)["columns"][0]["rate"] == 10.0


def test_by_hand_has_no_rate_and_says_when_it_waits() -> None:
    waiting = [Step(name="waiting", index=0, values={"on": on}) for on in (True, False)]
    records = log(start(), waiting[0], waiting[1], token(0), token(1), waiting[0])
    model = view(records)
    assert model["waiting"] is True
    assert model["columns"][0]["rate"] is None
    assert view([*records, {"seq": 6, "at": 1.0, **dump(Done(reason="stopped"))}])["waiting"] is False


def test_a_measured_rate_replaces_the_one_on_the_way() -> None:
    model = view(log(start(), token(0), token(1), Metric(name="rate", value=212.0, unit="tokens/s", column=0)))
    assert model["columns"][0]["rate"] == 212.0
    assert model["columns"][0]["metrics"] == []


def test_metrics_stand_once_each_in_their_column_or_for_the_run() -> None:
    model = view(EVERYTHING)
    assert model["columns"][0]["metrics"] == [{"name": "perplexity", "value": 2.04, "unit": ""}]
    assert model["metrics"] == [{"name": "load", "value": 1.5, "unit": "s"}]


def test_a_beam_replaces_the_flow_and_marks_the_path_of_the_best() -> None:
    column = view(EVERYTHING[:11])["columns"][0]
    assert [t["id"] for t in column["tokens"]] == [20, 21]
    assert [t["i"] for t in column["tokens"]] == [0, 1]
    assert column["beam"]["best"] == [2, 5]
    assert [len(step["nodes"]) for step in column["beam"]["steps"]] == [3, 2]


def test_a_shorter_best_hypothesis_shortens_flow_and_path() -> None:
    grown = view(EVERYTHING[:16])["columns"][0]
    assert [t["id"] for t in grown["tokens"]] == [20, 21, 22]
    assert grown["beam"]["best"] == [2, 5, 6]
    records = [*EVERYTHING[:16], *[{**r, "seq": 16, "at": 1.0} for r in log(beam_best(0, 10, 11))]]
    column = view(records)["columns"][0]
    assert [t["id"] for t in column["tokens"]] == [10, 11]
    assert column["beam"]["best"] == [1, 4]


def test_a_path_that_is_not_in_the_tree_marks_nothing() -> None:
    column = view(log(start(), beam(0, (1, None, 10, True)), beam_best(0, 99)))["columns"][0]
    assert column["beam"]["best"] == []
    assert [t["id"] for t in column["tokens"]] == [99]


def test_an_unchanged_beam_sends_nothing_for_the_flow() -> None:
    records = log(start(), beam(0, (1, None, 10, True)), beam_best(0, 10), beam_best(0, 10))
    model = view(records[:3])
    assert reduce(model, records[3]) == []


def test_drafts_check_and_notes_belong_to_their_column() -> None:
    column = view(EVERYTHING)["columns"][1]
    assert column["drafts"] == {"accepted": 3, "proposed": 5}
    assert column["check"] == {"same": True, "text": "3 of 3 ids equal"}
    assert column["note"] == "A near tie."
    assert view(EVERYTHING)["warnings"] == ["The prompt was shortened."]


def test_the_end_closes_what_was_open() -> None:
    model = view(EVERYTHING)
    assert model["status"] == "finished"
    assert model["seconds"] == pytest.approx(0.22)
    assert [(c["state"], c["finish"]) for c in model["columns"]] == [("done", "eos"), ("done", None)]
    stopped = view(log(start(), token(0), Done(reason="stopped")))
    assert stopped["status"] == "stopped"
    assert stopped["columns"][0]["finish"] == "stopped"


def test_a_failure_keeps_what_came_and_says_what_to_do() -> None:
    model = view(log(start(), token(0), Failed(error="OutOfMemory", what="It is full.", todo="Take a smaller model.")))
    assert model["status"] == "failed"
    assert model["error"] == {"what": "It is full.", "todo": "Take a smaller model."}
    assert len(model["columns"][0]["tokens"]) == 1
    assert model["columns"][0]["state"] == "done"
    early = view(log(Failed(error="BadInput", what="The prompt is empty.")))
    assert early["status"] == "failed"
    assert early["columns"] == []


def test_a_kind_that_the_lab_does_not_show_changes_nothing() -> None:
    model = view(log(start()))
    assert reduce(model, {"seq": 1, "at": 1.0, "kind": "artifact", "name": "x", "path": "x", "bytes": 1}) == []
    assert reduce(model, {"seq": 1, "at": 1.0, "kind": "step", "name": "other", "index": 0, "values": {}}) == []
