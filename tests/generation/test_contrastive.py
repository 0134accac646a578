"""Contrastive search against a plain loop that reads the whole text again for every candidate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
import torch
from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from core.errors import BadInput
from core.generation.contrastive import ContrastiveReading, contrastive_search
from core.generation.engine import generate
from core.generation.parameters import SamplingParameters, StopConditions
from core.runtime.loading import LoadedModel
from tests.fakes_search import Architecture, loaded

PROMPT = [10, 20, 30, 20, 10]


def search(
    model: LoadedModel, alpha: float = 0.6, k: int = 4, parameters: SamplingParameters | None = None, **stop: Any
) -> list[ContrastiveReading]:
    return list(
        contrastive_search(
            model,
            PROMPT,
            parameters or SamplingParameters(),
            StopConditions(**{"max_new_tokens": 12, "ignore_eos": True, **stop}),
            penalty_alpha=alpha,
            top_k=k,
        )
    )


def plain_loop(model: Any, prompt: Sequence[int], alpha: float, k: int, penalties: LogitsProcessorList, n: int) -> Any:
    """Su et al. 2022, equation 2, as it is written; yields the ids and each step's (id, p, similarity) rows."""
    ids, steps = list(prompt), []
    for _ in range(n):
        out = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
        chances = penalties(torch.tensor([ids]), out.logits[:, -1]).softmax(-1)[0]
        rows = []
        for candidate in chances.argsort(descending=True)[:k].tolist():
            again = model(torch.tensor([[*ids, candidate]]), output_hidden_states=True, use_cache=False)
            *before, own = again.hidden_states[-1][0]
            similarity = max(float(torch.cosine_similarity(own, state, dim=0)) for state in before)
            rows.append((candidate, float(chances[candidate]), similarity))
        steps.append(rows)
        ids.append(max(rows, key=lambda row: (1 - alpha) * row[1] - alpha * row[2])[0])
    return ids[len(prompt) :], steps


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize(
    ("alpha", "k", "penalty", "ngram"), [(0.6, 4, 1.0, 0), (0.3, 6, 1.2, 0), (1.0, 3, 1.0, 2), (0.5, 2, 0.8, 3)]
)
def test_the_same_as_a_plain_loop(architecture: Architecture, alpha: float, k: int, penalty: float, ngram: int) -> None:
    model = loaded(architecture, seed=k)
    parameters = SamplingParameters(repetition_penalty=penalty, no_repeat_ngram_size=ngram)
    readings = search(model, alpha, k, parameters)
    penalties = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1.0 else [])
    if ngram:
        penalties.append(NoRepeatNGramLogitsProcessor(ngram))
    ids, steps = plain_loop(model.model, PROMPT, alpha, k, penalties, 12)
    assert [reading.id for reading in readings] == ids
    for reading, rows in zip(readings, steps, strict=True):
        found = [(c.id, c.p, c.similarity) for c in reading.candidates]
        assert [row[0] for row in found] == [row[0] for row in rows]
        assert [row[1:] for row in found] == [pytest.approx(row[1:], abs=1e-4) for row in rows]
        best = max(reading.candidates, key=lambda c: c.score)
        assert reading.id == best.id
        assert best.score == pytest.approx((1 - alpha) * best.p - alpha * best.similarity, abs=1e-6)


def test_without_a_penalty_it_is_greedy_search() -> None:
    model = loaded("llama", seed=3)
    stop = StopConditions(max_new_tokens=12, ignore_eos=True)
    greedy = generate(model, PROMPT, SamplingParameters(), stop, visitor="", cancelled=lambda: False)
    readings = search(model, alpha=0.0)
    assert [(r.index, r.id, r.rank, r.finished) for r in readings] == [
        (r.index, r.id, r.rank, r.finished) for r in greedy
    ]
    assert [r.index for r in readings] == list(range(12))


def test_readings_are_of_the_raw_model() -> None:
    model = loaded("gpt2", seed=4)
    readings = search(model, parameters=SamplingParameters(repetition_penalty=1.6))
    ids = [*PROMPT, *(reading.id for reading in readings)]
    logprobs = model.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    for place, reading in enumerate(readings, start=len(PROMPT) - 1):
        assert reading.logprob == pytest.approx(float(logprobs[place, reading.id]), abs=1e-3)


def test_it_ends_with_an_end_token_a_stop_string_or_the_context() -> None:
    model = loaded("llama", seed=5, context=11)
    ids = [reading.id for reading in search(model, max_new_tokens=50)]
    assert len(ids) == 11 - len(PROMPT)
    first_new = next(place for place in range(1, len(ids)) if ids[place] not in ids[:place])
    model.model.generation_config.eos_token_id = ids[first_new]
    ended = search(model, ignore_eos=False)
    assert [reading.id for reading in ended] == ids[: first_new + 1]
    assert [reading.finished for reading in ended] == [None] * first_new + ["eos"]
    stop = next(i for i in ids if len(model.tokenizer.decode([i])) == 1 and model.tokenizer.decode([i]) != "\ufffd")
    stopped = search(model, stop_strings=(model.tokenizer.decode([stop]),))
    assert [reading.id for reading in stopped] == ids[: ids.index(stop) + 1]
    assert stopped[-1].finished == "stop"


def test_each_step_is_one_slice_and_cancelling_ends_it() -> None:
    model = loaded("llama")
    slices = count()
    call = model.lane.call

    def counted(fn: Any, **options: Any) -> Any:
        next(slices)
        assert options["visitor"] == "anna"
        return call(fn, **options)

    model.lane.call = counted  # type: ignore[method-assign]
    asked = count()
    stop = StopConditions(max_new_tokens=9, ignore_eos=True)
    found = list(
        contrastive_search(
            model, PROMPT, SamplingParameters(), stop, penalty_alpha=0.6, top_k=3, visitor="anna",
            cancelled=lambda: next(asked) == 4,
        )
    )  # fmt: skip
    assert len(found) == next(slices) == 4
    assert all(reading.finished is None for reading in found)


def test_an_encoder_decoder_is_refused_at_once() -> None:
    with pytest.raises(BadInput, match="causal"):
        contrastive_search(loaded("t5"), PROMPT, SamplingParameters(), StopConditions(), penalty_alpha=0.6, top_k=4)
