"""4-bit weights through bitsandbytes: how they are asked for, kept exact, and read back.

Promises
- Linear layers (GPT-2's transposed ones too) are stored as nf4 in blocks of 64 numbers, each block with its largest
  magnitude in float32. Heads, embeddings and norms stay as they are.
- A model that is prepared for training keeps the plain layout. On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks the
  weights in place in the first forward pass in eval mode; from then on gradients and merges are wrong without a word.
  ``keep_plain`` forbids it, at the price of slower decoding.

Source: Dettmers et al., QLoRA (2023). Does not decide which models are quantized.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BLOCK = 64
"""Numbers that share one scale."""
UNQUANTIZED = (
    "lm_head", "embed_out", "score", "classifier", "pre_classifier", "pooler", "cls", "vocab_transform",
    "vocab_projector", "qa_outputs",
)  # fmt: skip
"""Modules that keep their precision: what reads out the last hidden states."""


def nf4_config(compute_dtype: torch.dtype) -> Any:
    """What ``from_pretrained`` takes as ``quantization_config``."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=compute_dtype,
        bnb_4bit_use_double_quant=False,
        llm_int8_skip_modules=list(UNQUANTIZED),  # for 4 bits too, whatever its name says
    )


def keep_plain(model: Any) -> None:
    """Forbid the repacking, before the first forward pass. Models without 4-bit layers are left as they are."""
    for layer in quantized_layers(model):
        if getattr(layer.weight.quant_state, "packing_format_for_cpu", False):
            raise RuntimeError("a forward pass in eval mode has repacked these weights already")
        layer.support_avx512bf16_for_cpu = False


def own_memory(model: Any) -> None:
    """Copy what was not quantized out of the mapped files: one view is enough to keep all of a file in memory."""
    layers = {id(layer.weight) for layer in quantized_layers(model)}
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in layers:
            tensor.data = tensor.data.clone()


def quantized_layers(model: Any) -> Iterator[Any]:
    """The 4-bit layers of ``model``; none where bitsandbytes is not loaded."""
    return (module for module in model.modules() if type(module).__name__ == "Linear4bit")


def quantized_bytes(model: Any) -> int:
    """What 4-bit weights take beyond their parameters: the blocks' scales and the code books, in bytes."""
    tensors: dict[int, Any] = {}
    for layer in quantized_layers(model):
        state = layer.weight.quant_state
        tensors |= {tensor.data_ptr(): tensor for tensor in (state.absmax, state.code)}
    total: int = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return total
