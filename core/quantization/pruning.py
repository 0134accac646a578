"""Pruning: set weights to zero, one by one, by whole output channels, or n kept of every m.

Promises: as many are set to zero as the share says, to rounding, however many are equally large (the earlier stays);
what is kept is not changed. Bits per weight are those of a format that stores nothing for zeros: what is kept in
``width`` bits each, and what says where it belongs (one bit for each weight; for n of m, the place of each kept one
among its m; for channels, a bit per channel).

Sources: Han et al., Learning both weights and connections (2015), for magnitude; Li et al., Pruning filters for
efficient convnets (2017), for whole channels by their L1 norm; Mishra et al., Accelerating sparse deep neural networks
(2021), for 2 of 4. Nothing is trained again here: all of them do, and lose less for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.quantization.weights import Changed


def prune_magnitude(weight: Tensor, sparsity: float, *, width: int = 16) -> Changed:
    """``weight`` (out, in) without the smallest ``sparsity`` (0 to 1) of its entries."""
    flat = weight.float().reshape(-1)
    zeros = round(sparsity * flat.numel())
    kept = _largest(flat.abs(), flat.numel() - zeros)
    return Changed((flat * kept).reshape(weight.shape), width * (1 - zeros / flat.numel()) + (1 if zeros else 0))


def prune_channels(weight: Tensor, sparsity: float, *, width: int = 16) -> Changed:
    """``weight`` (out, in) without the ``sparsity`` (0 to 1) of its output channels whose L1 norm is smallest."""
    outputs, inputs = weight.shape
    zeros = round(sparsity * outputs)
    kept = _largest(weight.float().abs().sum(1), outputs - zeros)
    return Changed(weight.float() * kept[:, None], width * (1 - zeros / outputs) + (1 / inputs if zeros else 0))


def prune_n_of_m(weight: Tensor, n: int, m: int, *, width: int = 16) -> Changed:
    """``weight`` (out, in) with the ``n`` largest of every ``m`` neighbouring inputs kept.

    A row's last group may be shorter than ``m``; it keeps ``n`` too.
    """
    if not 1 <= n <= m:
        raise ValueError(f"{n} of {m} cannot be kept")
    inputs = weight.shape[1]
    size = weight.float().abs()
    groups = torch.nn.functional.pad(size, (0, -inputs % m), value=-1.0).reshape(-1, m)
    kept = torch.zeros_like(groups).scatter_(1, _order(groups)[:, :n], 1.0).reshape(weight.shape[0], -1)[:, :inputs]
    share = float(kept.mean())
    place = math.ceil(math.log2(m)) if n < m else 0
    return Changed(weight.float() * kept, share * (width + place))


def _largest(size: Tensor, count: int) -> Tensor:
    """1 where ``size`` (n,) is among the ``count`` largest, else 0; of equals the earlier are taken."""
    return torch.zeros_like(size).scatter_(0, _order(size)[:count], 1.0)


def _order(size: Tensor) -> Tensor:
    return size.argsort(dim=-1, descending=True, stable=True)
