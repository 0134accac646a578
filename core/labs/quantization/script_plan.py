"""The memory plan's part of the exported script: shapes from transformers' own model on the meta device, no weights.

Promises: the same bytes as the run's rows; the formulas are the very functions that the plan was made with, as source.
It loads neither weights nor a tokenizer, and prints a JSON line for each row and one for the KV cache.
"""

from __future__ import annotations

from typing import Any

from core.catalog import parts
from core.catalog.facts import ModelFacts
from core.catalog.known import CONFIGS, is_known
from core.labs.quantization.planning import memory_plan
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.script_text import source_of
from core.runtime import placement, schemes, training_memory

IMPORTS = (
    "import json",
    "import re",
    "from dataclasses import dataclass",
    "from typing import NamedTuple",
    "import torch",
    "import transformers",
    "from transformers.pytorch_utils import Conv1D",
)
"""What these lines use, for the top of the script."""
_FACTS = '''
class TensorInfo(NamedTuple):
    """A weight matrix as it is stored."""

    shape: tuple[int, ...]
    count: int


class ModelFacts(NamedTuple):
    """The model's shape."""

    kind: str
    architecture: str
    parameters: int
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
'''
_SHAPES = '''
with torch.device("meta"):
    model = getattr(transformers, FACTS.architecture)(CONFIG)
linears = {
    name: module
    for name, module in model.named_modules()
    if isinstance(module, (torch.nn.Linear, Conv1D)) and not HEAD.search(name)
}
TRANSPOSED = any(isinstance(module, Conv1D) for module in linears.values())
IN_FLOAT32 = "wo" if FACTS.architecture.startswith("T5") else None
packed = [module.weight for name, module in linears.items() if name.rpartition(".")[2] != IN_FLOAT32]
packed = [TensorInfo(tuple(weight.shape), weight.numel()) for weight in packed]
TRAINED = sum(RANK * sum(module.weight.shape) for module in linears.values())


def scheme_bytes(facts: ModelFacts, scheme: str, dtype: str) -> int:
    """Bytes of the weights: packed linear layers with their constants, the rest in ``dtype``."""
    if scheme in DTYPE_BYTES:
        return facts.parameters * DTYPE_BYTES[scheme]
    rest = facts.parameters - sum(tensor.count for tensor in packed)
    return rest * DTYPE_BYTES[dtype] + sum(_layer_bytes(tensor, scheme, TRANSPOSED) for tensor in packed)
'''
_INFERENCE = '''
def inference(scheme: str) -> dict[str, int]:
    """Weights, KV cache, and one layer's activations with the logits of one position."""
    dtype = scheme if scheme in DTYPE_BYTES else "bfloat16"
    width = 4 * FACTS.hidden_size + 2 * FACTS.intermediate_size
    return {
        "weights": scheme_bytes(FACTS, scheme, dtype),
        "kv": kv_cache_bytes(FACTS, dtype, CONTEXT, BATCH),
        "activations": CONTEXT * BATCH * width * DTYPE_BYTES[dtype] + 4 * BATCH * FACTS.vocab_size,
        "gradients": 0,
        "optimizer": 0,
    }
'''
_TRAINING = '''
def training(use: str) -> dict[str, int]:
    """The peak of a step of AdamW, by part."""
    details = TrainingDetails(
        rows=BATCH,
        context=CONTEXT,
        trainable=None if use == "full" else TRAINED,
        quantization="nf4-double" if use == "qlora" else None,
        bytes_per_number=4 if use == "full" else 2,
    )
    memory = training_plan(FACTS, details)
    return {
        "weights": memory.weights,
        "kv": 0,
        "activations": memory.activations,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
    }
'''
_PRINT = """
for scheme, use in ROWS:
    taken = inference(scheme) if use == "inference" else training(use)
    print(json.dumps({"scheme": scheme, "use": use, "parts": taken, "total": sum(taken.values())}))
print(json.dumps({"kv_bytes_per_token": kv_cache_bytes(FACTS, "bfloat16", 1, 1)}))
"""


def lines(request: QuantizationRequest, facts: ModelFacts, name: str) -> str:
    """A plan's script below its imports; ``name`` is the folder or Hub name that the config is read from."""
    values, _ = memory_plan(request, facts)
    rows = [(one["scheme"], one["use"]) for one in values["rows"]]
    config = f"transformers.AutoConfig.from_pretrained({name!r})"
    if is_known(facts.name) and name == facts.name:
        known = {key: value for key, value in CONFIGS[name].items() if key != "dtype"}
        config = f"transformers.AutoConfig.for_model(**{known!r})"
    fields = ", ".join(f"{field}={getattr(facts, field)!r}" for field in _FIELDS)
    constants = (
        f"CONFIG = {config}\nFACTS = ModelFacts({fields})\n"
        f"CONTEXT, BATCH, RANK = {min(request.context, facts.context)}, {request.batch}, {request.rank}\n"
        f"ROWS = {rows!r}\n"
        f"DTYPE_BYTES = {schemes.DTYPE_BYTES!r}\nHEAD = re.compile({parts._HEAD.pattern!r})\n"
    )
    trains = any(use != "inference" for _, use in rows)
    pieces = [
        _FACTS,
        constants,
        _numbers(schemes, "BLOCK", "NESTED_BLOCK", "_TABLE_4", "_TABLE_8", "_OFFSET"),
        source_of(schemes._layer_bytes),
        _SHAPES,
        source_of(placement.kv_cache_bytes),
        _INFERENCE,
        *(_training() if trains else ()),
        _PRINT,
    ]
    return "\n\n".join(piece.strip("\n") + "\n" for piece in pieces)


_FIELDS = (
    "kind", "architecture", "parameters", "layers", "hidden_size", "heads", "kv_heads", "head_dim",
    "intermediate_size", "vocab_size",
)  # fmt: skip


def _training() -> tuple[str, ...]:
    own = training_memory
    return (
        "Dtype = Quantized = str\n"
        + _numbers(own, "_TILE_TOKENS", "_TILE_WORDS", "_TILES", "_GATED", "_HEAP_LARGEST", "_HEAP_GAPS"),
        source_of(own.TrainingDetails),
        source_of(own.TrainingMemory),
        *(source_of(one) for one in (own._kept, own._tile, own._tiles, own._gaps, own.training_plan)),
        _TRAINING,
    )


def _numbers(module: Any, *names: str) -> str:
    return "".join(f"{name} = {getattr(module, name)!r}\n" for name in names)
