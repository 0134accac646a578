"""A quantized model as a folder: written from memory, and read back through the same door as every model.

Promises
- The folder holds safetensors, the config with how it was quantized, and the tokenizer: ``from_pretrained`` opens it
  with the scheme's library and nothing else.
- What is written is what the layers hold. Before the first forward pass that is exactly what quantizing made; where a
  CPU's fast layout has rounded the scales since (see ``quantized``), it is the rounded ones. The model in memory and
  the one that is read back compute with the same numbers from then on.
- Reading back needs no network.

The caller sees to it that no forward pass runs meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.catalog.catalog import Located
from core.errors import BadInput
from core.runtime.loading import LoadedModel, load
from core.runtime.quantized import unpack


def save_quantized(loaded: LoadedModel, folder: Path) -> int:
    """Write the model into ``folder``, which is made; returns the bytes of its files.

    Raises ``BadInput`` for a model that is not quantized.
    """
    if loaded.spec.quantization is None:
        raise BadInput(
            f"{loaded.facts.title} is not quantized: its files are there already.", "Choose a quantized scheme."
        )
    folder.mkdir(parents=True, exist_ok=True)
    unpack(loaded.model)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o644)  # the weights come out readable by their owner alone
    return sum(path.stat().st_size for path in files)


def load_saved(folder: Path, like: LoadedModel) -> LoadedModel:
    """The model that ``save_quantized`` wrote, on the device and under the scheme of ``like``."""
    located = Located(like.spec.base, folder, like.facts, like.facts.source)
    return load(located, like.placement, spec=replace(like.spec, turn=0), lane=like.lane)
