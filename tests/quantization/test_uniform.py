"""Uniform quantization against a plain loop over ranges, and what it promises about levels, zeros and bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from core.quantization.uniform import quantize_uniform
from core.quantization.weights import as_stored, is_transposed, weight_of


def weight(outputs: int = 6, inputs: int = 20, seed: int = 0) -> Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed)) * 0.02 + 0.005


def rounded(values: np.ndarray, bits: int, symmetric: bool) -> np.ndarray:
    """One range, by the formulas of the papers, in float32 as the method."""
    one = np.float32
    if symmetric:
        most = 2 ** (bits - 1) - 1
        scale = one(np.abs(values).max()) / one(most)
        return np.rint(values / scale).clip(-most, most) * scale
    low, high = min(values.min(), one(0)), max(values.max(), one(0))
    scale = (high - low) / one(2**bits - 1)
    zero = np.rint(-low / scale)
    return (np.rint(values / scale + zero).clip(0, 2**bits - 1) - zero) * scale


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rounds_as_the_papers_say(bits: int, granularity: str, symmetric: bool) -> None:
    original = weight()
    found = quantize_uniform(original, bits, symmetric=symmetric, granularity=granularity, group_size=8)  # type: ignore[arg-type]
    plain = original.numpy()
    if granularity == "tensor":
        pieces, expected = 1, rounded(plain, bits, symmetric)
    elif granularity == "channel":
        pieces, expected = 6, np.stack([rounded(row, bits, symmetric) for row in plain])
    else:  # 20 inputs in groups of 8: the last has 4
        pieces = 18
        rows = [[rounded(row[i : i + 8], bits, symmetric) for i in (0, 8, 16)] for row in plain]
        expected = np.stack([np.concatenate(row) for row in rows])
    np.testing.assert_allclose(found.weight.numpy(), expected, rtol=1e-6, atol=1e-9)
    assert found.bits == pytest.approx(bits + pieces * (32 if symmetric else 32 + bits) / 120)
    assert original.equal(weight())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_levels_are_few_and_zero_is_one_of_them(bits: int) -> None:
    original = weight(1, 5000).abs()  # all on one side: the asymmetric range still holds 0
    original[0, :7] = 0
    for symmetric, most in ((True, 2 ** (bits - 1)), (False, 2**bits)):
        found = quantize_uniform(original, bits, symmetric=symmetric, granularity="tensor")
        assert found.weight.unique().numel() <= most
        assert found.weight[0, :7].abs().max() == 0


def test_error_is_at_most_half_a_step_inside_the_range() -> None:
    original = weight(4, 64)
    found = quantize_uniform(original, 5, symmetric=True, granularity="channel")
    step = original.abs().amax(1, keepdim=True) / 15
    assert bool(((original - found.weight).abs() <= step / 2 * (1 + 1e-5)).all())


def test_smaller_ranges_and_more_bits_lose_less() -> None:
    original = weight(64, 256) * torch.linspace(0.2, 3, 64)[:, None]

    def lost(bits: int, granularity: str) -> float:
        found = quantize_uniform(original, bits, granularity=granularity, group_size=32)  # type: ignore[arg-type]
        return float((found.weight - original).square().mean())

    assert lost(4, "tensor") > lost(4, "channel") > lost(4, "group")
    losses = [lost(bits, "channel") for bits in range(2, 9)]
    assert losses == sorted(losses, reverse=True)


def test_odd_matrices() -> None:
    zeros = torch.zeros(3, 5)
    for granularity in ("tensor", "channel", "group"):
        for symmetric in (True, False):
            found = quantize_uniform(zeros, 4, symmetric=symmetric, granularity=granularity, group_size=512)  # type: ignore[arg-type]
            assert found.weight.equal(zeros)
    with pytest.raises(ValueError, match="9 bits"):
        quantize_uniform(zeros, 9)


def test_transposed_layers_are_turned_both_ways() -> None:
    linear, turned = nn.Linear(3, 5), Conv1D(5, 3)  # both of 3 inputs and 5 outputs
    assert not is_transposed(linear)
    assert is_transposed(turned)
    assert weight_of(linear).shape == weight_of(turned).shape == (5, 3)
    assert as_stored(weight_of(turned), turned).equal(turned.weight)
    assert as_stored(weight_of(linear), linear).equal(linear.weight)
    assert weight_of(turned)[4].equal(turned.weight[:, 4])
    half = nn.Linear(3, 5, dtype=torch.bfloat16)
    assert as_stored(weight_of(half), half).dtype == torch.bfloat16
