"""What a method did to a weight: errors, histograms, and how many values are left.

Promises: signal-to-noise ratios are 10 log10(sum w^2 / sum (w - w')^2) in dB, None where there is no noise (or no
signal); channels are outputs, the rows of (out, in); both histograms share their edges, and count every weight once.

Source of the ratio as a measure of quantization: Lin et al., Fixed point quantization of deep convolutional networks
(2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CELLS = 96
"""Cells of a histogram: more than the levels of 6 bits, so that the levels are seen as lines."""


@dataclass(frozen=True, slots=True)
class WeightErrors:
    """Errors of a weight (out, in): ``channels`` are the ratios in dB of all outputs, ``worst`` the smallest's place.

    ``zeros`` is the share of zeros (0 to 1), ``distinct`` the number of different values, both afterwards.
    """

    mse: float
    snr_db: float | None
    channels: tuple[float | None, ...]
    worst: int | None
    zeros: float
    distinct: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """``edges`` (one more than the cells), and how many weights lie in each cell before and after."""

    edges: tuple[float, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


def weight_errors(before: Tensor, after: Tensor) -> WeightErrors:
    """How far ``after`` is from ``before``, both (out, in)."""
    noise = (before.double() - after.double()).square()
    signal = before.double().square()
    rows = zip(signal.sum(1).tolist(), noise.sum(1).tolist(), strict=True)
    channels = tuple(decibels(of_signal, of_noise) for of_signal, of_noise in rows)
    known = [(ratio, place) for place, ratio in enumerate(channels) if ratio is not None]
    return WeightErrors(
        mse=float(noise.mean()),
        snr_db=decibels(float(signal.sum()), float(noise.sum())),
        channels=channels,
        worst=min(known)[1] if known else None,
        zeros=float((after == 0).double().mean()),
        distinct=int(after.unique().numel()),
    )


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise); None where one of them is 0."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def histogram(before: Tensor, after: Tensor, cells: int = CELLS) -> Histogram:
    """Both weights in ``cells`` equally wide cells from their smallest value to their largest."""
    low = min(float(before.min()), float(after.min()))
    high = max(float(before.max()), float(after.max()))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = torch.linspace(low, high, cells + 1, dtype=torch.float64)
    counts = [_counts(weight, edges) for weight in (before, after)]
    return Histogram(tuple(edges.tolist()), counts[0], counts[1])


def thinned(channels: Sequence[float | None], most: int = 200) -> tuple[list[float | None], int]:
    """At most ``most`` of the ratios, the smallest of each of equally many neighbours, and how many those are."""
    each = max(1, math.ceil(len(channels) / most))
    blocks = [channels[begin : begin + each] for begin in range(0, len(channels), each)]
    return [min((ratio for ratio in block if ratio is not None), default=None) for block in blocks], each


def _counts(weight: Tensor, edges: Tensor) -> tuple[int, ...]:
    inner = edges[1:-1].to(weight.device)
    cells = torch.bucketize(weight.double().reshape(-1), inner, right=True)
    return tuple(torch.bincount(cells, minlength=len(edges) - 1).tolist())
