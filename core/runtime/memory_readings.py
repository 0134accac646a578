"""What memory the system says is in use: now, at the peak of a piece of work, and afterwards.

Promises: read from the operating system or from torch's allocator on a GPU, never worked out; what cannot be read is
None. A peak on the CPU is the kernel's own mark where it may be set back (Linux), else the highest of samples taken
while the work goes on. Readings are of the whole process: other work at the same time is in them, and only one reading
is taken at a time.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.runtime.devices import give_back, process_memory

_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_SAMPLE_SECONDS = 0.005
_ONE = threading.Lock()


@dataclass(slots=True)
class LoadReading:
    """What a load took: ``seconds``; ``peak_bytes`` and ``steady_bytes`` above what was in use before, on the device.

    The bytes are None where they cannot be read.
    """

    seconds: float = 0.0
    peak_bytes: int | None = None
    steady_bytes: int | None = None


@contextmanager
def reading(device: str) -> Iterator[LoadReading]:
    """Read the body's memory on ``device``; the reading is complete when the body has ended without an error."""
    taken = LoadReading()
    with _ONE:
        give_back(device)
        gc.freeze()  # what is there already need not be looked through again
        try:
            before, peak = memory_in_use(device), _Peak(device)
            start = time.perf_counter()
            try:
                yield taken
            finally:
                highest = peak.stop()
            taken.seconds = time.perf_counter() - start
            give_back(device)
            after = memory_in_use(device)
        finally:
            gc.unfreeze()
    if before is not None and after is not None and highest is not None:
        taken.peak_bytes = max(highest, after) - before
        taken.steady_bytes = after - before


def memory_in_use(device: str) -> int | None:
    """Bytes of this process on ``device``: resident in main memory, or held by tensors on a graphics card."""
    if device == "cpu":
        return process_memory()
    torch = _torch()
    if device.startswith("cuda"):
        return int(torch.cuda.memory_allocated(device))
    return int(torch.mps.current_allocated_memory()) if device == "mps" else None


class _Peak:
    """The highest use since it was made, in bytes."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._sampler: _Sampler | None = None
        if device.startswith("cuda"):
            _torch().cuda.reset_peak_memory_stats(device)
        elif device != "cpu" or not _set_back():
            self._sampler = _Sampler(device)

    def stop(self) -> int | None:
        if self._sampler is not None:
            return self._sampler.stop()
        if self._device.startswith("cuda"):
            return int(_torch().cuda.max_memory_allocated(self._device))
        return resident_peak()


class _Sampler:
    """Looks every few milliseconds from a thread of its own."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._highest = memory_in_use(device)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-reading", daemon=True)
        self._thread.start()

    def stop(self) -> int | None:
        self._ended.set()
        self._thread.join()
        return self._highest

    def _run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            now = memory_in_use(self._device)
            if now is not None and self._highest is not None:
                self._highest = max(self._highest, now)


def resident_peak() -> int | None:
    """The most bytes of this process that were in main memory since the mark was set back; None where not kept."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def _set_back() -> bool:
    """Let the kernel's mark begin anew at what is in use now; False where that is not allowed."""
    try:
        _REFS.write_text("5", encoding="ascii")
    except OSError:
        return False
    highest = resident_peak()
    return highest is not None and highest < 1.05 * process_memory() + 16_000_000  # else it has not been set back


def _torch() -> Any:
    import torch

    return torch
