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
_OURS = 0.8
"""Share of the cores' time from which on they count as ours."""


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


class StepThreads:
    """Threads for the steps of a training: all cores while they are ours, one while something else uses them.

    Threads that wait for each other at a core that is taken make a step take many times as long. That shows as less
    processor time than the threads should have had; then one step runs on one thread, and the faster kind is kept.
    """

    def __init__(
        self,
        device: str,
        clock: Callable[[], float] = time.perf_counter,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock, self._processor = clock, processor
        self._fixed = device != "cpu" or _usual() == 1
        self._several, self._trial = True, False
        self._left = 0
        self._several_took = 0.0
        self._began = (0.0, 0.0)

    def begin(self) -> None:
        """Call it before a step, on the thread that computes it."""
        if self._fixed:
            return
        import torch

        wanted = 1 if self._trial or not self._several else _usual()
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)
        self._began = self._clock(), self._processor()

    def end(self) -> None:
        """Call it after the step."""
        if self._fixed:
            return
        took, worked = self._clock() - self._began[0], self._processor() - self._began[1]
        if self._trial:
            self._trial, self._several, self._left = False, took >= self._several_took, _KEEP[0]
        elif self._left:
            self._left -= 1
            self._several = self._several or not self._left
        elif self._several and worked < _OURS * _usual() * took:
            self._trial, self._several_took = True, took

    @contextmanager
    def step(self) -> Iterator[None]:
        """One pass that is not a training's: torch's own number of threads is back after it."""
        import torch

        before = torch.get_num_threads()
        self.begin()
        try:
            yield
        finally:
            self.end()
            torch.set_num_threads(before)


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
