"""Non-uniform quantization: a weight becomes the nearest entry of a code book.

NF4: 16 levels at the quantiles of a normal distribution, times the largest magnitude of a block. Blocks are neighbours
in the flattened matrix and may cross its rows, the last one may be shorter. Equal to bitsandbytes' own for rows of
whole blocks (a test compares); where blocks cross rows, bitsandbytes 0.50 reads the wrong scales on a CPU.

k-means: 2^bits centroids for the whole layer. In one dimension clusters are intervals of the sorted weights, so the
sums of a cluster come from running totals and Lloyd's iterations cost next to nothing. They start from the best
clustering of a histogram that keeps the exact sums of its cells (dynamic programming), so no chance is involved.

Promises: the same weight gives the same levels; every constant is counted as float32: a scale per block, the code book
once for the layer.

Sources: Dettmers et al., QLoRA (2023), for NF4; Han et al., Deep compression (2016), for shared weights by k-means;
Wang and Song, Ckmeans.1d.dp (2011), for the dynamic programme.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from core.quantization.weights import SCALE_BITS, Changed

NF4_LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
CELLS, CELLS_EACH = 512, 4
"""Cells of the histogram that k-means starts from: at least so many, and so many for each centroid."""
_REACH = 16
_ITERATIONS = 200
_SETTLED = 1e-7
"""Lloyd's iterations end when no centroid moves further than this share of the weights' range."""


def quantize_nf4(weight: Tensor, block_size: int = 64) -> Changed:
    """``weight`` (out, in) as NF4 in blocks of ``block_size``, with float32 scales."""
    flat = weight.float().reshape(-1)
    blocks = F.pad(flat, (0, -flat.numel() % block_size)).reshape(-1, block_size)
    scale = blocks.abs().amax(1, keepdim=True)
    levels = torch.tensor(NF4_LEVELS, device=weight.device)
    edges = (levels[1:] + levels[:-1]) / 2
    normal = blocks / torch.where(scale == 0, torch.ones_like(scale), scale)
    restored: Tensor = levels[torch.bucketize(normal, edges)] * scale
    constants = (scale.numel() + len(NF4_LEVELS)) * SCALE_BITS
    return Changed(restored.reshape(-1)[: flat.numel()].reshape(weight.shape), 4 + constants / flat.numel())


def cluster_weights(weight: Tensor, bits: int) -> Changed:
    """``weight`` (out, in) with each entry replaced by the nearest of 2^``bits`` centroids of the layer."""
    flat = weight.float().reshape(-1)
    centroids = kmeans_levels(flat, 2**bits)
    edges = (centroids[1:] + centroids[:-1]) / 2
    restored = centroids[torch.bucketize(flat, edges)].reshape(weight.shape)
    return Changed(restored, bits + 2**bits * SCALE_BITS / flat.numel())


def kmeans_levels(values: Tensor, k: int) -> Tensor:
    """At most ``k`` centroids (float32, ascending) that minimise the squared error of ``values`` (n,)."""
    ordered = values.double().sort().values
    if int((ordered.diff() != 0).sum()) < k:
        few: Tensor = ordered.unique_consecutive()
        return few.float()
    totals = F.pad(ordered.cumsum(0), (1, 0))
    centroids = _from_histogram(ordered, totals, k)
    settled = _SETTLED * float(ordered[-1] - ordered[0])
    for _ in range(_ITERATIONS):
        moved = _means(ordered, totals, centroids)
        step = float((moved - centroids).abs().max())
        centroids = moved
        if step <= settled:
            break
    return centroids.float()


def _means(ordered: Tensor, totals: Tensor, centroids: Tensor) -> Tensor:
    """One of Lloyd's iterations; a centroid that nothing is near to stays where it is."""
    cuts = torch.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
    ends = F.pad(F.pad(cuts, (1, 0)), (0, 1), value=ordered.numel())
    counts, sums = ends.diff(), totals[ends].diff()
    return torch.where(counts > 0, sums / counts.clamp(min=1), centroids)


def _from_histogram(ordered: Tensor, totals: Tensor, k: int) -> Tensor:
    """The best ``k`` clusters of cells: half of the cells hold equally many weights, half are equally wide.

    For many centroids no cluster but the first takes more than ``_REACH`` times its share of the cells.
    """
    half = max(CELLS, CELLS_EACH * k) // 2
    ranks = torch.linspace(0, ordered.numel(), half + 1, device=ordered.device, dtype=torch.float64).long()
    low, high = float(ordered[0]), float(ordered[-1])
    places = torch.linspace(low, high, half + 1, device=ordered.device, dtype=torch.float64)
    cells = torch.cat([ranks, torch.searchsorted(ordered, places[1:-1])]).unique()
    edges = cells[_cuts(cells.double(), totals[cells], F.pad((ordered * ordered).cumsum(0), (1, 0))[cells], k)]
    means: Tensor = totals[edges].diff() / edges.diff()
    return means


def _cuts(counts: Tensor, sums: Tensor, squares: Tensor, k: int) -> Tensor:
    """Which of the edges (n,) part at most ``k`` clusters, from running totals at the edges: dynamic programming."""
    n = counts.numel()
    reach = min(n - 1, _REACH * n // k)

    def before(running: Tensor, fill: float = 0) -> Tensor:
        """(n, reach + 1): for each edge the values at the ``reach`` edges before it, and its own."""
        found: Tensor = F.pad(running, (reach, 0), value=fill).unfold(0, reach + 1, 1)
        return found

    width = counts[:, None] - before(counts)
    cost = squares[:, None] - before(squares) - (sums[:, None] - before(sums)) ** 2 / width.clamp(min=1)
    cost = cost.clamp(min=0).float()
    best = (squares - sums**2 / counts.clamp(min=1)).clamp(min=0).float()
    chosen = []
    for _ in range(k - 1):
        best, place = (before(best, torch.inf) + cost).min(1)
        chosen.append(place)
    ends = [n - 1]
    for place in reversed(chosen):
        ends.append(ends[-1] - reach + int(place[ends[-1]]))
    cuts: Tensor = torch.tensor([0, *ends], device=counts.device).unique()  # a cluster of no cells has no centroid
    return cuts
