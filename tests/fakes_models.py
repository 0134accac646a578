"""Models, machines and clocks that cost nothing: for tests of the catalog, placement and the pool.

A fake model's folder is a real one (a config, safetensors of zeros written byte by byte, a card), so that everything up
to the weights' values is read as in earnest. The fake loader makes no tensors.
"""

from __future__ import annotations

import json
import struct
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.catalog.catalog import Located
from core.catalog.facts import ModelFacts
from core.catalog.shapes import tensors_of
from core.runtime.devices import Device
from core.runtime.lanes import Lane
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.placement import Placement

GB = 10**9

TINY_LLAMA: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64, "hidden_size": 16,
    "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 32, "tie_word_embeddings": True, "dtype": "float32",
}  # fmt: skip


def safetensors_bytes(config: dict[str, Any], skip: tuple[str, ...] = ()) -> bytes:
    """A safetensors file of zeros with the tensors that ``config`` implies."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors_of(config):
        if tensor.name not in skip:
            header[tensor.name] = {
                "dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [end, end + tensor.bytes],
            }  # fmt: skip
            end += tensor.bytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def model_files(config: dict[str, Any] | None = None, card: str = "") -> dict[str, bytes]:
    """The files of a small model by name."""
    config = config or TINY_LLAMA
    files = {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": safetensors_bytes(config),
        "tokenizer.json": json.dumps(_TOKENIZER).encode(),
        "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}',
    }
    return {**files, "README.md": card.encode()} if card else files


_TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None, "decoder": None,
    "added_tokens": [
        {"id": 0, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True},
    ],
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": {"<|endoftext|>": 0, "once": 1, "upon": 2}, "unk_token": "<|endoftext|>"},
}  # fmt: skip


def write_model(folder: Path, config: dict[str, Any] | None = None, card: str = "") -> Path:
    """A small model's folder on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in model_files(config, card).items():
        (folder / name).write_bytes(data)
    return folder


def cpu(free: float = 12 * GB, total: float = 16 * GB) -> Device:
    return Device("cpu", "CPU, 8 cores", int(total), int(free), 8, True)


def cuda(
    index: int = 0, total: float = 16 * GB, free: float | None = None, *, bf16: bool = True, label: str = "GPU"
) -> Device:
    return Device(f"cuda:{index}", label, int(total), int(total * 0.97 if free is None else free), None, bf16)


def mps(total: float = 11 * GB, free: float = 8 * GB, *, bf16: bool = True) -> Device:
    return Device("mps", "Apple arm64", int(total), int(free), None, bf16)


class FakeClock:
    """Stands still until told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeCatalog:
    """Models by name, all of one shape; ``refused`` maps a name to whom it lets in."""

    facts_by_name: dict[str, ModelFacts]
    readers: dict[str, set[str | None]] = field(default_factory=dict)
    refusal: Exception = field(default_factory=lambda: PermissionError("not for you"))

    def authorize(self, name: str, token: str | None = None) -> None:
        if name in self.readers and token not in self.readers[name]:
            raise self.refusal

    def locate(self, name: str, token: str | None = None, largest: int | None = None) -> Located:
        self.authorize(name, token)
        return Located(name, Path(name), self.facts_by_name[name], "bundled")

    def facts(self, name: str) -> ModelFacts:
        return self.facts_by_name[name]


def named(facts: ModelFacts, *names: str) -> dict[str, ModelFacts]:
    """The same shape under several names."""
    return {name: replace(facts, name=name, title=name) for name in names}


class FakeLoader:
    """Counts loads. ``gate`` holds them back; ``errors`` are raised in turn, None meaning success."""

    def __init__(self) -> None:
        self.loads: list[ModelSpec] = []
        self.placements: list[Placement] = []
        self.gate: threading.Event | None = None
        self.started = threading.Event()
        self.errors: list[BaseException | None] = []
        self._lock = threading.Lock()

    def __call__(self, located: Located, placement: Placement, *, spec: ModelSpec, lane: Lane) -> LoadedModel:
        with self._lock:
            self.loads.append(spec)
            self.placements.append(placement)
            error = self.errors.pop(0) if self.errors else None
        self.started.set()
        if self.gate is not None:
            assert self.gate.wait(30), "the test never opened the gate"
        if error is not None:
            raise error
        device: Any = placement.device
        return LoadedModel(spec, located.facts, placement, object(), object(), lane, device, placement.weight_bytes)
