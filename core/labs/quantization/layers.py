"""The linear layers of a model as the lens offers them, from tensor names alone.

Promises: a layer's name is that of its module, as the model's files write it; the order is that of the computation,
whatever the files' is; the layers are those that the quantized schemes pack, so a sweep says what these can spare.
Imports nothing heavy.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from core.catalog.facts import ModelFacts
from core.catalog.parts import part_of
from core.errors import BadInput
from core.runtime.schemes import packed_tensors, stores_transposed

_DEPTH = re.compile(r"(?:^|\.)(?:layers|layer|blocks|block|h)\.(\d+)\.(.+)$")
_ORDER = ("q", "k", "v", "c_attn", "o", "gate", "up", "c_fc", "down", "c_proj")
"""How the names of layers begin, in the order in which a block uses them."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer: its module's name, its part of the transformer, the number of its block, (out, in).

    ``title`` is its name inside the block, the same for that layer of every block.
    """

    name: str
    part: str
    depth: int | None
    title: str
    shape: tuple[int, int]

    @property
    def parameters(self) -> int:
        """Weights of the layer, its bias left out."""
        return self.shape[0] * self.shape[1]


def linear_layers(facts: ModelFacts) -> tuple[Layer, ...]:
    """The layers of ``facts``, from input to output; empty for a model that is quantized already."""
    transposed = stores_transposed(facts)
    layers = []
    for tensor in packed_tensors(facts):
        name = tensor.name.removesuffix(".weight")
        found = _DEPTH.search(name)
        rows, columns = reversed(tensor.shape) if transposed else tensor.shape
        depth, title = (int(found[1]), found[2]) if found else (None, name)
        layers.append(Layer(name, part_of(tensor.name), depth, title, (rows, columns)))
    return tuple(sorted(layers, key=_place))


def layers_of(facts: ModelFacts) -> list[dict[str, Any]]:
    """``linear_layers`` as plain JSON for a picker: name, part, depth, title, shape and parameters."""
    return [{**asdict(one), "shape": list(one.shape), "parameters": one.parameters} for one in linear_layers(facts)]


def chosen_layer(name: str, facts: ModelFacts) -> Layer:
    """The layer called ``name``, or the first attention projection for an empty name. Raises ``BadInput``."""
    layers = linear_layers(facts)
    if not layers:
        raise BadInput(f"{facts.title} has no linear layers that could be quantized.", "Choose another model.")
    wanted = name.strip().removesuffix(".weight")
    if not wanted:
        return next((layer for layer in layers if layer.part == "attention"), layers[0])
    found = next((layer for layer in layers if _same(layer.name, wanted)), None)
    if found is None:
        shown = wanted if len(wanted) <= 80 else f"{wanted[:79]}…"
        raise BadInput(
            f"{facts.title} has no linear layer called “{shown}”.",
            f"Choose one of its layers, such as {layers[0].name}.",
        )
    return found


def _place(layer: Layer) -> tuple[int, bool, int]:
    leaf = layer.title.rpartition(".")[2]
    rank = next((place for place, start in enumerate(_ORDER) if leaf.startswith(start)), len(_ORDER))
    return -1 if layer.depth is None else layer.depth, layer.part != "attention", rank


def _same(one: str, other: str) -> bool:
    """Whether two names mean one module: files of some models leave out the name of the model's body."""
    return other in (one, one.partition(".")[2]) or other.partition(".")[2] == one
