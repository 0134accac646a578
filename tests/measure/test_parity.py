"""Parity certificates: what passes, what fails and why, in numbers that can be checked by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from core.measure.parity import IGNORED, TOLERANCES, Parity


def logits(rows: int = 4, length: int = 6, size: int = 10) -> Tensor:
    return torch.randn(rows, length, size, generator=torch.Generator().manual_seed(3)) * 4


def compared(before: Tensor, after: Tensor, dtype: str = "float32", metric: str = "perplexity") -> Parity:
    parity = Parity(metric, dtype)  # type: ignore[arg-type]
    labels = torch.arange(before[..., 0].numel()).reshape(before.shape[:-1]) % before.shape[-1]
    parity.add(before, after, labels, torch.ones_like(labels))
    return parity


def test_a_model_agrees_with_itself() -> None:
    certificate = compared(logits(), logits()).certificate("itself")
    assert certificate.passed
    assert (certificate.max_delta, certificate.top1, certificate.metric_change) == (0.0, 1.0, 0.0)
    assert (certificate.rows, certificate.positions) == (4, 24)
    assert certificate.lines()[0] == ("verdict", "itself", "", "pass")


def test_the_numbers_are_those_of_the_definition() -> None:
    before = logits()
    after = before.clone()
    after[1, 2, 3] += 0.25
    certificate = compared(before, after).certificate("one number")
    centred = before - before.mean(-1, keepdim=True)
    assert certificate.max_delta == pytest.approx(0.25, rel=1e-5)
    assert certificate.spread == pytest.approx(float(centred.square().mean().sqrt()), rel=1e-6)
    labels = torch.arange(24) % 10
    nats = float(torch.nn.functional.cross_entropy(before.reshape(24, 10), labels))
    assert certificate.before == pytest.approx(math.exp(nats), rel=1e-5)
    assert not certificate.passed
    assert certificate.faults[0].startswith("a logit differs by")


def test_rounding_passes_and_a_real_fault_does_not() -> None:
    before = logits()
    assert compared(before, before * (1 + 1e-6)).certificate("rounded").passed
    assert not compared(before, before * 1.05).certificate("scaled").passed
    assert compared(before, before.bfloat16(), "bfloat16").certificate("16 bits").passed
    assert not compared(before, before.bfloat16()).certificate("16 bits called float32").passed
    assert not compared(before, before.roll(1, -1), "bfloat16").certificate("shuffled").passed


def test_a_shift_of_all_logits_is_a_difference_that_the_top1_and_the_metric_do_not_see() -> None:
    certificate = compared(logits(), logits() + 5).certificate("shifted")
    assert certificate.top1 == 1.0
    assert certificate.metric_change == pytest.approx(0, abs=1e-5)
    assert certificate.faults == (f"a logit differs by {5 / certificate.spread:.2g} of the spread",)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_not_finite_fails_and_stays_writable(broken: float) -> None:
    after = logits()
    after[0, 0, 0] = broken
    certificate = compared(logits(), after).certificate("broken")
    assert certificate.faults == ("a number is not finite",)
    json.dumps(certificate.plain(), allow_nan=False)


def test_a_broken_batch_is_not_forgotten_when_good_ones_follow() -> None:
    after = logits()
    after[0, 0, 0] = math.nan
    parity = compared(logits(), after)
    labels = torch.zeros(4, 6, dtype=torch.long)
    parity.add(logits(), logits(), labels, torch.ones_like(labels))
    assert not parity.certificate("broken once").passed


def test_padding_and_unscored_positions_do_not_count() -> None:
    before, after = logits(2, 3), logits(2, 3)
    after[0, 2] += 100
    labels = torch.tensor([[1, IGNORED, IGNORED], [2, 3, IGNORED]])
    real = torch.tensor([[1, 1, 0], [1, 1, 1]])
    parity = Parity("perplexity")
    parity.add(before, after, labels, real)
    certificate = parity.certificate("padded")
    assert certificate.passed
    assert certificate.positions == 5
    nothing = Parity("perplexity")
    nothing.add(before, after, labels, torch.zeros_like(real))
    assert nothing.certificate("nothing").faults == ("nothing was compared",)


def test_a_classifiers_metric_is_its_accuracy() -> None:
    before = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 3], [3, 0, 0]])
    after = before.clone()
    after[3] = torch.tensor([0.0, 3, 0])
    parity = Parity("accuracy")
    labels = torch.tensor([0, 1, 2, 0])
    parity.add(before, after, labels, torch.ones(4))
    certificate = parity.certificate("one text changed")
    assert (certificate.before, certificate.after, certificate.top1) == (1.0, 0.75, 0.75)
    assert certificate.metric_change == -0.25
    assert len(certificate.faults) == 3


def test_a_certificate_says_what_it_allows() -> None:
    certificate = replace(compared(logits(), logits()).certificate("x"), tolerance=TOLERANCES["bfloat16"])
    assert certificate.plain()["tolerance"] == {"logit": 0.1, "top1": 0.95, "metric": 0.02}
    assert [line[3] for line in certificate.lines()] == ["pass", "pass", "pass", "pass", ""]
