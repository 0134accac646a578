"""The ways in which a model's weights can be stored, and what each takes in memory, from facts alone.

Promises: pure, and nothing heavy is imported; the bytes of quantized weights count every constant that is kept beside
them (``python -m bench memory_quant`` holds them against loaded models); a scheme that cannot be used is refused in a
sentence before anything is loaded.

What the libraries store (bitsandbytes 0.50, torchao 0.18), of the linear layers inside the model alone
- int8: a byte per number and a float32 scale per output.
- nf4, fp4: half a byte per number, a float32 scale for each block of 64, and a table of 16 float32 per layer.
- double: the scales in a byte each, a float32 for each 256 of them, a table of 256 float32 and an offset per layer.
- int8-weight-only, int8-dynamic: a byte per number, a float32 scale and a byte of zero point per output.
Embeddings, norms, biases and what reads out the last hidden states keep the dtype of the model.

Sources: Dettmers et al., LLM.int8() (2022) and QLoRA (2023). Does not load (``quantized``, ``loading``).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from core.catalog.facts import ModelFacts
from core.catalog.headers import DTYPE_NAMES, TensorInfo
from core.catalog.parts import part_of
from core.runtime.devices import Device

Dtype = Literal["float32", "bfloat16", "float16"]
Quantized = Literal["int8", "nf4", "nf4-double", "fp4", "fp4-double", "int8-weight-only", "int8-dynamic"]
DTYPE_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number in each dtype that models are computed in."""
BLOCK, NESTED_BLOCK = 64, 256
"""Numbers that share a scale in 4 bits, and scales that share a scale where those are quantized in turn."""
_TABLE_4, _TABLE_8, _OFFSET = 16 * 4, 256 * 4, 4


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to store weights. ``bits`` per number of a linear layer, ``library`` what does it ("" for torch itself)."""

    name: str
    title: str
    bits: float
    library: Literal["", "bitsandbytes", "torchao"]
    what: str


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("float32", "float32", 32, "", "Every weight as a 32-bit float: the reference."),
        Scheme("bfloat16", "bfloat16", 16, "", "Float32 cut to 8 bits of precision, with the same range."),
        Scheme("float16", "float16", 16, "", "11 bits of precision and a small range, for GPUs."),
        Scheme(
            "int8", "int8 (LLM.int8)", 8, "bitsandbytes",
            "Weights and activations as 8-bit integers, columns with outliers in floating point.",
        ),
        Scheme("nf4", "NF4", 4.5, "bitsandbytes", "16 levels placed for normal weights, a scale for each 64."),
        Scheme(
            "nf4-double", "NF4, double quantization", 4.127, "bitsandbytes", "NF4 with its scales in 8 bits each."
        ),
        Scheme("fp4", "FP4", 4.5, "bitsandbytes", "4-bit floats, a scale for each 64 weights."),
        Scheme(
            "fp4-double", "FP4, double quantization", 4.127, "bitsandbytes", "FP4 with its scales in 8 bits each."
        ),
        Scheme(
            "int8-weight-only", "int8, weights only", 8, "torchao",
            "8-bit weights with a scale for each output, cast to floats before each product.",
        ),
        Scheme(
            "int8-dynamic", "int8, dynamic", 8, "torchao",
            "8-bit weights, and activations that are rounded to 8 bits as they come.",
        ),
    )
}  # fmt: skip


def is_quantized(scheme: str) -> bool:
    """Whether a scheme is more than a dtype."""
    return bool(SCHEMES[scheme].library)


def packed_tensors(facts: ModelFacts) -> tuple[TensorInfo, ...]:
    """The weights that quantizing replaces: of the linear layers inside the model, not of what reads it out."""
    return tuple(tensor for tensor in facts.tensors if _is_packed(facts, tensor))


def scheme_bytes(facts: ModelFacts, scheme: str, dtype: str = "float32") -> int:
    """Bytes of the weights under ``scheme`` with all its constants; what is not quantized is stored in ``dtype``.

    A scheme that is a dtype stores everything in it.
    """
    if not is_quantized(scheme):
        return facts.parameters * DTYPE_BYTES[scheme]
    transposed = stores_transposed(facts)
    packed = packed_tensors(facts)
    rest = facts.parameters - sum(tensor.count for tensor in packed)
    return rest * DTYPE_BYTES[dtype] + sum(_layer_bytes(tensor, scheme, transposed) for tensor in packed)


def loading_peak(facts: ModelFacts, scheme: str, dtype: str = "float32", device: str = "cpu") -> int:
    """Bytes above the imports at the peak of a load in a fresh process: resident on a CPU, of the card on a GPU.

    On a CPU the files are mapped, and lie in memory beside all that is made of them until the load ends; plain weights
    that the files store in their dtype are used where they lie. On a GPU the layer that is being quantized is added.
    """
    weights = scheme_bytes(facts, scheme, dtype)
    if not device.startswith("cpu"):
        layers = packed_tensors(facts) if is_quantized(scheme) else ()
        return weights + max((tensor.count * DTYPE_BYTES[dtype] for tensor in layers), default=0)
    if is_quantized(scheme):
        return facts.weight_bytes + weights
    size = DTYPE_BYTES[scheme]
    made = sum(tensor.count for tensor in facts.tensors if DTYPE_NAMES.get(tensor.dtype) != scheme)
    return facts.weight_bytes + made * size


def refusal(scheme: str, facts: ModelFacts, device: Device) -> str | None:
    """Why ``device`` cannot run ``facts`` under ``scheme``, in a sentence; None if it can."""
    known = SCHEMES[scheme]
    if scheme == "float16" and device.type == "cpu":
        return "float16 is not computed on a CPU: it is many times slower there than float32."
    if scheme == "bfloat16" and not device.bf16:
        return f"{device.label} does not compute in bfloat16."
    if not known.library:
        return None
    if importlib.util.find_spec(known.library) is None:
        return f"{known.library} is not installed here."
    return _unsuited(known, facts, device)


def stores_transposed(facts: ModelFacts) -> bool:
    """Whether the family stores a layer's weight as (inputs, outputs), in layers that are no ``nn.Linear``."""
    return facts.architecture.startswith("GPT2")


