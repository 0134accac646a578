"""Why a scheme is slow: the time of one token by what it is spent on, and a sentence made of the differences.

Promises: parts come from torch's profiler, scaled so that they add up to the time that was measured without it; a
sentence names what grew most over the reference and by how much, and the operation behind it. Measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::_int_mm", "aten::_scaled_mm", "gemv_4bit", "gemm_4bit",
            "int8_linear_matmul", "_weight_int8pack_mm", "aten::linear", "aten::matmul", "gemm", "gemv")  # fmt: skip
PLAIN_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::matmul", "aten::linear")
"""What reading out the last hidden states runs as under every scheme."""
UNPACKING = ("dequant", "int8_scaled_mm", "int8_mixed_scaled_mm")
ROUNDING = ("vectorwise_quant", "quantize_affine", "choose_qparams", "double_quant", "aten::round", "_Round",
            "aten::amax", "aten::amin", "aten::aminmax", "aten::clamp")  # fmt: skip
CASTS = ("aten::copy_", "aten::_to_copy", "aten::to", "aten::contiguous", "aten::clone")
ATTENTION = ("scaled_dot_product", "flash_attention", "efficient_attention")
PARTS = {
    "products": "multiplying matrices",
    "unpacking": "turning packed weights or results back into floats",
    "rounding": "rounding activations to 8 bits",
    "casts": "casting and copying between number formats",
    "attention": "attention",
    "other": "everything else, mostly the start of small operations",
}
SLOWER = 1.05


@dataclass(frozen=True, slots=True)
class TokenTime:
    """Seconds of one written token, by part, and the operation that multiplies."""

    seconds: float
    parts: dict[str, float]
    kernel: str


def token_time(operations: Sequence[tuple[str, float]], seconds: float) -> TokenTime:
    """Sort the profiler's ``operations`` into ``PARTS``, so that they add up to ``seconds``."""
    parts = dict.fromkeys(PARTS, 0.0)
    kernels: dict[str, float] = {}
    for name, took in operations:
        part = part_of(name)
        parts[part] += took
        if part == "products":
            kernels[name] = kernels.get(name, 0.0) + took
    whole = sum(parts.values())
    scale = seconds / whole if whole else 0.0
    own = {name: took for name, took in kernels.items() if name not in PLAIN_PRODUCTS}  # the packed layers' kernel
    kernel = max(own or kernels, key=lambda name: kernels[name]) if kernels else ""
    return TokenTime(seconds, {part: took * scale for part, took in parts.items()}, kernel)


def part_of(operation: str) -> str:
    """The part of ``PARTS`` that an operation of torch, bitsandbytes or torchao belongs to."""
    for part, marks in (("attention", ATTENTION), ("unpacking", UNPACKING), ("rounding", ROUNDING)):
        if any(mark in operation for mark in marks):
            return part
    if any(mark in operation for mark in PRODUCTS):
        return "products"
    return "casts" if operation in CASTS else "other"


def why_slow(title: str, time: TokenTime, reference_title: str, reference: TokenTime) -> str | None:
    """A sentence for a scheme that writes a token more slowly than the reference; None for one that does not."""
    if time.seconds < SLOWER * reference.seconds:
        return None
    grew = {part: time.parts[part] - reference.parts[part] for part in PARTS}
    most = max(grew, key=lambda part: grew[part])
    kernel = f" Its products run as {time.kernel}." if time.kernel else ""
    return (
        f"{title} takes {time.seconds / reference.seconds:.1f} times as long for a token as {reference_title}: "
        f"{_milliseconds(time.seconds)} instead of {_milliseconds(reference.seconds)}. Most of the difference is "
        f"{PARTS[most]}, {_milliseconds(time.parts[most])} instead of {_milliseconds(reference.parts[most])}.{kernel}"
    )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
