"""Uniform quantization: round a weight to evenly spaced levels.

Promises: round to nearest, ties to even; a weight that is 0 stays 0 (the asymmetric range always holds 0, and its zero
point is one of the levels); no level lies further out than the weights that set the scale, to half a step; the bits
that are counted hold a float32 scale for each range and, if asymmetric, a zero point of as many bits as a weight.

Symmetric with b bits: levels -(2^(b-1) - 1) .. 2^(b-1) - 1 times the scale, as LLM.int8's vectors are scaled.
Asymmetric: 2^b levels between the smallest and the largest weight. Ranges are a tensor, an output channel (a row), or
``group_size`` neighbouring inputs of a row; the last group of a row may be shorter.

Sources: Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference
(2018), for the affine scheme; Krishnamoorthi, Quantizing deep convolutional networks (2018), for ranges per channel;
Yao et al., ZeroQuant (2022), for groups.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from core.quantization.weights import SCALE_BITS, Changed

Granularity = Literal["tensor", "channel", "group"]
BITS = range(2, 9)


def quantize_uniform(
    weight: Tensor, bits: int, *, symmetric: bool = True, granularity: Granularity = "channel", group_size: int = 64
) -> Changed:
    """``weight`` (out, in) rounded to ``bits`` bits and scaled back."""
    if bits not in BITS:
        raise ValueError(f"{bits} bits are not between {BITS[0]} and {BITS[-1]}")
    ranges = _ranges(weight.float(), granularity, group_size)
    rounded = _symmetric(ranges, bits) if symmetric else _asymmetric(ranges, bits)
    outputs, inputs = weight.shape
    restored = rounded.reshape(outputs, -1)[:, :inputs] if granularity == "group" else rounded.reshape(weight.shape)
    constants = ranges.shape[0] * (SCALE_BITS + (0 if symmetric else bits))
    return Changed(restored.contiguous(), bits + constants / weight.numel())


def _ranges(weight: Tensor, granularity: Granularity, group_size: int) -> Tensor:
    """The weights in rows, one for each range. Zeros fill the last group: every range holds 0 anyway."""
    if granularity == "tensor":
        return weight.reshape(1, -1)
    if granularity == "channel":
        return weight
    size = min(group_size, weight.shape[1])
    return F.pad(weight, (0, -weight.shape[1] % size)).reshape(-1, size)


def _symmetric(ranges: Tensor, bits: int) -> Tensor:
    most = 2 ** (bits - 1) - 1
    scale = _without_zero(ranges.abs().amax(1, keepdim=True) / most)
    return (ranges / scale).round().clamp(-most, most) * scale


def _asymmetric(ranges: Tensor, bits: int) -> Tensor:
    most = 2**bits - 1
    low, high = ranges.amin(1, keepdim=True).clamp(max=0), ranges.amax(1, keepdim=True).clamp(min=0)
    scale = _without_zero((high - low) / most)
    zero = (-low / scale).round()
    return ((ranges / scale + zero).round().clamp(0, most) - zero) * scale


def _without_zero(scale: Tensor) -> Tensor:
    """A range of zeros alone needs a scale that can be divided by."""
    return torch.where(scale == 0, torch.ones_like(scale), scale)
