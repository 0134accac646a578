"""What tensors a folder holds, read from safetensors headers alone: names, shapes, dtypes, bytes.

Promises
- No weight is read, nothing is unpickled, no tensor library is imported.
- A file whose header and length disagree (a copy that was cut short) is refused here, before anything loads it.

Does not look at files that ``from_pretrained`` would not open: ``model.safetensors``, or the shards that
``model.safetensors.index.json`` names.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadModel

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
HEADER_BYTES = 100_000_000
"""The format's own limit on a header."""

DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_INTEGERS = {"I64", "I32", "I16", "BOOL"}
_COPY_AGAIN = "Download or copy the model again."


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One stored tensor. ``dtype`` is safetensors' word ("BF16"); ``bytes`` is its length in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        total = 1
        for size in self.shape:
            total *= size
        return total

    @property
    def is_buffer(self) -> bool:
        """Whether it is a constant that older files carry along (position ids, causal masks), not a parameter."""
        leaf = self.name.rsplit(".", 1)[-1]
        causal_mask = self.name.endswith("attn.bias") and len(self.shape) == 4
        return self.dtype in _INTEGERS or causal_mask or leaf in ("position_ids", "masked_bias", "inv_freq")


def folder_tensors(folder: Path) -> tuple[TensorInfo, ...]:
    """All parameters stored in ``folder``. Raises ``BadModel`` for pickled, missing or damaged weights."""
    tensors = [tensor for file in weight_files(folder) for tensor in read_header(file) if not tensor.is_buffer]
    if not tensors:
        raise BadModel(f"{folder.name} holds no weights.", "Choose another model.")
    return tuple(tensors)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that make up the model in ``folder``, in the order of their names."""
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if (folder / INDEX).is_file():
        return _shards(folder)
    raise without_safetensors(folder.name, [path.name for kind in PICKLES for path in folder.glob(kind)])


def without_safetensors(name: str, files: list[str]) -> BadModel:
    """The refusal of a model without safetensors weights; ``files`` are the pickles found in their place."""
    if files:
        return BadModel(
            f"{name} keeps its weights only in a pickle ({sorted(files)[0]}), and opening one can run any code.",
            f"Choose a model with a {WEIGHTS} file.",
        )
    return BadModel(f"{name} has no {WEIGHTS} file.", "Choose a model with safetensors weights.")


def read_header(path: Path) -> list[TensorInfo]:
    """The header of one safetensors file. Raises ``BadModel`` when it is damaged or cut short."""
    damaged = BadModel(f"{path.parent.name}/{path.name} is damaged or cut short.", _COPY_AGAIN)
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise damaged
        (length,) = struct.unpack("<Q", prefix)
        if length > min(HEADER_BYTES, size - 8):
            raise damaged
        try:
            header = json.loads(file.read(length))
            tensors = [_tensor(name, entry) for name, entry in header.items() if name != "__metadata__"]
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise damaged from error
    if 8 + length + end != size:
        raise damaged
    return tensors


def _tensor(name: str, entry: dict[str, Any]) -> TensorInfo:
    start, end = entry["data_offsets"]
    return TensorInfo(name, tuple(int(n) for n in entry["shape"]), str(entry["dtype"]), int(end) - int(start))


def indexed_files(folder: Path) -> tuple[str, ...]:
    """The names of the shards that the index in ``folder`` lists, whether they are there or not."""
    index = read_json(folder / INDEX)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadModel(f"{folder.name}/{INDEX} names no weights.", _COPY_AGAIN)
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise BadModel(f"{folder.name}/{INDEX} names a file outside its folder.", "Choose another model.")
    return tuple(names)


def _shards(folder: Path) -> tuple[Path, ...]:
    names = indexed_files(folder)
    for name in names:
        if not (folder / name).is_file():
            raise BadModel(f"{folder.name} lacks {name}, which its index names.", _COPY_AGAIN)
    return tuple(folder / name for name in names)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from ``path``. Raises ``BadModel`` for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{path.parent.name}/{path.name} is no valid JSON.", _COPY_AGAIN) from error
    if not isinstance(value, dict):
        raise BadModel(f"{path.parent.name}/{path.name} is no JSON object.", _COPY_AGAIN)
    return value
