"""On how many CPU threads a pass computes.

Promises: whatever is chosen, torch's own number of threads is back afterwards. Small operations take less time than
handing them to another core does, and threads that wait for a core which is busy with something else take much longer
than one thread alone; so the number is chosen by the amount of work, and between the two by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

LITTLE_WORK = 20_000_000
"""Parameters times tokens up to which a pass computes on one thread."""
_TRIALS = 2
"""Passes of each kind when one and several threads are compared."""
_KEEP = (32, 256)
"""Passes until the next comparison: at first, and at most; each comparison that confirms the last one doubles it."""


@contextmanager
def suitable_threads(device: str, work: int) -> Iterator[None]:
    """Compute the body on as many CPU threads as it gains from. ``work`` is parameters times tokens of a pass."""
    with _threads(device, 1 if work <= LITTLE_WORK else _usual()):
        yield


class MeasuredThreads:
    """Passes of a small model over many rows: now one thread is faster and now several, as the other cores are busy.

    A few passes of each kind are timed from time to time, and those between them run as the faster kind did.
    """

    def __init__(self, device: str, parameters: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._device, self._parameters, self._clock = device, parameters, clock
        self._several = False
        self._keep = _KEEP[0]
        self._left = 0
        self._times: list[float] = []

    @contextmanager
    def suitable(self, tokens: int) -> Iterator[None]:
        """Compute a pass over ``tokens`` tokens."""
        work = self._parameters * tokens
        if self._device != "cpu" or work <= LITTLE_WORK or self._parameters > LITTLE_WORK or _usual() == 1:
            with suitable_threads(self._device, work):
                yield
            return
        comparing = self._left == 0
        several = len(self._times) >= _TRIALS if comparing else self._several
        begin = self._clock()
        with _threads(self._device, _usual() if several else 1):
            yield
        if comparing:
            self._compare(self._clock() - begin)
        else:
            self._left -= 1

    def _compare(self, seconds: float) -> None:
        self._times.append(seconds)
        if len(self._times) < 2 * _TRIALS:
            return
        several = min(self._times[_TRIALS:]) < min(self._times[:_TRIALS])
        self._keep = min(2 * self._keep, _KEEP[1]) if several == self._several else _KEEP[0]
        self._several, self._left, self._times = several, self._keep, []


@contextmanager
def _threads(device: str, wanted: int) -> Iterator[None]:
    import torch

    _usual()
    before = torch.get_num_threads()
    if device != "cpu" or before == wanted:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _usual() -> int:
    """Torch's own choice, asked before anything here has changed it."""
    import torch

    return torch.get_num_threads()
