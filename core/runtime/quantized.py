"""Quantized weights: how each scheme is asked for, kept exact where that matters, and counted.

Promises
- Linear layers are quantized, with bitsandbytes GPT-2's transposed ones too. Heads, embeddings and norms stay as they
  are.
- A model that is prepared for training keeps the plain layout. On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks
  4-bit weights in place in the first forward pass in eval mode; from then on gradients and merges are wrong without a
  word. ``keep_plain`` forbids it, at the price of slower decoding. Layers that do not go into the fast layout never get
  it.
- ``unpack`` takes the fast layout back, so that the weights can be written to files. The library's own way back leaves
  the scales transposed. What the fast layout has rounded stays rounded (scales to bfloat16), and scales that were
  quantized in turn are quantized anew.
- The bytes of a model count all that its layers keep: scales, tables, offsets, zero points.

Sources: Dettmers et al., LLM.int8() (2022) and QLoRA (2023). Does not decide which models are quantized.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core.runtime.schemes import BLOCK

if TYPE_CHECKING:
    import torch

UNQUANTIZED = (
    "lm_head", "embed_out", "score", "classifier", "pre_classifier", "pooler", "cls", "vocab_transform",
    "vocab_projector", "qa_outputs",
)  # fmt: skip
"""Modules that keep their precision: what reads out the last hidden states."""
_PACKED_OUTPUTS = 32
"""The fast layout holds outputs in groups of this many, and inputs in whole blocks."""
_TALKATIVE = (
    "bitsandbytes.autograd._functions",  # a line for each product with inputs that are cast
    "bitsandbytes.backends.cpu.ops",  # an optional kernel that is fetched from the Hub
    "torchao",  # extensions for other processors, which it tries to load
    "torch.utils._pytree",  # how torchao registers its types
)


def quantization_config(scheme: str, compute_dtype: torch.dtype) -> Any:
    """What ``from_pretrained`` takes as ``quantization_config`` for a quantized scheme."""
    from transformers import BitsAndBytesConfig, TorchAoConfig

    kept = list(UNQUANTIZED)
    if scheme == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    if scheme in ("int8-weight-only", "int8-dynamic"):
        from torchao import quantization as ao  # type: ignore[import-untyped]  # ships no types

        kind = ao.Int8WeightOnlyConfig if scheme == "int8-weight-only" else ao.Int8DynamicActivationInt8WeightConfig
        return TorchAoConfig(kind(set_inductor_config=False), modules_to_not_convert=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=scheme.removesuffix("-double"),
        bnb_4bit_compute_dtype=compute_dtype,
        bnb_4bit_use_double_quant=scheme.endswith("-double"),
        llm_int8_skip_modules=kept,  # for 4 bits too, whatever its name says
    )


def quiet_libraries() -> None:
    """Keep what the libraries say at import and in each pass out of the log; errors stay."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)


def keep_plain(model: Any) -> None:
    """Forbid the repacking, before the first forward pass. Models without 4-bit layers are left as they are."""
    for layer in quantized_layers(model):
        if _is_packed(layer):
            raise RuntimeError("a forward pass in eval mode has repacked these weights already")
        layer.support_avx512bf16_for_cpu = False


def keep_odd_plain(model: Any) -> None:
    """Forbid the repacking where it would fail: layers whose sizes the fast layout does not divide."""
    for layer in quantized_layers(model):
        if layer.out_features % _PACKED_OUTPUTS or layer.in_features % BLOCK:
            layer.support_avx512bf16_for_cpu = False


def unpack(model: Any) -> None:
    """Take the fast layout back, in place; the next forward pass may make it again."""
    from bitsandbytes.functional import _convert_weight_packed_for_cpu_inverse

    for layer in quantized_layers(model):
        if not _is_packed(layer):
            continue
        weight = layer.weight
        weight.data, state = _convert_weight_packed_for_cpu_inverse(weight.data, weight.quant_state)
        if not state.nested:
            state.absmax = state.absmax.T.reshape(-1).float()
        weight.quant_state = layer.quant_state = state


def own_memory(model: Any) -> None:
    """Copy what was not quantized out of the mapped files: one view is enough to keep all of a file in memory."""
    for module in model.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if not constants(tensor):
                tensor.data = tensor.data.clone()


def quantized_layers(model: Any) -> Iterator[Any]:
    """The 4-bit layers of ``model``; none where bitsandbytes is not loaded."""
    return (module for module in model.modules() if type(module).__name__ == "Linear4bit")


def quantized_bytes(model: Any) -> int:
    """What quantized weights take beyond a byte or half a byte per number: scales, tables, zero points, in bytes."""
    return _total(tensor for module in model.modules() for tensor in _layer_constants(module))


def model_bytes(model: Any) -> int:
    """All that a model keeps in memory, in bytes: parameters, buffers and quantized weights' constants, each once."""
    tensors = (*model.parameters(), *model.buffers())
    return _total(_stored(tensor) for tensor in tensors) + quantized_bytes(model)


def constants(tensor: Any) -> tuple[Any, ...]:
    """The tensors that are kept beside a quantized weight; none for a plain one."""
    if type(tensor).__name__ == "Int8Tensor":
        return tuple(part for part in (tensor.scale, tensor.zero_point) if part is not None)
    state = getattr(tensor, "quant_state", None)
    if state is not None:
        nested = getattr(state, "state2", None)
        found = (state.absmax, state.code, state.offset, *((nested.absmax, nested.code) if nested else ()))
        return tuple(part for part in found if part is not None)
    scale = getattr(tensor, "SCB", None)
    return () if scale is None else (scale,)


def _layer_constants(module: Any) -> tuple[Any, ...]:
    found = [part for tensor in module.parameters(recurse=False) for part in constants(tensor)]
    state = getattr(module, "state", None)  # after a pass, an 8-bit layer keeps its scales here
    scale = getattr(state, "SCB", None) if type(module).__name__ == "Linear8bitLt" else None
    return (*found, *(() if scale is None else (scale,)))


def _stored(tensor: Any) -> Any:
    """What holds a parameter's numbers: torchao wraps it."""
    return tensor.qdata if type(tensor).__name__ == "Int8Tensor" else tensor


def _total(tensors: Iterator[Any]) -> int:
    once = {tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in tensors}
    return sum(once.values())


def _is_packed(layer: Any) -> bool:
    return bool(getattr(layer.weight.quant_state, "packing_format_for_cpu", False))
