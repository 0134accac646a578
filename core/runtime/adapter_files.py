"""An adapter's file in half the bytes, for adapters that ship."""

from __future__ import annotations

from pathlib import Path


def halve(stored: Path, out: Path) -> None:
    """Write the safetensors file ``stored`` as ``out``, its numbers as float16."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(stored)
    halved = {name: tensor.to(torch.float16).contiguous() for name, tensor in tensors.items()}
    save_file(halved, out, metadata={"format": "pt"})
