"""Errors of a changed weight against numpy, and histograms that lose nobody."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.quantization.errors import histogram, thinned, weight_errors
from core.quantization.uniform import quantize_uniform


def test_errors_are_those_of_the_formulas() -> None:
    before = torch.randn(10, 30, generator=torch.Generator().manual_seed(1))
    before[4] *= 0.01  # the worst channel: its weights are lost in the others' scale
    before[7] = 0
    after = quantize_uniform(before, 4, granularity="tensor").weight
    found = weight_errors(before, after)
    w, e = before.double().numpy(), (before.double() - after.double()).numpy()
    assert found.mse == pytest.approx((e**2).mean())
    assert found.snr_db == pytest.approx(10 * np.log10((w**2).sum() / (e**2).sum()))
    for row, ratio in enumerate(found.channels):
        if row == 7:
            assert ratio is None
        else:
            assert ratio == pytest.approx(10 * np.log10((w[row] ** 2).sum() / (e[row] ** 2).sum()))
    assert found.worst == 4
    assert found.zeros == pytest.approx((after.numpy() == 0).mean())
    assert found.distinct == len(np.unique(after.numpy()))


def test_no_noise_has_no_ratio() -> None:
    same = torch.randn(3, 4)
    found = weight_errors(same, same)
    assert (found.mse, found.snr_db, found.worst) == (0.0, None, None)
    assert found.channels == (None, None, None)


def test_six_decibels_for_a_bit() -> None:
    before = torch.randn(64, 256, generator=torch.Generator().manual_seed(2))
    ratios = [weight_errors(before, quantize_uniform(before, bits).weight).snr_db for bits in (5, 6, 7, 8)]
    steps = np.diff(np.array(ratios, dtype=float))
    assert (abs(steps - 6.02) < 0.4).all()


def test_histograms_share_edges_and_count_every_weight() -> None:
    before = torch.randn(20, 50, generator=torch.Generator().manual_seed(4))
    after = quantize_uniform(before, 3, symmetric=False, granularity="tensor").weight
    found = histogram(before, after, 40)
    assert len(found.edges) == 41
    edges = np.array(found.edges)
    assert list(found.before) == np.histogram(before.double().numpy(), edges)[0].tolist()
    assert sum(found.before) == sum(found.after) == 1000
    assert sum(count > 0 for count in found.after) <= 8
    flat = histogram(torch.zeros(2, 2), torch.zeros(2, 2), 4)
    assert sum(flat.before) == 4


def test_thinning_keeps_the_worst() -> None:
    ratios: list[float | None] = [float(i % 97) for i in range(1000)]
    ratios[513], ratios[0] = -3.0, None
    shown, each = thinned(ratios)
    assert (len(shown), each) == (200, 5)
    assert min(ratio for ratio in shown if ratio is not None) == -3.0
    assert thinned(ratios[:150])[0] == ratios[:150]
    assert thinned([None, None], 1) == ([None], 2)
