"""What a training leaves on disk: checkpoints to go on from, the result, and TensorBoard's event files.

Promises
- The result's ``benchtop.json`` is written last, so that a model that can be seen is whole; weights are safetensors,
  and the pickled arguments that the trainers add are taken out.
- A run that goes on from another copies what it needs (by hard links where the disk has them); the older run's folder
  is read only.
- The event files hold the whole curve, the part before a resume included.

Does not read weights: the trainers load their own checkpoints.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.runtime.run_folder import folder_bytes

CHECKPOINTS, MODEL, TENSORBOARD = "checkpoints", "model", "tensorboard"
CARD = "benchtop.json"
_STATE = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def checkpoint_step(checkpoint: Path) -> int:
    """The optimizer step that a checkpoint folder was written at."""
    found = _NAME.fullmatch(checkpoint.name)
    return int(found.group(1)) if found else 0


def last_checkpoint(run_folder: Path) -> Path | None:
    """The newest whole checkpoint of a run; one whose writing was cut off is passed over."""
    folders = [path for path in (run_folder / CHECKPOINTS).glob("checkpoint-*") if _is_whole(path)]
    return max(folders, key=checkpoint_step, default=None)


def _is_whole(checkpoint: Path) -> bool:
    """The trainer writes its state last, and unreadable JSON means that it did not get to the end."""
    try:
        json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return _NAME.fullmatch(checkpoint.name) is not None


def adopt(earlier: Path, folder: Path) -> Path:
    """Copy what a run needs to go on from ``earlier``, another run's folder; the copied checkpoint.

    The best checkpoint so far comes too, and the copied state points to it. Raises ``BadInput`` without a checkpoint.
    """
    last = last_checkpoint(earlier)
    if last is None:
        raise BadInput("That run left no checkpoint to go on from.", "Start a new one; it saves one every few steps.")
    target = folder / CHECKPOINTS / last.name
    _copy(last, target)
    state = json.loads((target / _STATE).read_text(encoding="utf-8"))
    best = state.get("best_model_checkpoint")
    if best:
        source = earlier / CHECKPOINTS / Path(best).name
        if source != last and _is_whole(source):
            _copy(source, folder / CHECKPOINTS / source.name)
        kept = folder / CHECKPOINTS / source.name
        state["best_model_checkpoint"] = str(kept) if kept.is_dir() else None
        _replace(target / _STATE, state)
    return target


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _replace(path: Path, value: dict[str, Any]) -> None:
    """Write a file anew, never through a hard link."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def finish_model(folder: Path, card: dict[str, Any]) -> int:
    """Make a saved model presentable: no pickles, no path of this machine, ``benchtop.json`` last. Its bytes."""
    for leftover in ("training_args.bin", "README.md"):
        (folder / leftover).unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    if config.is_file():
        values = json.loads(config.read_text(encoding="utf-8"))
        _replace(config, values | {"base_model_name_or_path": card["base"]})
    _replace(folder / CARD, card)
    return folder_bytes(folder)


class EventFiles:
    """TensorBoard's event files, written in bulk: at evaluations, checkpoints and the end, never within a step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[tuple[str, float, int, float]] = []
        self._writer: Any = None

    def add(self, kind: str, step: int, values: dict[str, Any], at: float) -> None:
        """Remember the numbers of a "train" or "eval" step for the next ``flush``; ``at`` is unix seconds."""
        self._waiting += [
            (f"{kind}/{name}", float(value), step, at) for name, value in values.items() if _is_number(value)
        ]

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder))
        waiting, self._waiting = self._waiting, []
        for tag, value, step, at in waiting:
            self._writer.add_scalar(tag, value, step, walltime=at, new_style=True)
        self._writer.flush()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def curve_until(records: Iterable[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """The records of an earlier run that a run going on from ``step`` shows as its own."""
    kept = ("train", "eval", "samples", "reading")
    return [
        record
        for record in records
        if record.get("kind") == "step" and record.get("name") in kept and record.get("index", 0) <= step
    ]
