"""The plan of a training: its parts from the shape, and what makes it larger or smaller."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.catalog.known import known_facts
from core.runtime.schemes import scheme_bytes
from core.runtime.training_memory import TrainingDetails, training_plan

SMOL = known_facts("HuggingFaceTB/SmolLM2-360M")
FULL = TrainingDetails(rows=4, context=128)
LORA = replace(FULL, trainable=4_000_000)


def test_adamw_keeps_two_moments_and_a_gradient_for_each_trained_number() -> None:
    for details, trained in ((FULL, SMOL.parameters), (LORA, 4_000_000)):
        plan = training_plan(SMOL, details)
        assert (plan.gradients, plan.optimizer) == (4 * trained, 8 * trained)
        assert plan.total == plan.weights + plan.gradients + plan.optimizer + plan.activations
    assert training_plan(SMOL, LORA).weights == 4 * (SMOL.parameters + 4_000_000)


def test_weights_are_what_their_scheme_stores() -> None:
    assert training_plan(SMOL, replace(LORA, quantization="nf4")).weights == scheme_bytes(SMOL, "nf4") + 16_000_000
    assert training_plan(SMOL, replace(FULL, bytes_per_number=2)).weights == 2 * SMOL.parameters


@pytest.mark.parametrize("name", ["gpt2", "HuggingFaceTB/SmolLM2-135M", "bert-base-uncased"])
def test_activations_grow_with_rows_and_shrink_with_checkpointing(name: str) -> None:
    facts = known_facts(name)
    plans = [training_plan(facts, replace(LORA, rows=rows)) for rows in (1, 2)]
    one, two = (plan.activations + plan.gradients for plan in plans)
    assert two == pytest.approx(2 * one)
    assert training_plan(facts, replace(LORA, rows=2, checkpointing=True)).activations < plans[1].activations


def test_short_rows_of_a_whole_model_peak_at_its_gradients() -> None:
    plan = training_plan(SMOL, replace(FULL, rows=1, context=8))
    assert plan.activations == 4 * SMOL.vocab_size * SMOL.hidden_size


def test_a_heap_keeps_gaps_between_tensors_that_are_not_mapped() -> None:
    small, large = replace(LORA, rows=1, context=64), replace(LORA, rows=8, context=2048)
    on_heap = training_plan(SMOL, replace(small, heap=True)).activations - training_plan(SMOL, small).activations
    assert 0.5 < on_heap / (training_plan(SMOL, small).activations + training_plan(SMOL, small).gradients) < 0.7
    assert training_plan(SMOL, replace(large, heap=True)) == training_plan(SMOL, large)
