"""What this machine can compute on, and how much memory is left there.

Promises: best device first; bytes are what a new allocation can have now, a container's limit included; torch is
imported only when devices are looked for. Does not reserve anything.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_TRIM_SECONDS, _TRIM_REST = 0.02, 3


@dataclass(frozen=True, slots=True)
class Device:
    """A place to compute: ``name`` is torch's ("cpu", "cuda:0", "mps"), ``bf16`` whether it computes in bfloat16."""

    name: str
    label: str
    total_bytes: int
    free_bytes: int
    cores: int | None
    bf16: bool

    @property
    def type(self) -> str:
        """ "cpu", "cuda" or "mps"."""
        return self.name.split(":")[0]


def detect_devices() -> tuple[Device, ...]:
    """All devices, best first: graphics cards by free memory, then Apple's, then the CPU, which is always there."""
    return (*_cuda(), *_mps(), _cpu())


def process_memory() -> int:
    """Bytes of this process that lie in main memory now."""
    return int(psutil.Process().memory_info().rss)


def synchronize(device: str) -> None:
    """Wait until what was sent to ``device`` is done, for a clock that is to be read; a CPU has done it already."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def give_back(device: str) -> None:
    """Return memory of dropped tensors on ``device`` to the system, as far as the allocator lets go of it."""
    gc.collect()
    _trim()
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif torch is not None and device == "mps":
        torch.mps.empty_cache()


@contextmanager
def small_heap() -> Iterator[None]:
    """Hand back what the body frees as it goes.

    Where short-lived tensors alternate with such that stay, as when weights are quantized one by one, glibc's heap
    otherwise grows to several times what is in use.
    """
    ended = threading.Event()

    def run() -> None:
        wait = _TRIM_SECONDS
        while not ended.wait(wait):
            start = time.thread_time()
            _trim()
            wait = max(_TRIM_SECONDS, _TRIM_REST * (time.thread_time() - start))  # it holds up who allocates

    thread = threading.Thread(target=run, name="small-heap", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _trim() -> None:
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; it keeps much of what it is given back
        if trim is not None:
            trim(0)


def _cpu() -> Device:
    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    limit = container_limit(_CGROUP)
    if limit is not None and limit[0] < total:
        total, free = limit[0], min(free, limit[1])
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows and macOS
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return Device("cpu", f"CPU, {cores} core{'s' * (cores > 1)}", total, free, cores, True)


def container_limit(root: Path) -> tuple[int, int] | None:
    """A container's (limit, free) bytes from the cgroup files below ``root``; None without a limit.

    Cached file pages count as free: the kernel drops them when memory is asked for.
    """
    for limit, used, stat, inactive in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            most, taken = (root / limit).read_text().strip(), int((root / used).read_text())
            lines = (line.split() for line in (root / stat).read_text().splitlines())
            cached = next((int(line[1]) for line in lines if line[0] == inactive), 0)
        except (OSError, ValueError):
            continue  # no container, or the other version of the interface
        if not most.isdigit():
            return None
        return int(most), max(0, int(most) - taken + cached)
    return None


def _cuda() -> list[Device]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        with torch.cuda.device(index):
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        found.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), total, free, None, bf16))
    return sorted(found, key=lambda device: -device.free_bytes)


def _mps() -> list[Device]:
    import torch

    if not torch.backends.mps.is_available():
        return []
    total = int(torch.mps.recommended_max_memory())
    free = min(total - int(torch.mps.driver_allocated_memory()), int(psutil.virtual_memory().available))
    return [
        Device(
            "mps", f"Apple {platform.machine()}", total, max(0, free), None, torch.backends.mps.is_macos_or_newer(14, 0)
        )
    ]
