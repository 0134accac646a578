"""Which part of a transformer a parameter belongs to, and a model's tree of parts, from tensor names and shapes alone.

The names are those that transformers writes (Llama, GPT-2, BERT, DistilBERT, T5 and their relatives). A tensor that no
rule knows counts as "other", so that the parts always add up to the whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.catalog.headers import TensorInfo
from core.catalog.sizes import count_text

PARTS = ("embeddings", "attention", "mlp", "norms", "head", "other")

_LAYER = re.compile(r"^(?P<stack>(?:.*?\.)?(?:layers|layer|blocks|block|h))\.(?P<number>\d+)\.(?P<rest>.+)$")
_HEAD = re.compile(r"^(lm_head|cls|classifier|score|vocab_\w+|pre_classifier|qa_outputs|embed_out)\b|(^|\.)pooler\.")
_NORM = re.compile(r"(norm|(^|\.)ln_\w+|layer_?norm)", re.IGNORECASE)
_EMBEDDING = re.compile(r"(embed|(^|\.)w[tp]e\.|^shared\.)")
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_ORDER = ("word", "wte", "position", "wpe", "q", "k", "v", "o", "c_attn", "gate", "up", "down", "c_fc", "c_proj")
_MLP = re.compile(r"mlp|ffn|feed_forward|DenseReluDense|intermediate|experts|(^|\.)fc[12]\.|(^|\.)output\.dense")


@dataclass(frozen=True, slots=True)
class Part:
    """A node of the tree: its name, all parameters below it, a note on shape or number, and what it is made of."""

    name: str
    parameters: int
    note: str = ""
    children: tuple[Part, ...] = ()


def part_of(name: str) -> str:
    """The part that the tensor ``name`` belongs to: one of ``PARTS``."""
    if _HEAD.search(name):
        return "head"
    if _NORM.search(name):
        return "norms"
    if _LAYER.match(name) is None and _EMBEDDING.search(name):
        return "embeddings"
    if _ATTENTION.search(name):
        return "attention"
    return "mlp" if _MLP.search(name) else "other"


def counted(tensors: Sequence[TensorInfo], tied: bool) -> tuple[TensorInfo, ...]:
    """The tensors that are parameters of their own: a tied output matrix is the input embedding and counts once."""
    has_input = any(part_of(t.name) == "embeddings" for t in tensors)
    copies = ("lm_head.weight", "cls.predictions.decoder.weight", "vocab_projector.weight")
    duplicate = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "cls.predictions.decoder.bias")
    shared = any(t.name == "shared.weight" for t in tensors)
    return tuple(
        t
        for t in tensors
        if not (tied and has_input and t.name in copies) and not ((shared or tied) and t.name in duplicate)
    )


def part_counts(tensors: Sequence[TensorInfo]) -> tuple[tuple[str, int], ...]:
    """Parameters per part, in the order of ``PARTS``, parts without any left out."""
    totals: Counter[str] = Counter()
    for tensor in tensors:
        totals[part_of(tensor.name)] += tensor.count
    return tuple((part, totals[part]) for part in PARTS if totals[part])


def tree(tensors: Sequence[TensorInfo], tied: bool) -> tuple[Part, ...]:
    """The model from input to output: embeddings, each stack of layers once with its number, norms, head."""
    outer: dict[str, list[TensorInfo]] = {}
    stacks: dict[str, dict[int, dict[str, list[TensorInfo]]]] = {}
    for tensor in tensors:
        match = _LAYER.match(tensor.name)
        if match is None:
            outer.setdefault(part_of(tensor.name), []).append(tensor)
        else:
            stack = stacks.setdefault(match["stack"], {})
            stack.setdefault(int(match["number"]), {}).setdefault(part_of(tensor.name), []).append(
                replace(tensor, name=match["rest"])
            )
    nodes = [_group("embeddings", outer["embeddings"])] if "embeddings" in outer else []
    for name in sorted(stacks, key=lambda name: "decoder" in name):
        nodes.append(_stack(name, stacks[name], named=len(stacks) > 1))
    final = not any("embed" in tensor.name for tensor in outer.get("norms", ()))
    titles = {"attention": "attention", "mlp": "mlp", "norms": "final norm" if final else "norms", "other": "other"}
    nodes += [_group(title, outer[part]) for part, title in titles.items() if part in outer]
    if "head" in outer:
        nodes.append(_group("head", outer["head"]))
    elif tied:
        nodes.append(Part("head", 0, "tied to the embeddings"))
    return tuple(nodes)


def _stack(name: str, layers: dict[int, dict[str, list[TensorInfo]]], named: bool) -> Part:
    """A stack of layers; its children describe one layer (the last, which carries no extras of the first)."""
    sizes = {number: sum(t.count for part in layers[number].values() for t in part) for number in layers}
    typical = layers[max(layers)]
    return Part(
        f"{name.split('.')[0]} layers ×{len(layers)}" if named else f"layers ×{len(layers)}",
        sum(sizes.values()),
        f"{count_text(sizes[max(layers)])} each",
        tuple(_group(part, typical[part]) for part in PARTS if part in typical),
    )


def _group(name: str, tensors: Sequence[TensorInfo]) -> Part:
    """A part and its modules; a module's weight and bias are one node."""
    modules: dict[str, list[TensorInfo]] = {}
    for tensor in tensors:
        modules.setdefault(tensor.name.rpartition(".")[0] or tensor.name, []).append(tensor)
    children = [
        Part(title, sum(t.count for t in modules[module]), _shape_note(modules[module]))
        for title, module in sorted(zip(_short(list(modules)), modules, strict=True), key=lambda pair: _rank(pair[0]))
    ]
    return Part(name, sum(t.count for t in tensors), "", tuple(children))


def _short(modules: Sequence[str]) -> list[str]:
    """The shortest endings of dotted names that still tell them apart."""
    for length in range(1, 1 + max(name.count(".") + 1 for name in modules)):
        endings = [".".join(name.split(".")[-length:]) for name in modules]
        if len(set(endings)) == len(endings):
            return endings
    return list(modules)


def _rank(title: str) -> int:
    """Where a module comes in the order of the computation, which is not the order of the alphabet."""
    leaf = title.rsplit(".", 1)[-1]
    return next((place for place, start in enumerate(_ORDER) if leaf.startswith(start)), len(_ORDER))


def _shape_note(tensors: Sequence[TensorInfo]) -> str:
    largest = max(tensors, key=lambda t: t.count)
    note = " × ".join(f"{n:,}" for n in largest.shape)
    return f"{note} + bias" if any(t.name.endswith("bias") for t in tensors if t is not largest) else note
