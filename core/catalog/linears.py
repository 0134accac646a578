"""The linear layers of a model, which LoRA can be attached to, and how many numbers each choice of them trains.

Promises
- Names are such that PEFT's ``target_modules`` takes them: the shortest endings of module names that tell the layers
  apart, and a name stands for every layer whose full name ends with it.
- Read from safetensors headers and the config alone; what reads out the last hidden states (heads) is left out, except
  a pooler that a text's label is read from.
- Counts are those that PEFT builds when the modules that the files lack are in ``modules_to_save`` (a test compares).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.catalog.catalog import Located
from core.catalog.facts import Head as Head
from core.catalog.facts import ModelFacts
from core.catalog.headers import TensorInfo, folder_tensors, read_json
from core.catalog.known import CONFIGS
from core.catalog.parts import part_of
from core.catalog.shapes import tensors_of

_TRANSPOSED = ("gpt2",)
"""Families that store a layer's weight as (inputs, outputs)."""


@dataclass(frozen=True, slots=True)
class LinearGroup:
    """Layers of one role and shape. ``paths`` are their full names, ``biased`` whether they have biases.

    In BERT ``name`` can reach further than ``paths`` ("output.dense" ends the attention's output too), so what a choice
    of names trains is for ``low_rank_parameters`` to say.
    """

    name: str
    count: int
    in_features: int
    out_features: int
    biased: bool
    paths: tuple[str, ...]


def linear_modules(located: Located, head: Head | None = None) -> list[LinearGroup]:
    """The groups of a model that is here, in the order of the computation in a layer."""
    model_type = str(read_json(located.path / "config.json").get("model_type", ""))
    return _groups(folder_tensors(located.path), model_type, head)


def known_linear_modules(name: str, head: Head | None = None) -> list[LinearGroup]:
    """The groups of a well-known model that need not be here."""
    return _groups(tensors_of(CONFIGS[name]), str(CONFIGS[name]["model_type"]), head)


def linear_modules_of(facts: ModelFacts, head: Head | None = None) -> list[LinearGroup]:
    """The groups of any model whose facts are known."""
    return _groups(facts.tensors, "gpt2" if facts.architecture.startswith("GPT2") else "", head)


def targeted(groups: Sequence[LinearGroup], targets: Sequence[str]) -> dict[str, LinearGroup]:
    """Each layer's full name that ``targets`` reach (all of them if empty), with its group."""
    paths = {path: group for group in groups for path in group.paths}
    return {path: group for path, group in paths.items() if not targets or _ends_with(path, targets)}


def low_rank_parameters(
    groups: Sequence[LinearGroup],
    targets: Sequence[str] = (),
    r: int = 8,
    ranks: Mapping[str, int] | None = None,
    *,
    dora: bool = False,
    biases: bool = False,
) -> int:
    """What LoRA trains on ``targets``: ``ranks`` gives some of them a rank of their own.

    DoRA adds a magnitude per output; ``biases`` counts those of the adapted layers.
    """
    total = 0
    for path, group in targeted(groups, targets).items():
        rank = next((rank for name, rank in (ranks or {}).items() if _ends_with(path, (name,))), r)
        total += rank * (group.in_features + group.out_features)
        total += group.out_features * (dora + (biases and group.biased))
    return total


def all_biases(located: Located) -> int:
    """The biases of the whole model, those of norms too."""
    return sum(t.count for t in folder_tensors(located.path) if t.name.endswith("bias") and part_of(t.name) != "head")


def head_parameters(facts: ModelFacts, head: Head | None, labels: int) -> int:
    """Numbers of a new head: a row per label, and before it the layer that some encoders lack when they come here.

    All of them are trained, whatever the method: nobody else has them.
    """
    if head is None:
        return 0
    width = facts.hidden_size
    biases = 0 if head == "classification" and facts.kind == "causal" else labels
    own_layer = facts.architecture.startswith(("DistilBert", "Roberta"))  # their classifiers have two layers
    pooled = facts.architecture in ("BertModel", "BertForSequenceClassification", "BertForPreTraining")
    lacks_layer = own_layer or (facts.architecture.startswith("Bert") and not pooled)
    between = width * (width + 1) if head == "classification" and lacks_layer else 0
    return labels * width + biases + between


def _groups(tensors: Sequence[TensorInfo], model_type: str, head: Head | None) -> list[LinearGroup]:
    names = {tensor.name for tensor in tensors}
    layers: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for tensor in tensors:
        if len(tensor.shape) == 2 and tensor.name.endswith(".weight") and _is_adaptable(tensor.name, head):
            path = tensor.name.removesuffix(".weight")
            layers.setdefault((_role(path), tensor.shape), []).append(path)
    groups = []
    for (role, shape), paths in layers.items():
        inputs, outputs = shape if model_type in _TRANSPOSED else shape[::-1]
        biased = f"{paths[0]}.bias" in names
        groups.append(LinearGroup(role, len(paths), inputs, outputs, biased, tuple(paths)))
    return _renamed(groups)


def _is_adaptable(name: str, head: Head | None) -> bool:
    if "relative_attention_bias" in name:  # T5's table of distances
        return False
    pooler = head == "classification" and ".pooler." in f".{name}"
    return pooler or part_of(name) in ("attention", "mlp", "other")


def _role(path: str) -> str:
    """A layer's name below its number, without the stack: "attn.c_proj"; the whole name of one that stands alone."""
    parts = path.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :]) if numbers else path


def _renamed(groups: Sequence[LinearGroup]) -> list[LinearGroup]:
    """The groups under the shortest endings of their roles that only they have, where there is one."""
    found = []
    for group in groups:
        parts = group.name.split(".")
        endings = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        others = [path for other in groups if other is not group for path in other.paths]
        name = next((e for e in endings if not any(_ends_with(path, (e,)) for path in others)), group.name)
        found.append(LinearGroup(name, group.count, group.in_features, group.out_features, group.biased, group.paths))
    return found


def _ends_with(path: str, names: Sequence[str]) -> bool:
    return any(path == name or path.endswith(f".{name}") for name in names)
