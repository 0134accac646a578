"""Every stage against the processor or warper of transformers that it stands for."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from core.generation.parameters import DEFAULT_ORDER, SamplingParameters, Stage
from core.generation.stages import ABSENT, Stages, is_active

CPU = torch.device("cpu")


def library(row: SamplingParameters) -> LogitsProcessorList:
    """The library's processors for one row, in the row's own order."""
    made: dict[Stage, list[object]] = {stage: [] for stage in Stage}
    if row.repetition_penalty != 1.0:
        made[Stage.PENALTIES].append(RepetitionPenaltyLogitsProcessor(row.repetition_penalty))
    if row.no_repeat_ngram_size:
        made[Stage.PENALTIES].append(NoRepeatNGramLogitsProcessor(row.no_repeat_ngram_size))
    if row.do_sample:
        made[Stage.TEMPERATURE] = [TemperatureLogitsWarper(row.temperature)] if row.temperature != 1.0 else []
        made[Stage.TOP_K] = [TopKLogitsWarper(row.top_k)] if row.top_k else []
        made[Stage.TOP_P] = [TopPLogitsWarper(row.top_p)] if row.top_p < 1 else []
        made[Stage.MIN_P] = [MinPLogitsWarper(row.min_p)]
        made[Stage.TYPICAL] = [TypicalLogitsWarper(row.typical_p)] if row.typical_p < 1 else []
    return LogitsProcessorList([processor for stage in row.order for processor in made[stage]])


def random_row(dice: random.Random, *, shuffled: bool = False) -> SamplingParameters:
    order = list(DEFAULT_ORDER)
    if shuffled:
        dice.shuffle(order)
    return SamplingParameters(
        do_sample=dice.random() < 0.85,
        temperature=dice.choice([1.0, 0.3, 0.7, 1.7, 3.1]),
        top_k=dice.choice([0, 1, 3, 40, 5000]),
        top_p=dice.choice([1.0, 0.05, 0.5, 0.9, 0.95, 0.999]),
        min_p=dice.choice([0.0, 0.02, 0.3, 1.0]),
        typical_p=dice.choice([1.0, 0.2, 0.9]),
        repetition_penalty=dice.choice([1.0, 1.3, 0.8]),
        no_repeat_ngram_size=dice.choice([0, 1, 2, 3, 40]),
        order=tuple(order),
    )


def aligned(sequences: list[list[int]]) -> Tensor:
    """Ids of different lengths, aligned to the right."""
    longest = max(map(len, sequences))
    return torch.tensor([[ABSENT] * (longest - len(ids)) + ids for ids in sequences])


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("vocabulary", [30, 700])
def test_many_rows_at_once_equal_the_library_row_by_row(vocabulary: int, shuffled: bool) -> None:
    dice = random.Random(vocabulary + shuffled)
    draw = torch.Generator().manual_seed(vocabulary)
    for _ in range(30):
        rows = [random_row(dice, shuffled=shuffled) for _ in range(dice.randint(1, 9))]
        scale = torch.tensor([[dice.choice([0.5, 3.0, 9.0])] for _ in rows])
        raw = torch.randn(len(rows), vocabulary, generator=draw) * scale
        sequences = [[dice.randrange(12) for _ in range(dice.randint(1, 20))] for _ in rows]
        scores = Stages(rows, CPU)(raw, aligned(sequences))
        for i, (row, ids) in enumerate(zip(rows, sequences, strict=True)):
            expected = library(row)(torch.tensor([ids]), raw[i : i + 1].clone())
            assert torch.equal(scores[i : i + 1], expected), row


def test_the_default_order_is_the_librarys() -> None:
    from transformers import GenerationConfig

    from tests.fakes_generation import llama

    model = llama()
    settings = GenerationConfig(
        do_sample=True,
        repetition_penalty=1.2,
        no_repeat_ngram_size=2,
        temperature=0.7,
        top_k=20,
        top_p=0.9,
        min_p=0.05,
        typical_p=0.9,
    )
    ours = library(
        SamplingParameters(
            do_sample=True,
            repetition_penalty=1.2,
            no_repeat_ngram_size=2,
            temperature=0.7,
            top_k=20,
            top_p=0.9,
            min_p=0.05,
            typical_p=0.9,
        )
    )
    theirs = model._get_logits_processor(settings, input_ids_seq_length=3)
    assert [type(processor) for processor in theirs] == [type(processor) for processor in ours]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.999999])
def test_ties_at_the_nucleus_border_are_cut_as_the_library_cuts_them(p: float) -> None:
    row = SamplingParameters(do_sample=True, top_p=p)
    coarse = (torch.randn(6, 500, generator=torch.Generator().manual_seed(3)) * 2).round() / 2
    scores = Stages([row] * 6, CPU)(coarse, torch.zeros(6, 1, dtype=torch.long))
    expected = library(row)(torch.zeros(6, 1, dtype=torch.long), coarse.clone())
    assert torch.equal(scores, expected)


def test_a_neutral_row_and_a_greedy_row_are_left_alone() -> None:
    raw = torch.randn(2, 50)
    greedy = SamplingParameters(temperature=0.1, top_k=1, top_p=0.1, min_p=0.9, typical_p=0.1)
    neutral = SamplingParameters(do_sample=True)
    assert not any(is_active(stage, row) for stage in Stage for row in (greedy, neutral))
    assert Stages([greedy, neutral], CPU)(raw, torch.zeros(2, 3, dtype=torch.long)) is raw


def test_the_given_logits_are_not_changed() -> None:
    raw = torch.randn(3, 400)
    before = raw.clone()
    row = SamplingParameters(
        do_sample=True, temperature=2, top_k=9, top_p=0.5, min_p=0.1, typical_p=0.5, repetition_penalty=2
    )
    Stages([row, SamplingParameters(), row], CPU)(raw, torch.zeros(3, 3, dtype=torch.long))
    assert torch.equal(raw, before)
