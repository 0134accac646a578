"""What training a model takes, in bytes, from its shape alone.

Promises: pure; the parts add up to the total, which is the peak. Counted from what autograd keeps (transformers 5.23,
TRL 1.16, sdpa, float32), per token and layer, h the hidden size, i the inner one, k the keys', s the row's length:
- gated families (Llama, Mistral, Qwen): 6h + 2k + 4i numbers, 2h more when norms are trained;
- families with dropout on attention, which keep the attention matrix: 10h + 3 heads s, and 5i (GPT-2) or 2i (BERT).
- TRL reads out tiles of at most 4096 tokens by 32768 words, in float32; its backward pass holds 8.25 of them.
- weights: what their scheme stores (see ``schemes``).

The peak is where the backward pass begins (activations, tiles, the output matrix's gradient) or where it ends (all
gradients, and the input embedding's own before it is added); ``activations`` is what that takes beyond the gradients.
On a CPU they also hold what glibc's heap cannot fill again between tensors below 32 MiB (larger ones are mapped and
given back whole): 0.6 of those, as ``python -m bench memory_plan`` measures it. Other allocators are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.catalog.facts import ModelFacts
from core.runtime.schemes import Dtype, Quantized, scheme_bytes

_TILE_TOKENS, _TILE_WORDS, _TILES = 4096, 32768, 8.25
_GATED = ("Llama", "Mistral", "Qwen", "Phi3", "Gemma", "SmolLM")
_HEAP_LARGEST, _HEAP_GAPS = 32 * 1024 * 1024, 0.6


@dataclass(frozen=True, slots=True)
class TrainingDetails:
    """``rows`` of ``context`` tokens in a pass; ``trainable`` parameters, None meaning all of the model's.

    ``heap``: tensors come from the C library's heap, as on a CPU.
    """

    rows: int
    context: int
    trainable: int | None = None
    quantization: Quantized | None = None
    checkpointing: bool = False
    bytes_per_number: int = 4
    heap: bool = False


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes of each part at the peak of a step."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """The peak, in bytes."""
        return self.weights + self.gradients + self.optimizer + self.activations


def training_plan(facts: ModelFacts, details: TrainingDetails) -> TrainingMemory:
    """What a step of AdamW takes: float32 gradients and two float32 moments for each trained parameter."""
    trained = facts.parameters if details.trainable is None else details.trainable
    whole = details.trainable is None
    embeddings = 4 * facts.vocab_size * facts.hidden_size if whole else 0
    kept, tiles = _kept(facts, details, whole), _tiles(facts, details)
    first = kept + tiles + embeddings
    last = 4 * trained + embeddings
    gaps = _gaps(facts, details, kept, tiles) if details.heap else 0
    dtype: Dtype = "float32" if details.bytes_per_number == 4 else "bfloat16"
    return TrainingMemory(
        weights=scheme_bytes(facts, details.quantization or dtype, dtype) + (0 if whole else 4 * trained),
        gradients=4 * trained,
        optimizer=8 * trained,
        activations=max(first, last) - 4 * trained + gaps,
    )


def _kept(facts: ModelFacts, details: TrainingDetails, whole: bool) -> int:
    """What the forward pass keeps for the backward pass."""
    width, inner = facts.hidden_size, facts.intermediate_size
    if facts.architecture.startswith(_GATED):
        layer = (8 if whole else 6) * width + 2 * facts.kv_heads * facts.head_dim + 4 * inner
    else:
        layer = 10 * width + (2 if facts.kind == "encoder" else 5) * inner + 3 * facts.heads * details.context
    numbers = facts.layers * width + layer if details.checkpointing else facts.layers * layer
    return details.rows * details.context * (numbers + 2 * width) * details.bytes_per_number


def _tiles(facts: ModelFacts, details: TrainingDetails) -> int:
    """What reading out the next words takes; labels are few."""
    if facts.kind == "encoder":
        return 0
    return int(_TILES * _tile(facts, details))


def _tile(facts: ModelFacts, details: TrainingDetails) -> int:
    return 4 * min(details.rows * details.context, _TILE_TOKENS) * min(facts.vocab_size, _TILE_WORDS)


def _gaps(facts: ModelFacts, details: TrainingDetails, kept: int, tiles: int) -> int:
    """What the heap holds between tensors that come and go."""
    widest = details.rows * details.context * facts.intermediate_size * details.bytes_per_number
    on_heap = (kept if widest < _HEAP_LARGEST else 0) + (tiles if _tile(facts, details) < _HEAP_LARGEST else 0)
    return int(_HEAP_GAPS * on_heap)
