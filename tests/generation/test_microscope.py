from __future__ import annotations

import math

import pytest
import torch

from core.generation.microscope import compare_orders, explain, forward_once
from core.generation.parameters import DEFAULT_ORDER, SamplingParameters, Stage
from tests.fakes_generation import VOCABULARY, llama, loaded, t5

PROBABILITIES = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
LOGITS = PROBABILITIES.log()


def test_a_step_is_followed_from_stage_to_stage() -> None:
    row = SamplingParameters(do_sample=True, top_k=4, top_p=0.8, min_p=0.5)
    reading = explain(LOGITS, [2], row, DEFAULT_ORDER, chosen_id=1, n=5)
    assert reading.order == DEFAULT_ORDER
    assert reading.active == (False, False, True, True, True, False)
    assert reading.left == (5, 5, 4, 3, 2, 2)
    assert reading.vocabulary == 5
    assert [c.id for c in reading.candidates] == [0, 1, 2, 3, 4]
    assert [c.cut_by for c in reading.candidates] == [None, None, Stage.MIN_P, Stage.TOP_P, Stage.TOP_K]
    assert reading.candidates[0].after == pytest.approx((0.4, 0.4, 0.4 / 0.95, 0.4 / 0.85, 4 / 7, 4 / 7))
    assert reading.chosen.raw == pytest.approx(0.3)
    assert reading.chosen.final == pytest.approx(3 / 7)
    assert reading.chosen.rank == 2
    assert reading.surprisal == pytest.approx(-math.log2(0.3))
    assert reading.entropy_raw == pytest.approx(float(-(PROBABILITIES * PROBABILITIES.log2()).sum()))
    assert reading.entropy_final == pytest.approx(-(4 / 7) * math.log2(4 / 7) - (3 / 7) * math.log2(3 / 7))


def test_a_chosen_token_outside_the_list_is_added() -> None:
    reading = explain(LOGITS, [], SamplingParameters(do_sample=True), DEFAULT_ORDER, chosen_id=4, n=2)
    assert [c.id for c in reading.candidates] == [0, 1, 4]
    assert reading.chosen.rank == 5


def test_a_greedy_row_has_the_penalties_only() -> None:
    row = SamplingParameters(temperature=0.5, top_k=1, repetition_penalty=2.0, no_repeat_ngram_size=1)
    reading = explain(LOGITS, [0], row, DEFAULT_ORDER, chosen_id=1, n=5)
    assert reading.active == (True, False, False, False, False, False)
    assert reading.candidates[0].cut_by is Stage.PENALTIES
    assert reading.chosen.final == pytest.approx(0.5)


def test_another_order_is_compared() -> None:
    row = SamplingParameters(do_sample=True, temperature=4.0, top_p=0.75)
    late = tuple(sorted(DEFAULT_ORDER, key=lambda stage: stage is Stage.TEMPERATURE))
    changed = compare_orders(LOGITS, [], row, DEFAULT_ORDER, late, n=10)
    assert changed.newly_cut == (3,)  # the flattened distribution needs one more token to reach p
    assert changed.newly_kept == ()
    assert changed.total_variation == pytest.approx(dict(changed.top)[3])
    assert [i for i, _ in changed.other_top] == [0, 1, 2]
    back = compare_orders(LOGITS, [], row, late, DEFAULT_ORDER, n=10)
    assert (back.newly_kept, back.newly_cut) == ((3,), ())
    assert back.total_variation == pytest.approx(changed.total_variation)


def test_the_same_order_changes_nothing() -> None:
    changed = compare_orders(LOGITS, [], SamplingParameters(do_sample=True, top_k=2), DEFAULT_ORDER, DEFAULT_ORDER, 3)
    assert (changed.newly_cut, changed.newly_kept, changed.total_variation) == ((), (), 0.0)
    assert changed.top == changed.other_top


def test_one_forward_pass_gives_the_raw_logits() -> None:
    model = llama()
    logits = forward_once(loaded(model), [4, 9, 30])
    assert logits.shape == (VOCABULARY,)
    torch.testing.assert_close(logits, model(torch.tensor([[4, 9, 30]])).logits[0, -1].detach())


def test_an_encoder_decoder_reads_its_own_prefix() -> None:
    model = t5()
    logits = forward_once(loaded(model), [4, 9, 30], decoder_ids=[7, 8])
    expected = model(input_ids=torch.tensor([[4, 9, 30]]), decoder_input_ids=torch.tensor([[0, 7, 8]])).logits[0, -1]
    torch.testing.assert_close(logits, expected.detach(), rtol=1e-4, atol=1e-4)
