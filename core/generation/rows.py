"""One sequence that is being generated: what it was asked, what it has so far, and the mailbox to its reader.

Two threads meet here. The lane's thread calls ``take``, ``end`` and ``fail``; the run's thread iterates ``readings``.
Readings travel in small parcels, at most some thirty a second, because waking a thread for every token costs more than
computing one does on a small model; the first comes at once. A row is ``gone`` when its run was cancelled or its
reader left; the lane then drops it before the next token.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.readings import Finish, TokenReading, reading_of
from core.generation.text_stream import StopMatcher
from core.runtime.loading import LoadedModel

PARCEL_SECONDS = 0.03
_LOOK_AGAIN = 0.1
"""How often a waiting reader asks whether it was cancelled, in seconds."""


class Row:
    """``prompt`` are the ids its text continues (an encoder-decoder's decoder start); ``limit`` caps the new tokens."""

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: Sequence[int],
        sampling: SamplingParameters,
        stop: StopConditions,
        *,
        limit: int,
        visitor: str,
        cancelled: Callable[[], bool],
    ) -> None:
        self.prompt = tuple(prompt)
        self.sampling = sampling
        self.limit = limit
        self.visitor = visitor
        self.generator = torch.Generator(loaded.device).manual_seed(sampling.seed)
        self._cancelled = cancelled
        self._left = False
        self._end_tokens = frozenset() if stop.ignore_eos else end_tokens(loaded)
        self._stops = StopMatcher(loaded.tokenizer, stop.stop_strings) if stop.stop_strings else None
        self._ids = list(prompt)
        self._parcel: list[TokenReading] = []
        self._sent = 0.0
        self._mailbox: queue.SimpleQueue[list[TokenReading] | BaseException | None] = queue.SimpleQueue()

    @property
    def gone(self) -> bool:
        """Whether nobody wants its next token."""
        return self._left or self._cancelled()

    @property
    def left_to_make(self) -> int:
        """New tokens until ``limit``."""
        return self.limit - (len(self._ids) - len(self.prompt))

    def take(self, numbers: Sequence[float], now: float) -> bool:
        """Accept the next token with its readings at time ``now``; True when the row goes on after it."""
        index = len(self._ids) - len(self.prompt)
        self._ids.append(int(numbers[0]))
        finished = self._finished(index + 1)
        self._parcel.append(reading_of(numbers, index, finished))
        if finished or now - self._sent >= PARCEL_SECONDS:
            self._mailbox.put(self._parcel)
            self._parcel, self._sent = [], now
        return finished is None

    def end(self) -> None:
        """Tell the reader that nothing more comes."""
        self._mailbox.put(None)

    def fail(self, error: BaseException) -> None:
        """Make the reader raise ``error``."""
        self._mailbox.put(error)

    def readings(self) -> Iterator[TokenReading]:
        """Each token as it comes. Ends early, without a word, when the run was cancelled."""
        try:
            while not self._cancelled():
                try:
                    mail = self._mailbox.get(timeout=_LOOK_AGAIN)
                except queue.Empty:
                    continue
                if mail is None:
                    return
                if isinstance(mail, BaseException):
                    raise mail
                for reading in mail:
                    if self._cancelled():
                        return
                    yield reading
                    if reading.finished:
                        return
        finally:
            self._left = True

    def _finished(self, count: int) -> Finish | None:
        if self._ids[-1] in self._end_tokens:
            return "eos"
        if self._stops is not None and self._stops.ends(self._ids):
            return "stop"
        return "length" if count >= self.limit else None


def end_tokens(loaded: LoadedModel) -> frozenset[int]:
    """The ids at which this model's text ends, as ``generate()`` takes them from the generation config."""
    ids = loaded.model.generation_config.eos_token_id
    if ids is None:
        return frozenset()
    return frozenset([ids] if isinstance(ids, int) else ids)


def clock() -> float:
    """Seconds, for ``Row.take``."""
    return time.monotonic()
