"""A whole decoding run on tiny models: every strategy, branches, by hand, the check, and what is refused."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from core.errors import BadInput
from core.events import Done, Event, Metric, Step, Token, dump
from core.generation.parameters import Strategy
from core.labs.decoding.history import column_history, microscope_request
from core.labs.decoding.microscope import microscope
from core.labs.decoding.request import DecodingRequest
from core.labs.decoding.run import run
from core.runtime.lanes import Lane
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.runner import RunContext
from tests.fakes_search import loaded

CAUSAL = tuple(s for s in Strategy)


class LendingPool:
    """Lends models by name; counts what is lent out."""

    def __init__(self, **models: LoadedModel) -> None:
        self.models, self.lent = models, 0

    @contextmanager
    def lease(self, spec: ModelSpec, **_: Any) -> Iterator[LoadedModel]:
        self.lent += 1
        try:
            yield self.models[spec.base]
        finally:
            self.lent -= 1


def pool_of(architecture: Any, lane: Lane | None = None) -> LendingPool:
    tiny = loaded(architecture)
    return LendingPool(tiny=tiny if lane is None else dataclasses.replace(tiny, lane=lane))


def request(*strategies: Strategy, **fields: Any) -> DecodingRequest:
    fields = {"model": "tiny", "prompt": "a cat sat", "max_new_tokens": 6, "ignore_eos": True, **fields}
    return DecodingRequest(strategies=strategies, **fields)


def events_of(asked: DecodingRequest, pool: LendingPool, context: RunContext | None = None) -> list[Event]:
    return list(run(asked, pool, context or RunContext("run", "visitor")))  # type: ignore[arg-type]


def steps(events: list[Event], name: str) -> list[Step]:
    return [e for e in events if isinstance(e, Step) and e.name == name]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("chosen", [CAUSAL[:4], CAUSAL[4:8], CAUSAL[8:]])
def test_every_strategy_runs_and_agrees_with_the_library(architecture: str, chosen: tuple[Strategy, ...]) -> None:
    pool = pool_of(architecture)
    events = events_of(request(*chosen, check=True, seed=3), pool)
    done = events[-1]
    assert isinstance(done, Done)
    assert [c["strategy"] for c in done.result["columns"]] == list(chosen)
    assert all(len(c["ids"]) == 6 and c["finish"] == "length" for c in done.result["columns"])
    same = {chosen[s.column or 0]: s.values["same"] for s in steps(events, "check")}
    assert same == {s: None if s is Strategy.CONTRASTIVE else True for s in chosen}
    assert pool.lent == 0


@pytest.mark.parametrize("strategy", [Strategy.GREEDY, Strategy.SAMPLING, Strategy.BEAM])
def test_an_encoder_decoder_decodes_branches_and_agrees_with_the_library(strategy: Strategy) -> None:
    events = events_of(request(strategy, check=True, forced_ids=(70, 71)), pool_of("t5"))
    assert isinstance(events[-1], Done)
    assert events[-1].result["columns"][0]["ids"][:2] == [70, 71]
    assert steps(events, "check")[0].values["same"] is True


def test_a_branch_scores_its_forced_tokens_and_goes_on_from_them() -> None:
    pool = pool_of("llama")
    first = events_of(request(Strategy.GREEDY), pool)[-1]
    assert isinstance(first, Done)
    ids = first.result["columns"][0]["ids"]
    events = events_of(request(Strategy.GREEDY, forced_ids=tuple(ids[:3])), pool)
    forced = [e for e in events if isinstance(e, Token) and e.forced]
    assert [t.id for t in forced] == ids[:3]
    assert all(t.rank == 1 for t in forced)
    last = events[-1]
    assert isinstance(last, Done)
    assert last.result["columns"][0]["ids"][:6] == ids


def test_figures_follow_from_the_tokens() -> None:
    events = events_of(request(Strategy.GREEDY, reference="a cat sat"), pool_of("llama"))
    names = {e.name for e in events if isinstance(e, Metric)}
    assert {"rate", "time to first token", "perplexity", "distinct-2", "BLEU", "ROUGE-L"} <= names


def test_by_hand_nothing_comes_before_it_is_asked_for() -> None:
    lane = Lane("cpu")
    context = RunContext("run", "visitor", by_hand=True)
    seen: list[Event] = []
    grew = threading.Condition()

    def consume() -> None:
        for event in run(request(Strategy.GREEDY, Strategy.BEAM, by_hand=True), pool_of("llama", lane), context):  # type: ignore[arg-type]
            with grew:
                seen.append(event)
                grew.notify_all()

    reader = threading.Thread(target=consume)
    reader.start()

    def waits(count: int) -> bool:
        return len([s for s in steps(seen, "waiting") if s.values["on"]]) == count

    for turn in range(1, 4):
        with grew:
            assert grew.wait_for(lambda turn=turn: waits(turn), timeout=30)
            assert len([e for e in seen if isinstance(e, Token)]) == turn - 1
            assert len(steps(seen, "beam_best")) == turn - 1
        context.advance(1)
    context.advance(None)
    reader.join(timeout=30)
    assert isinstance(seen[-1], Done)
    lane.close()


def test_a_stopped_run_keeps_what_it_has() -> None:
    context = RunContext("run", "visitor", by_hand=True)
    context.advance(2)
    events: list[Event] = []
    for event in run(request(Strategy.GREEDY, by_hand=True), pool_of("llama"), context):  # type: ignore[arg-type]
        events.append(event)
        if len([e for e in events if isinstance(e, Token)]) == 2:
            context.cancel()
    done = events[-1]
    assert isinstance(done, Done)
    assert done.reason == "stopped"
    assert done.result["columns"][0]["finish"] == "stopped"
    assert len(done.result["columns"][0]["ids"]) == 2


@pytest.mark.parametrize(
    ("architecture", "fields", "sentence"),
    [
        ("t5", {"strategies": (Strategy.CONTRASTIVE,)}, "encoder-decoder"),
        ("llama", {"prompt": "x" * 80}, "reads 64 at most"),
        ("llama", {"chat": True}, "no chat template"),
    ],
)
def test_what_cannot_be_decoded_is_refused(architecture: str, fields: dict[str, Any], sentence: str) -> None:
    pool = pool_of(architecture)
    asked = request(*fields.pop("strategies", (Strategy.GREEDY,)), **fields)
    with pytest.raises(BadInput, match=sentence):
        events_of(asked, pool)
    assert pool.lent == 0


def test_an_encoder_is_refused() -> None:
    tiny = loaded("llama")
    pool = LendingPool(tiny=dataclasses.replace(tiny, facts=dataclasses.replace(tiny.facts, kind="encoder")))
    with pytest.raises(BadInput, match="is an encoder"):
        events_of(request(Strategy.GREEDY), pool)


def test_the_microscope_shows_the_chosen_token_with_the_probability_of_the_log() -> None:
    pool = pool_of("llama")
    asked = request(Strategy.SAMPLING, Strategy.BEAM, seed=5)
    records = [dump(event) for event in events_of(asked, pool)]
    for column in (0, 1):
        token = column_history(records, column).tokens[4]
        view = microscope(microscope_request(asked, records, column, 4), pool, visitor="v")  # type: ignore[arg-type]
        chosen = next(row for row in view["rows"] if row["chosen"])
        assert chosen["id"] == token["id"]
        assert chosen["p"][0] == pytest.approx(2.718281828 ** token["logprob"], rel=1e-4)
        assert view["stages"][0]["name"] == "raw"
        assert len(chosen["p"]) == len(view["stages"])