def _unsuited(scheme: Scheme, facts: ModelFacts, device: Device) -> str | None:
    packed = packed_tensors(facts)
    if any(tensor.dtype in ("I8", "U8") or tensor.dtype.startswith("F8") for tensor in facts.tensors):
        return f"{facts.title} is quantized already: choose the model that it was made from."
    if not packed:
        return f"{facts.title} has no linear layers that could be quantized."
    if scheme.library == "torchao" and stores_transposed(facts):
        return "torchao quantizes nn.Linear alone, and GPT-2's layers are Conv1D: it would leave them as they are."
    if scheme.name == "int8-dynamic" and device.type == "mps":
        return f"{device.label} has no kernel for products of 8-bit integers."
    return None


def _is_packed(facts: ModelFacts, tensor: TensorInfo) -> bool:
    if len(tensor.shape) != 2 or not tensor.name.endswith(".weight") or "relative_attention_bias" in tensor.name:
        return False
    if facts.architecture.startswith("T5") and tensor.name.endswith(".wo.weight"):  # transformers keeps it in float32
        return False
    return part_of(tensor.name) in ("attention", "mlp", "other")


def _layer_bytes(tensor: TensorInfo, scheme: str, transposed: bool) -> int:
    numbers, outputs = tensor.count, tensor.shape[1 if transposed else 0]
    if scheme == "int8":
        return numbers + 4 * outputs
    if scheme.startswith("int8-"):
        return numbers + 5 * outputs
    blocks = -(-numbers // BLOCK)
    packed = -(-numbers // 2) + _TABLE_4
    if scheme.endswith("-double"):
        return packed + blocks + 4 * -(-blocks // NESTED_BLOCK) + _TABLE_8 + _OFFSET
    return packed + 4 * blocks
