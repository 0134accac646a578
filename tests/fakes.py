"""Stand-ins that the tests share: a clock that is set by hand, and bodies of runs that do what a test tells them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from core.events import Candidate, Done, Event, Progress, Token
from core.runtime.runner import RunContext

PATIENCE = 20.0
"""Seconds after which a test gives up on something that should have happened; nothing ever waits that long."""


class FakeClock:
    """Seconds that pass only when told to; stands in for ``time.monotonic`` and ``time.time``."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


def token(index: int, *, column: int = 0, candidates: int = 10) -> Token:
    """A token as a decoding run says it, with readings that depend on ``index``."""
    top = tuple(Candidate(id=i, text=f" word{i}", p=round(0.5 / (i + 1), 6)) for i in range(candidates))
    return Token(
        column=column,
        index=index,
        id=index % 97,
        text=f" t{index}",
        piece=f"Ġt{index}",
        logprob=-0.25 * (index % 8),
        rank=1 + index % 3,
        entropy=1.5,
        top=top,
    )


def says(*events: Event) -> Callable[[RunContext], Iterator[Event]]:
    """A body that yields these events."""

    def body(context: RunContext) -> Iterator[Event]:
        yield from events

    return body


def says_then_raises(events: Iterable[Event], error: BaseException) -> Callable[[RunContext], Iterator[Event]]:
    """A body that yields these events and ends in ``error``."""

    def body(context: RunContext) -> Iterator[Event]:
        yield from events
        raise error

    return body


class DirectedBody:
    """A body that does one thing each time it is told: ``say``, ``fail``, ``end``. It checks for Stop before each.

    ``idle`` steps only check. ``closed`` is set when the body's generator has been left, however that came.
    """

    def __init__(self) -> None:
        self._told: queue.Queue[Event | BaseException | None] = queue.Queue()
        self.started = threading.Event()
        self.closed = threading.Event()
        self.context: RunContext | None = None

    def say(self, *events: Event) -> None:
        for event in events:
            self._told.put(event)

    def fail(self, error: BaseException) -> None:
        self._told.put(error)

    def end(self) -> None:
        self._told.put(None)

    def idle(self) -> None:
        """Come to the next check: a token's worth of work without anything to say."""
        self._told.put(Progress(done=0))

    def __call__(self, context: RunContext) -> Iterator[Event]:
        self.context = context
        self.started.set()
        try:
            while True:
                told = self._told.get(timeout=PATIENCE)
                context.check()
                if told is None:
                    return
                if isinstance(told, BaseException):
                    raise told
                yield told
        finally:
            self.closed.set()


def by_hand(tokens: int) -> Callable[[RunContext], Iterator[Event]]:
    """A body that waits for its turn before each of ``tokens`` tokens."""

    def body(context: RunContext) -> Iterator[Event]:
        for index in range(tokens):
            context.wait_for_turn()
            yield token(index, candidates=0)
        yield Done(result={"tokens": tokens})

    return body
