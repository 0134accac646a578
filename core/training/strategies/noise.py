"""How noisy a mini-batch's gradient is, measured at the weights of the moment.

After McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training" (2018, arXiv:1812.06162):
``trace`` is the sum of the variances of the single examples' gradients, tr(Sigma), and the simple noise scale
tr(Sigma) / |G|^2 is the batch size at which the noise is as large as the gradient G of the whole training set.
Without dropout and penalties, which add no sampling noise of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from core.training.strategies.batches import Examples

CHUNK = 128
DRAWS = (16, 128)
"""Fewest and most batches drawn for the measured variance: the smaller a batch, the more of them."""


@dataclass(frozen=True, slots=True)
class Noise:
    """``variance``: mean |g - G|^2 of drawn batches; ``predicted``: the same from ``trace``; ``scale`` in examples."""

    squared_norm: float
    trace: float
    scale: float | None
    variance: float
    predicted: float


def flat_gradient(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The gradient of the mean loss as one vector in float64."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    loss = F.cross_entropy(model(inputs), labels)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)]).double()


def squared_norms(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(rows,) the squared length of each single example's gradient."""
    weights = {name: value.detach() for name, value in model.named_parameters()}

    def loss(values: dict[str, torch.Tensor], one: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(model, values, (one.unsqueeze(0),)), label.unsqueeze(0))

    found = []
    for part, truth in zip(inputs.split(CHUNK), labels.split(CHUNK), strict=True):
        each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, part, truth)
        found.append(torch.stack([value.double().flatten(1).square().sum(1) for value in each.values()]).sum(0))
    return torch.cat(found)


def measure_noise(
    model: nn.Module, examples: Examples, batch_size: int, seed: int, *, replacement: bool = False
) -> Noise:
    """The noise of batches of this size, drawn as the training draws them."""
    was_training = model.training
    model.eval()
    inputs, labels = examples.whole()
    count = len(examples)
    size = min(batch_size, count)
    whole = flat_gradient(model, inputs, labels)
    squared = float(whole.square().sum())
    total = float(squared_norms(model, inputs, labels).sum())
    trace = max(0.0, (total - count * squared) / max(1, count - 1))
    if size == 1:  # all batches there are
        variance = max(0.0, total / count - squared)
    else:
        variance = _drawn(model, inputs, labels, whole, size, seed, replacement)
    model.train(was_training)
    spread = (count - 1) / count if replacement else 1 - size / count  # of a finite set
    scale = trace / squared if squared > 1e-18 else None
    return Noise(squared, trace, scale, variance, trace / size * spread)


def _drawn(
    model: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    whole: torch.Tensor,
    size: int,
    seed: int,
    replacement: bool,
) -> float:
    """Mean squared distance of drawn batches' gradients from the whole's; nothing is drawn where there is one batch."""
    generator, count = torch.Generator().manual_seed(seed), len(labels)
    draws = max(DRAWS[0], min(DRAWS[1], 1024 // size)) if replacement or size < count else 1
    total = 0.0
    for _ in range(draws):
        if replacement:
            rows = torch.randint(count, (size,), generator=generator)
        else:
            rows = torch.randperm(count, generator=generator)[:size]
        total += float((flat_gradient(model, inputs[rows], labels[rows]) - whole).square().sum())
    return total / draws
