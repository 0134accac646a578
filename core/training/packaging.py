"""A folder of results as one zip: safetensors, JSON and text, never anything that runs or unpickles.

The same folder gives the same bytes, whenever it is packed. Weights are stored, not squeezed: they hardly shrink.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from core.errors import NotFound

MODEL_FILES = (".safetensors", ".json", ".txt", ".jinja", ".md", ".model", ".onnx", ".data")
EVENT_FILES = (".tfevents",)
_WHEN = (1980, 1, 1, 0, 0, 0)
_STORED = (".safetensors", ".onnx", ".data")


def pack(
    folder: Path, destination: Path, *, inside: str, extra: Mapping[str, str] | None = None, events: bool = False
) -> int:
    """Write ``folder``'s model files (or, with ``events``, TensorBoard's) and ``extra`` texts; returns the bytes.

    They stand below ``inside`` in the zip. Raises ``NotFound`` when there is nothing to pack.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _wanted(path, events)]
    if not files:
        raise NotFound("This run left no such files.", "Choose a run that has ended.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            name = path.relative_to(folder).as_posix()
            if name not in (extra or {}):
                with path.open("rb") as source, archive.open(_entry(inside, name), "w", force_zip64=True) as target:
                    while chunk := source.read(1 << 20):
                        target.write(chunk)
        for name, text in (extra or {}).items():
            archive.writestr(_entry(inside, name), text)
    return destination.stat().st_size


def folder_bytes(folder: Path) -> int:
    """What all files below ``folder`` take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _wanted(path: Path, events: bool) -> bool:
    if events:
        return any(mark in path.name for mark in EVENT_FILES)
    return path.suffix in MODEL_FILES and not path.name.startswith(".")


def _entry(inside: str, name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{inside}/{name}", _WHEN)
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
