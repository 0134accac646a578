"""KL divergence, top-1 agreement and perplexity against sums written out by hand in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from core.measure.agreement import Agreement, Reference

VOCABULARY = 11
Passages = list[tuple[Tensor, Tensor]]


def passages(seed: int, *lengths: int) -> Passages:
    made = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(n, VOCABULARY, generator=made) * 3, torch.randint(VOCABULARY, (n,), generator=made))
        for n in lengths
    ]


def compared(before: Passages, after: Passages, most_bytes: int = 10**6) -> tuple[Reference, Agreement]:
    reference = Reference(most_bytes)
    for logits, targets in before:
        reference.add(logits, targets)
    agreement = Agreement(reference)
    for (logits, _), (_, targets) in zip(after, before, strict=True):
        agreement.add(logits, targets)
    return reference, agreement


def by_hand(before: Passages, after: Passages, positions: int) -> dict[str, float]:
    """Every sum in Python's own numbers."""

    def probabilities(row: Tensor) -> list[float]:
        raised = [math.exp(x) for x in row.tolist()]
        return [x / sum(raised) for x in raised]

    nats: list[float] = []
    divergences: list[float] = []
    same: list[bool] = []
    for (one, targets), (two, _) in zip(before, after, strict=True):
        for i, token in enumerate(targets.tolist()):
            p, q = probabilities(one[i]), probabilities(two[i])
            nats.append(-math.log(q[token]))
            divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
            same.append(p.index(max(p)) == q.index(max(q)))
    return {
        "perplexity": math.exp(sum(nats) / len(nats)),
        "kl": sum(divergences[:positions]) / positions,
        "top1": sum(same[:positions]) / positions,
    }


def test_against_sums_by_hand() -> None:
    before, after = passages(1, 7, 30, 1), passages(2, 7, 30, 1)
    reference, agreement = compared(before, after)
    expected = by_hand(before, after, 38)
    assert reference.positions == reference.tokens == agreement.tokens == 38
    assert agreement.perplexity == pytest.approx(expected["perplexity"], rel=1e-5)
    assert agreement.kl == pytest.approx(expected["kl"], rel=1e-4)
    assert agreement.top1 == pytest.approx(expected["top1"])
    assert 0 < agreement.top1 < 1


def test_a_model_is_at_no_distance_from_itself() -> None:
    before = passages(3, 20, 20)
    reference, agreement = compared(before, before)
    assert agreement.kl == 0.0
    assert agreement.top1 == 1.0
    assert agreement.perplexity == pytest.approx(reference.perplexity)


def test_what_is_kept_is_bounded_and_perplexity_is_over_all() -> None:
    before, after = passages(4, 10, 10, 10), passages(5, 10, 10, 10)
    reference, agreement = compared(before, after, most_bytes=13 * 4 * VOCABULARY)
    expected = by_hand(before, after, 13)
    assert reference.positions == 13
    assert [len(logs) for logs in reference.kept] == [10, 3, 0]
    assert sum(logs.untyped_storage().nbytes() for logs in reference.kept) == 13 * 4 * VOCABULARY
    assert agreement.tokens == 30
    assert agreement.perplexity == pytest.approx(expected["perplexity"], rel=1e-5)
    assert agreement.kl == pytest.approx(expected["kl"], rel=1e-4)
    assert agreement.top1 == pytest.approx(expected["top1"])


def test_one_position_is_kept_whatever_the_room() -> None:
    reference, agreement = compared(passages(6, 5), passages(7, 5), most_bytes=0)
    assert reference.positions == 1
    assert agreement.kl > 0


def test_sixteen_bits_are_read_as_floats() -> None:
    before = passages(8, 12)
    after = [(logits.bfloat16(), targets) for logits, targets in before]
    _, agreement = compared(before, after)
    expected = by_hand(before, [(logits.float(), targets) for logits, targets in after], 12)
    assert agreement.kl == pytest.approx(expected["kl"], rel=0.02)  # in float32 a difference this small is rounded


def test_a_perplexity_beyond_all_numbers_is_none() -> None:
    logits = torch.zeros(1, VOCABULARY)
    logits[0, 0] = 1e6
    reference, agreement = compared([(logits, torch.tensor([1]))], [(logits, torch.tensor([1]))])
    assert reference.perplexity is None
    assert agreement.perplexity is None
