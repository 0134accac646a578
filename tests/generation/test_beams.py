"""Beam search against ``generate()``, and a tree that holds together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from core.errors import BadInput
from core.generation.beams import BeamResult, BeamStep, beam_search
from core.generation.engine import generate
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.readings import TokenReading
from core.runtime.loading import LoadedModel
from tests.fakes_search import END, Architecture, loaded

PROMPT = [10, 20, 30, 20, 10]
PAD = END + 1
SETTINGS = [  # num_beams, length_penalty, repetition_penalty, no_repeat_ngram_size
    (1, 1.0, 1.0, 0),
    (2, 1.0, 1.0, 0),
    (4, 0.0, 1.0, 0),
    (4, 1.0, 1.3, 0),
    (3, 2.0, 1.0, 2),
    (5, -1.0, 1.2, 3),
    (4, 0.5, 0.8, 1),
]


def search(
    model: LoadedModel,
    num_beams: int,
    length_penalty: float = 1.0,
    parameters: SamplingParameters | None = None,
    prompt: Sequence[int] = PROMPT,
    **stop: Any,
) -> tuple[list[BeamStep], BeamResult]:
    found = list(
        beam_search(
            model,
            prompt,
            parameters or SamplingParameters(),
            StopConditions(**{"max_new_tokens": 14, **stop}),
            num_beams=num_beams,
            length_penalty=length_penalty,
        )
    )
    steps, result = found[:-1], found[-1]
    assert isinstance(result, BeamResult)
    return [step for step in steps if isinstance(step, BeamStep)], result


def library(model: LoadedModel, prompt: Sequence[int] = PROMPT, **settings: Any) -> Any:
    config = GenerationConfig(
        do_sample=False,
        early_stopping=False,
        pad_token_id=PAD,
        return_dict_in_generate=True,
        output_scores=True,
        **{"max_new_tokens": 14, **settings},
    )
    ids = torch.tensor([list(prompt)])
    return model.model.generate(
        ids, attention_mask=torch.ones_like(ids), generation_config=config, tokenizer=model.tokenizer
    )


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "t5"])
@pytest.mark.parametrize("seed", [0, 1])
def test_all_hypotheses_are_those_of_generate(architecture: Architecture, seed: int) -> None:
    model = loaded(architecture, seed=seed)
    skip = 1 if architecture == "t5" else len(PROMPT)
    likely = search(model, 4, ignore_eos=True)[1].hypotheses[0].ids
    reasons = set()
    for ends in ([likely[6]], [likely[4], likely[9], 7]):
        model.model.generation_config.eos_token_id = ends
        for num_beams, length_penalty, penalty, ngram in SETTINGS:
            parameters = SamplingParameters(repetition_penalty=penalty, no_repeat_ngram_size=ngram)
            _, result = search(model, num_beams, length_penalty, parameters)
            expected = library(
                model,
                num_beams=num_beams,
                num_return_sequences=num_beams,
                length_penalty=length_penalty,
                repetition_penalty=penalty,
                no_repeat_ngram_size=ngram,
                eos_token_id=ends,
            )
            assert len(result.hypotheses) == num_beams
            for sequence, hypothesis in zip(expected.sequences, result.hypotheses, strict=True):
                assert tuple(sequence[skip : skip + len(hypothesis.ids)].tolist()) == hypothesis.ids
                assert (sequence[skip + len(hypothesis.ids) :] == PAD).all()
                reasons.add(hypothesis.finished)
            if num_beams > 1:
                scores = [hypothesis.score for hypothesis in result.hypotheses]
                assert scores == pytest.approx(expected.sequences_scores.tolist(), rel=1e-5)
    assert reasons == {"eos", "length"}


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_stop_strings_end_a_hypothesis_as_in_generate(architecture: Architecture) -> None:
    model = loaded(architecture, seed=2)
    model.model.generation_config.eos_token_id = None
    plain = search(model, 3, ignore_eos=True)[1].hypotheses[0].ids
    readable = [i for i in plain if len(model.tokenizer.decode([i])) == 1 and model.tokenizer.decode([i]) != "\ufffd"]
    stop = model.tokenizer.decode([readable[len(readable) // 2]])
    steps, result = search(model, 3, ignore_eos=True, stop_strings=(stop,))
    expected = library(model, num_beams=3, stop_strings=[stop])
    skip = 1 if architecture == "t5" else len(PROMPT)
    assert expected.sequences[0, skip:].tolist() == [*result.hypotheses[0].ids]
    assert any(node.done for step in steps[:-1] for node in step.nodes)  # the string did end some


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_a_text_that_is_begun_goes_on_from_there(architecture: Architecture) -> None:
    model = loaded(architecture, seed=3)
    whole = search(model, 1, ignore_eos=True)[1].hypotheses[0].ids
    found = beam_search(
        model,
        PROMPT,
        SamplingParameters(),
        StopConditions(max_new_tokens=8, ignore_eos=True),
        num_beams=1,
        prefix_ids=whole[:6],
    )
    *_, result = found
    assert isinstance(result, BeamResult)
    assert result.hypotheses[0].ids == whole[6:]
    assert result.readings[0].index == 0


def test_one_beam_is_greedy_search() -> None:
    model = loaded("llama", seed=1)
    stop = StopConditions(max_new_tokens=10)
    greedy = generate(model, PROMPT, SamplingParameters(), stop, visitor="", cancelled=lambda: False)
    _, result = search(model, 1, max_new_tokens=10)
    assert list(result.readings) == [
        TokenReading(r.index, r.id, pytest.approx(r.logprob, abs=1e-4), r.rank, pytest.approx(r.entropy, abs=1e-4),
                     tuple((i, pytest.approx(p, abs=1e-5)) for i, p in r.top), r.finished)  # type: ignore[arg-type]
        for r in greedy
    ]  # fmt: skip


def test_the_tree_holds_together() -> None:
    model = loaded("gpt2", seed=3)
    steps, result = search(model, 3, ignore_eos=True)
    known: dict[int, Any] = {}
    numbers = count()
    kept_before: set[int | None] = {None}
    for index, step in enumerate(steps):
        assert step.index == index
        assert len(step.nodes) == 6
        scores = [node.score for node in step.nodes]
        assert scores == sorted(scores, reverse=True)
        for node in step.nodes:
            assert node.node == next(numbers)
            assert node.parent in kept_before
            known[node.node] = node
        kept_before = {node.node for node in step.nodes if node.kept}
        last = index == len(steps) - 1
        assert len(kept_before) == (0 if last else 3)
        assert sum(node.done for node in step.nodes) == (3 if last else 0)
    best = result.hypotheses[0]
    assert [known[node].id for node in best.nodes] == [*best.ids]
    total = sum(known[node].logprob for node in best.nodes)
    assert best.score == pytest.approx(total / len(best.ids), rel=1e-5)
    assert [known[node].parent for node in best.nodes] == [None, *best.nodes[:-1]]


@pytest.mark.parametrize("seed", [0, 4])
def test_the_best_hypothesis_can_be_redrawn_at_each_step(seed: int) -> None:
    model = loaded("llama", seed=seed)
    likely = search(model, 4, ignore_eos=True)[1].hypotheses[0].ids
    model.model.generation_config.eos_token_id = [likely[3]]
    steps, result = search(model, 4)
    shown: list[TokenReading] = []
    nodes = {node.node: node for step in steps for node in step.nodes}
    for step in steps:
        shown[step.unchanged :] = step.readings
        assert [reading.id for reading in shown] == [nodes[node].id for node in step.best]
        assert [reading.index for reading in shown] == list(range(len(shown)))
        assert all(reading.finished is None for reading in shown[:-1])
    assert shown == list(result.readings)
    assert tuple(reading.id for reading in shown) == result.hypotheses[0].ids
    assert shown[-1].finished == result.hypotheses[0].finished


def test_readings_are_of_the_raw_model() -> None:
    model = loaded("llama", seed=5)
    parameters = SamplingParameters(repetition_penalty=1.5, no_repeat_ngram_size=2)
    _, result = search(model, 3, parameters=parameters, ignore_eos=True)
    ids = [*PROMPT, *result.hypotheses[0].ids]
    logprobs = model.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    for place, reading in enumerate(result.readings, start=len(PROMPT) - 1):
        row = logprobs[place]
        assert reading.logprob == pytest.approx(float(row[reading.id]), abs=1e-3)
        assert reading.rank == 1 + int((row > row[reading.id] + 1e-4).sum())
        assert [i for i, _ in reading.top] == row.topk(10).indices.tolist()


def test_a_vocabulary_smaller_than_the_candidates() -> None:
    model = loaded("llama", seed=6, vocabulary=5, context=32)
    _, result = search(model, 4, prompt=[0, 1, 2], ignore_eos=True, max_new_tokens=5)
    model.model.generation_config.eos_token_id = None
    expected = library(model, [0, 1, 2], num_beams=4, max_new_tokens=5)
    assert expected.sequences[0, 3:].tolist() == [*result.hypotheses[0].ids]


def test_scores_stay_finite_when_tokens_are_forbidden() -> None:
    model = loaded("llama", seed=6, vocabulary=5, context=32)
    steps, result = search(
        model, 2, parameters=SamplingParameters(no_repeat_ngram_size=1), prompt=[0, 1, 2], ignore_eos=True
    )
    scores = [node.score for step in steps for node in step.nodes] + [h.score for h in result.hypotheses]
    assert all(score > float("-inf") for score in scores)


def test_the_context_ends_a_search() -> None:
    model = loaded("gpt2", seed=1, context=12)
    _, result = search(model, 2, ignore_eos=True, max_new_tokens=50)
    assert len(result.hypotheses[0].ids) == 12 - len(PROMPT)
    assert result.hypotheses[0].finished == "length"
    with pytest.raises(BadInput):
        search(model, 2, prompt=list(range(12)))
    with pytest.raises(BadInput):
        search(model, 2, prompt=[])


def test_cancelling_ends_it_before_the_next_step() -> None:
    model = loaded("llama")
    asked = count()
    found = list(
        beam_search(
            model, PROMPT, SamplingParameters(), StopConditions(), num_beams=2, cancelled=lambda: next(asked) == 3
        )
    )
    assert len(found) == 3
    assert all(isinstance(step, BeamStep) for step in found)
