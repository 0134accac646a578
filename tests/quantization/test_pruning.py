"""Pruning: which weights stay, counted by hand and against torch's own pruning."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from core.quantization.pruning import prune_channels, prune_magnitude, prune_n_of_m


def weight(outputs: int = 12, inputs: int = 20) -> Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(3))


def linear(of: Tensor) -> nn.Linear:
    layer = nn.Linear(of.shape[1], of.shape[0])
    layer.weight = nn.Parameter(of.clone())
    return layer


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.95])
def test_magnitude_is_that_of_torch(sparsity: float) -> None:
    original = weight()
    found = prune_magnitude(original, sparsity)
    theirs = prune.l1_unstructured(linear(original), "weight", amount=sparsity).weight.detach()
    assert found.weight.equal(theirs)
    zeros = round(sparsity * 240)
    assert int((found.weight == 0).sum()) == zeros
    assert found.bits == pytest.approx(16 * (1 - zeros / 240) + (zeros > 0))


def test_of_equals_as_many_go_as_were_asked_for() -> None:
    found = prune_magnitude(torch.ones(4, 5), 0.25)
    assert found.weight.reshape(-1).tolist() == [1.0] * 15 + [0.0] * 5


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.9])
def test_channels_are_those_that_torch_takes(sparsity: float) -> None:
    original = weight()
    found = prune_channels(original, sparsity)
    theirs = prune.ln_structured(linear(original), "weight", amount=sparsity, n=1, dim=0).weight.detach()
    assert found.weight.equal(theirs)
    gone = found.weight.abs().sum(1) == 0
    assert int(gone.sum()) == round(sparsity * 12)
    assert found.weight[~gone].equal(original[~gone])


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (4, 4), (1, 2)])
def test_n_of_every_m_stay(n: int, m: int) -> None:
    original = weight(12, 32)
    found = prune_n_of_m(original, n, m, width=16)
    groups, kept = original.reshape(-1, m), found.weight.reshape(-1, m)
    assert ((kept != 0).sum(1) == n).all()
    for before, after in zip(groups, kept, strict=True):
        assert sorted(after[after != 0].abs().tolist()) == sorted(before.abs().tolist())[m - n :]
    places = {4: 2, 8: 3, 2: 1}[m] if n < m else 0
    assert found.bits == pytest.approx(n / m * (16 + places))


def test_a_row_that_m_does_not_divide_keeps_n_of_its_rest() -> None:
    original = weight(5, 10)  # groups of 4, 4 and 2
    found = prune_n_of_m(original, 1, 4)
    counts = [(found.weight[:, begin : begin + 4] != 0).sum(1).tolist() for begin in (0, 4, 8)]
    assert counts == [[1] * 5] * 3
    assert prune_n_of_m(original, 2, 16).weight.count_nonzero() == 10
    with pytest.raises(ValueError, match="5 of 4"):
        prune_n_of_m(original, 5, 4)
