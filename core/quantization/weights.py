"""A layer's weight as the methods here take it, and what they give back.

Promises: every method takes a float32 matrix of shape (out, in) and leaves it alone; the layers that store theirs
transposed (GPT-2's Conv1D) are turned here and nowhere else, on the way in and on the way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.errors import BadInput

SCALE_BITS = 32
"""Scales and code books are counted, and kept, as float32."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a method made of a weight: (out, in) float32 again, and bits per weight with every constant it needs."""

    weight: Tensor
    bits: float


def is_transposed(module: Any) -> bool:
    """Whether the layer stores its weight as (in, out)."""
    return type(module).__name__ == "Conv1D"


def weight_of(module: Any) -> Tensor:
    """The layer's weight as (out, in) float32, detached. A view where the layer keeps it so: do not write to it.

    A copy on the CPU where the device has no double precision, in which sums are taken here.
    """
    weight: Tensor = module.weight.detach()
    turned = (weight.T if is_transposed(module) else weight).float()
    try:
        weight.new_empty(0, dtype=torch.float64)
    except TypeError:  # Apple's GPUs
        return turned.cpu()
    return turned


def as_stored(weight: Tensor, module: Any) -> Tensor:
    """An (out, in) weight in the layout, dtype and device of the layer's own."""
    turned = weight.T if is_transposed(module) else weight
    return turned.to(device=module.weight.device, dtype=module.weight.dtype).contiguous()


def layer_module(model: Any, name: str) -> tuple[str, Any]:
    """The module of the linear layer ``name`` in ``model``, and its full name there.

    Files of some models leave out the name of the model's body; a layer with an adapter has the base's inside. Raises
    ``BadInput`` for a layer that is not there, or whose weight is no matrix of floats.
    """
    modules = dict(model.named_modules())
    body = f"{getattr(model, 'base_model_prefix', '')}."
    full = next((one for one in (name, body + name, name.removeprefix(body)) if one in modules), None)
    if full is None:
        raise BadInput(f"The model has no layer called “{name}”.", "Choose one of its layers from the list.")
    if hasattr(modules[full], "base_layer"):
        full = f"{full}.base_layer"
    weight = getattr(modules[full], "weight", None)
    if weight is None or weight.dim() != 2 or not weight.is_floating_point():
        raise BadInput(f"The weights of {name} are quantized already.", "Choose the model that it was made from.")
    return full, modules[full]
