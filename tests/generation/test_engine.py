"""The engine against ``model.generate`` on tiny random models: alone, beside others, and when things go wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from core.errors import BadInput, Stopped
from core.generation import batching
from core.generation.engine import TokenReading, generate, read_tokens
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.slots import can_share
from core.runtime.lanes import Lane
from core.runtime.loading import LoadedModel
from tests.fakes_generation import CONTEXT, byte_level_tokenizer, gpt2, llama, loaded, sliding_mistral, t5

PROMPT = (5, 9, 200, 31, 7, 7, 12, 90, 44, 3, 8, 61)
SETTINGS = [
    SamplingParameters(),
    SamplingParameters(repetition_penalty=1.4),
    SamplingParameters(no_repeat_ngram_size=2),
    SamplingParameters(do_sample=True, seed=1),
    SamplingParameters(do_sample=True, seed=2, temperature=0.6, top_k=20),
    SamplingParameters(do_sample=True, seed=3, temperature=1.6, top_p=0.85),
    SamplingParameters(do_sample=True, seed=4, min_p=0.1),
    SamplingParameters(do_sample=True, seed=5, typical_p=0.7, no_repeat_ngram_size=3),
    SamplingParameters(do_sample=True, seed=2**40, temperature=0.8, top_k=50, top_p=0.9, repetition_penalty=1.1),
]
CAUSAL = [llama, gpt2]


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("cpu")
    yield lane
    lane.close()


def library(
    model: Any, prompt: Sequence[int], row: SamplingParameters, stop: StopConditions, tokenizer: Any = None
) -> list[int]:
    settings: dict[str, Any] = {
        "max_new_tokens": stop.max_new_tokens,
        "do_sample": row.do_sample,
        "repetition_penalty": row.repetition_penalty,
        "no_repeat_ngram_size": row.no_repeat_ngram_size,
        "pad_token_id": 0,
        "decoder_start_token_id": model.generation_config.decoder_start_token_id,
        "eos_token_id": model.generation_config.eos_token_id,
    }
    if row.do_sample:
        names = ("temperature", "top_k", "top_p", "min_p", "typical_p")
        settings |= {name: getattr(row, name) for name in names}
    if stop.stop_strings:
        settings["stop_strings"] = list(stop.stop_strings)
    ids = torch.tensor([list(prompt)])
    torch.manual_seed(row.seed)
    with pytest.MonkeyPatch.context() as patch:
        if stop.ignore_eos:  # a missing end token would be filled in from the model's own settings
            settings["eos_token_id"] = None
            patch.setattr(model.generation_config, "eos_token_id", None)
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=GenerationConfig(**settings),
            **({"tokenizer": tokenizer} if stop.stop_strings else {}),
        )
    ids_only: list[int] = output[0, 1 if model.config.is_encoder_decoder else len(prompt) :].tolist()
    return ids_only


def ours(
    lent: LoadedModel, prompt: Sequence[int], row: SamplingParameters, stop: StopConditions, visitor: str = "ann"
) -> list[TokenReading]:
    return list(generate(lent, prompt, row, stop, visitor=visitor, cancelled=lambda: False))


def ids_of(readings: Sequence[TokenReading]) -> list[int]:
    return [reading.id for reading in readings]


@pytest.mark.parametrize("make", [*CAUSAL, sliding_mistral, t5], ids=lambda make: make.__name__)
@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: f"seed{row.seed}")
def test_alone_the_ids_are_those_of_generate(make: Any, row: SamplingParameters) -> None:
    model = make()
    for stop in (StopConditions(max_new_tokens=12), StopConditions(max_new_tokens=24, ignore_eos=True)):
        assert ids_of(ours(loaded(model), PROMPT, row, stop)) == library(model, PROMPT, row, stop)


def test_only_models_with_plain_layers_share_a_pass() -> None:
    assert [can_share(make()) for make in (llama, gpt2, sliding_mistral, t5)] == [True, True, False, False]


def test_a_long_rope_goes_through_the_library_and_agrees() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = llama(rope_parameters=rope, max_position_embeddings=24)
    stop = StopConditions(max_new_tokens=30, ignore_eos=True)
    assert ids_of(ours(loaded(model), PROMPT, SETTINGS[4], stop)) == library(model, PROMPT, SETTINGS[4], stop)


@pytest.mark.parametrize("make", [*CAUSAL, t5], ids=lambda make: make.__name__)
def test_stop_strings_end_where_the_library_ends(make: Any) -> None:
    model, tokenizer = make(), byte_level_tokenizer()
    lent = loaded(model, tokenizer)
    row = SamplingParameters(do_sample=True, seed=9)
    free = ids_of(ours(lent, PROMPT, row, StopConditions(max_new_tokens=40, ignore_eos=True)))
    across_a_border = tokenizer.decode(free[10:12])[-2:]
    stop = StopConditions(max_new_tokens=40, ignore_eos=True, stop_strings=(across_a_border, "never there"))
    readings = ours(lent, PROMPT, row, stop)
    assert ids_of(readings) == library(model, PROMPT, row, stop, tokenizer)
    assert readings[-1].finished == "stop"
    assert len(readings) <= 12


def test_why_a_row_ended() -> None:
    model = llama()
    first = ids_of(ours(loaded(model), PROMPT, SETTINGS[0], StopConditions(max_new_tokens=3)))[2]
    model.generation_config.eos_token_id = [first, 3]
    readings = ours(loaded(model), PROMPT, SETTINGS[0], StopConditions(max_new_tokens=9))
    assert [r.finished for r in readings][-1] == "eos"
    assert readings[-1].id == first
    readings = ours(loaded(model), PROMPT, SETTINGS[0], StopConditions(max_new_tokens=500, ignore_eos=True))
    assert readings[-1].finished == "length"
    assert len(readings) == CONTEXT - len(PROMPT)
    assert [r.index for r in readings] == list(range(len(readings)))
    assert all(r.finished is None for r in readings[:-1])


@pytest.mark.parametrize("make", [llama, t5])
def test_a_prompt_without_room_is_refused_before_anything_runs(make: Any) -> None:
    lent = loaded(make())
    with pytest.raises(BadInput, match="97 tokens; this model reads 96"):
        generate(lent, [3] * 97, SETTINGS[0], StopConditions(), visitor="ann", cancelled=lambda: False)
    with pytest.raises(BadInput, match="no tokens"):
        generate(lent, [], SETTINGS[0], StopConditions(), visitor="ann", cancelled=lambda: False)


def test_readings_are_of_the_raw_model() -> None:
    model = llama()
    row = SamplingParameters(do_sample=True, seed=6, temperature=2.0, top_k=5, repetition_penalty=1.5)
    readings = ours(loaded(model), PROMPT, row, StopConditions(max_new_tokens=12, ignore_eos=True))
    ids = torch.tensor([[*PROMPT, *ids_of(readings)]])
    raw = model(ids).logits.detach()[0, len(PROMPT) - 1 : -1].double()
    for reading, logprobs in zip(readings, raw.log_softmax(-1), strict=True):
        assert reading.logprob == pytest.approx(float(logprobs[reading.id]), abs=1e-4)
        assert reading.rank == int((logprobs > logprobs[reading.id]).sum()) + 1
        entropy = torch.distributions.Categorical(logits=logprobs).entropy() / torch.log(torch.tensor(2.0))
        assert reading.entropy == pytest.approx(float(entropy), abs=1e-3)
        best = logprobs.topk(10)
        assert [i for i, _ in reading.top] == best.indices.tolist()
        assert [p for _, p in reading.top] == pytest.approx(best.values.exp().tolist(), abs=1e-5)
    again = read_tokens(raw.float(), ids_of(readings))
    assert [r.rank for r in again] == [r.rank for r in readings]


def test_entropy_is_a_number_where_tokens_are_impossible() -> None:
    raw = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]])
    assert read_tokens(raw, [1])[0].entropy == pytest.approx(1.0)


@pytest.mark.parametrize("make", CAUSAL, ids=lambda make: make.__name__)
def test_many_rows_at_once_get_the_ids_they_get_alone(make: Any, lane: Lane) -> None:
    model = make()
    lent = loaded(model, lane=lane)
    dealt = [
        (PROMPT[: 1 + i % len(PROMPT)], SETTINGS[i % len(SETTINGS)], StopConditions(max_new_tokens=8 + 5 * (i % 8)))
        for i in range(40)
    ]
    with ThreadPoolExecutor(40) as threads:
        together = list(threads.map(lambda deal: ids_of(ours(lent, *deal)), dealt))
    assert together == [library(model, *deal) for deal in dealt]
    assert not batching._batches


def test_rows_that_come_and_go_do_not_disturb_a_long_one(lane: Lane) -> None:
    model = llama()
    lent = loaded(model, lane=lane)
    stop = StopConditions(max_new_tokens=70, ignore_eos=True)
    long = generate(lent, PROMPT[:4], SETTINGS[4], stop, visitor="ann", cancelled=lambda: False)
    ids = [next(long).id]
    for row in SETTINGS:
        ours(lent, PROMPT * 3, row, StopConditions(max_new_tokens=5), visitor="bob")
    ids += ids_of(list(long))
    assert ids == library(model, PROMPT[:4], SETTINGS[4], stop)


class _Held:
    """A lane whose works are stepped by the test."""

    def __init__(self) -> None:
        self.works: list[Any] = []

    def submit(self, work: Any) -> None:
        self.works.append(work)

    def step(self) -> None:
        self.works = [work for work in self.works if work.step()]


def _start(readings: Iterator[TokenReading]) -> tuple[list[TokenReading], threading.Thread]:
    got: list[TokenReading] = []
    thread = threading.Thread(target=lambda: got.extend(readings), daemon=True)
    thread.start()
    return got, thread


@pytest.mark.parametrize("make", [llama, t5])
def test_a_cancelled_row_takes_no_further_step(make: Any) -> None:
    held = _Held()
    lent = loaded(make())
    lent.lane = held  # type: ignore[assignment]
    cancelled = threading.Event()
    stop = StopConditions(max_new_tokens=80, ignore_eos=True)
    readings = generate(lent, PROMPT, SETTINGS[3], stop, visitor="ann", cancelled=cancelled.is_set)
    submitted = threading.Event()
    held.submit = lambda work: (held.works.append(work), submitted.set())  # type: ignore[method-assign,assignment]
    got, thread = _start(readings)
    assert submitted.wait(10)
    held.step()
    held.step()
    cancelled.set()
    held.step()
    assert held.works == []
    thread.join(10)
    assert not thread.is_alive()
    assert len(got) <= 2
    assert not batching._batches


def test_a_reader_who_leaves_frees_the_row(lane: Lane) -> None:
    lent = loaded(llama(), lane=lane)
    stop = StopConditions(max_new_tokens=80, ignore_eos=True)
    readings = generate(lent, PROMPT, SETTINGS[3], stop, visitor="ann", cancelled=lambda: False)
    next(readings)
    readings.close()  # type: ignore[attr-defined]
    lane.call(lambda: None)
    lane.call(lambda: None)
    assert not batching._batches


def test_one_rows_failure_is_its_own(lane: Lane) -> None:
    model = llama()
    lent = loaded(model, lane=lane)
    asked = threading.Event()

    def breaks() -> bool:
        if threading.current_thread().name.startswith("lane-"):
            asked.set()
            raise RuntimeError("no answer")
        return False

    stop = StopConditions(max_new_tokens=60, ignore_eos=True)
    neighbour = generate(lent, PROMPT, SETTINGS[4], stop, visitor="ann", cancelled=lambda: False)
    ids = [next(neighbour).id]
    with pytest.raises(RuntimeError, match="no answer"):
        list(generate(lent, PROMPT, SETTINGS[3], stop, visitor="bob", cancelled=breaks))
    assert asked.is_set()
    assert ids + ids_of(list(neighbour)) == library(model, PROMPT, SETTINGS[4], stop)


@pytest.mark.parametrize("make", [llama, t5])
def test_a_failing_forward_reaches_every_reader_and_leaves_nothing_behind(make: Any, lane: Lane) -> None:
    model = make()
    lent = loaded(model, lane=lane)
    hook = model.lm_head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("out of order")))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of order"):
            ours(lent, PROMPT, SETTINGS[0], StopConditions())
    assert not batching._batches
    hook.remove()
    stop = StopConditions(max_new_tokens=5)
    assert ids_of(ours(lent, PROMPT, SETTINGS[0], stop)) == library(model, PROMPT, SETTINGS[0], stop)


def test_a_closed_lane_refuses(lane: Lane) -> None:
    lane.close()
    with pytest.raises(Stopped):
        ours(loaded(llama(), lane=lane), PROMPT, SETTINGS[0], StopConditions())
    assert not batching._batches


def test_rows_wait_when_the_batch_is_full(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    lent = loaded(model, lane=lane)
    monkeypatch.setattr(batching, "MAX_ROWS", 3)
    monkeypatch.setattr(batching, "PREFILL_TOKENS", 1)
    stop = StopConditions(max_new_tokens=9, ignore_eos=True)
    with ThreadPoolExecutor(9) as threads:
        got = list(threads.map(lambda row: ids_of(ours(lent, PROMPT, row, stop)), SETTINGS))
    assert got == [library(model, PROMPT, row, stop) for row in SETTINGS]
