"""NF4 against bitsandbytes' own, k-means against scikit-learn's and against all clusterings of a few numbers."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from core.quantization.codebooks import cluster_weights, kmeans_levels, quantize_nf4


def weight(outputs: int = 32, inputs: int = 96, seed: int = 0) -> Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed)) * 0.02


@pytest.mark.parametrize("block_size", [64, 128, 256])
def test_nf4_is_that_of_bitsandbytes(block_size: int) -> None:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    original = weight(inputs=512)
    packed, state = quantize_4bit(original, blocksize=block_size, quant_type="nf4")
    found = quantize_nf4(original, block_size)
    assert (found.weight - dequantize_4bit(packed, state)).abs().max() < 1e-8
    counted = packed.numel() * 8 + state.absmax.numel() * 32 + state.code.numel() * 32
    assert found.bits == pytest.approx(counted / original.numel())


def test_nf4_blocks_cross_rows_and_may_be_short() -> None:
    original = weight(3, 50)  # blocks of 64, 64 and 22
    found = quantize_nf4(original).weight.reshape(-1)
    flat = original.reshape(-1)
    for begin, end in ((0, 64), (64, 128), (128, 150)):
        largest = flat[begin:end].abs().argmax() + begin
        assert found[largest] == flat[largest]
        assert found[begin:end].unique().numel() <= 16
    assert quantize_nf4(torch.zeros(2, 3)).weight.equal(torch.zeros(2, 3))


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_kmeans_is_as_good_as_scikit_learns(bits: int) -> None:
    from sklearn.cluster import KMeans

    original = weight(40, 100)
    original[0, :5] = torch.tensor([0.3, -0.4, 0.35, 0.3, -0.41])  # outliers, as real layers have
    found = cluster_weights(original, bits)
    inertia = float((found.weight.double() - original.double()).square().sum())
    theirs = KMeans(2**bits, n_init=3, random_state=0).fit(original.reshape(-1, 1).double().numpy())
    assert inertia <= theirs.inertia_ * 1.005
    assert found.weight.unique().numel() <= 2**bits
    assert found.bits == pytest.approx(bits + 2**bits * 32 / 4000)
    assert cluster_weights(original, bits).weight.equal(found.weight)


def test_kmeans_of_a_few_numbers_is_the_best_there_is() -> None:
    values = torch.tensor([0.0, 0.1, 0.11, 0.5, 0.52, 0.9, 2.0, 2.2, 2.21, 5.0], dtype=torch.float64)

    def lost(groups: list[Tensor]) -> float:
        return sum(float((group - group.mean()).square().sum()) for group in groups)

    for k in (2, 3, 4):
        splits = itertools.combinations(range(1, len(values)), k - 1)
        best = min(lost(list(torch.tensor_split(values, cuts))) for cuts in splits)
        levels = kmeans_levels(values.flip(0), k).double()
        mine = float((values[:, None] - levels).square().amin(1).sum())
        assert mine == pytest.approx(best, rel=1e-5)


def test_kmeans_of_fewer_values_than_centroids_keeps_them_all() -> None:
    original = torch.tensor([[1.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert cluster_weights(original, 2).weight.equal(original)
    assert cluster_weights(torch.ones(4, 4), 8).weight.equal(torch.ones(4, 4))


def test_kmeans_of_many_equal_values_has_no_empty_centroids() -> None:
    original = torch.cat([torch.zeros(900), torch.linspace(-1, 1, 40)])
    for k in (4, 16, 32):
        levels = kmeans_levels(original, k)
        assert levels.isfinite().all()
        assert levels.diff().min() > 0
        assert levels.numel() >= k - 1
