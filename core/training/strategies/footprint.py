"""What a training keeps in memory, counted from its own tensors after a step: no estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from core.training.strategies.loop import Training, gradients


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes. ``activations`` is what one backward pass needs kept, the batch itself included."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.activations


def footprint(training: Training) -> Footprint:
    """Measured by one more backward pass on a batch of the plan's size, one micro-batch of it at a time."""
    plan, model = training.plan, training.model
    count = len(training.examples_of)
    size = min(plan.batch_size, count)
    part = -(-size // plan.parts)
    inputs, labels = training.examples_of.batch(torch.arange(part), static=plan.padding == "static")
    weights = list(model.parameters())
    owned = {w.untyped_storage().data_ptr() for w in weights}
    kept: dict[int, int] = {inputs.untyped_storage().data_ptr(): inputs.untyped_storage().nbytes()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        gradients(model, inputs, labels)
    state = [v for one in training.optimizer.state.values() for v in one.values() if isinstance(v, torch.Tensor)]
    return Footprint(
        parameters=_bytes(weights),
        gradients=_bytes([w.grad for w in weights if w.grad is not None]),
        optimizer=_bytes(state),
        activations=sum(kept.values()),
    )


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
