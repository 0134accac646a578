"""Interactive runs: each on a thread of its own that appends what its body yields to the run's log.

Promises: whatever the body does, the log gets exactly one last event, as ``run_ending`` says. A run that nobody has
followed for ``settings.follower_grace`` seconds is cancelled, unless it is shared or a job. A visitor's secret lives in
the context only: it reaches no log, no file and no message.

Stopping is asked for, not forced: the body ends at its next ``context.check()``, which comes once a token.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from core import events
from core.errors import Busy, LabError
from core.events import Done, Failed
from core.runtime.run_context import RunContext
from core.runtime.run_ending import Body, carry, failure, unexpected
from core.runtime.run_log import Kind, Parent, RunLog
from core.runtime.run_writer import LogClosed, RunWriter
from core.runtime.runs import RunStore
from core.runtime.uploads import Uploads
from core.settings import Settings

WATCH_SECONDS = 0.25
PRUNE_SECONDS = 600.0
_log = logging.getLogger(__name__)

__all__ = ["Body", "GoingRun", "RunContext", "Runner", "unexpected"]


@dataclass(slots=True, eq=False)
class _Going:
    """A run that has a thread."""

    context: RunContext
    log: RunWriter
    kind: Kind
    since: float
    alone_since: float
    followers: int = 0
    left: bool = False  # by its followers, for longer than the grace
    thread: threading.Thread | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class GoingRun:
    """What the System tab tells about a run in progress, to anybody: not whose it is, nor what it is about."""

    lab: str
    kind: Kind
    seconds: float
    followers: int


class Runner:
    """Starts, stops and watches runs. ``translate`` turns a foreign exception into the error a visitor reads."""

    def __init__(
        self,
        store: RunStore,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        *,
        translate: Callable[[BaseException], LabError] = unexpected,
        uploads: Uploads | None = None,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._settings = settings
        self._clock = clock
        self._translate = translate
        self._going: dict[str, _Going] = {}
        self._lock = threading.Lock()
        self._starting = threading.Lock()  # limits are checked and taken by one start at a time
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._keep_watch, name="run-watch", daemon=True)
        self._watch.start()

    def start(
        self,
        lab: str,
        visitor: str,
        request: dict[str, Any] | BaseModel,
        body: Body,
        parent: Parent | None = None,
        *,
        title: str = "",
        by_hand: bool | None = None,
        secret: str | None = None,
        kind: Kind = "interactive",
    ) -> RunLog:
        """Make a run and start its body on a thread. Raises ``Busy`` when a limit is reached; jobs have no limit.

        By hand, ``wait_for_turn`` blocks; when ``by_hand`` isn't given, the request's own field of that name decides.
        """
        plain = request.model_dump(mode="json") if isinstance(request, BaseModel) else request
        turns = bool(plain.get("by_hand")) if by_hand is None else by_hand
        with self._starting:
            self._check_limits(visitor, kind)
            log = self._store.create(lab, visitor, plain, parent, kind, title=title, secret=secret)
            context = RunContext(
                log.id,
                visitor,
                log.folder,
                secret=secret,
                by_hand=turns,
                uploads=self._uploads,
                store_folder=self._store.folder,
            )
            going = _Going(context, log, kind, since=self._clock(), alone_since=self._clock())
            going.thread = threading.Thread(target=self._run, args=(going, body), name=f"run-{log.id}", daemon=True)
            with self._lock:
                self._going[log.id] = going
        try:
            going.thread.start()
        except RuntimeError as error:  # the system gives no more threads
            busy = Busy("The machine can start no more runs now.", "Try again when others have ended.")
            self._end(going, failure(log, busy, secret, self._translate))
            raise busy from error
        return log

    def stop(self, run_id: str, visitor: str | None = None) -> bool:
        """Ask a run to stop at its next token; False when it isn't going any more.

        With ``visitor`` it must be that visitor's own, else ``NotFound``; without, the caller answers for that.
        """
        going = self._find(run_id, visitor)
        if going is not None:
            going.context.cancel()
        return going is not None

    def advance(self, run_id: str, steps: int | None = 1, visitor: str | None = None) -> bool:
        """Give a run by hand ``steps`` more turns, or with None all of them; ``visitor`` as in ``stop``."""
        going = self._find(run_id, visitor)
        if going is not None:
            going.context.advance(steps)
        return going is not None

    @contextmanager
    def following(self, run_id: str) -> Iterator[None]:
        """Count as a follower of the run meanwhile. Any id will do: only runs that are going take notice."""
        going = self._find(run_id)
        if going is None:
            yield
            return
        with self._lock:
            going.followers += 1
        try:
            yield
        finally:
            with self._lock:
                going.followers -= 1
                going.alone_since = self._clock()

    def running(self, visitor: str | None = None) -> int:
        """How many interactive runs are going, of one visitor or in all."""
        with self._lock:
            return sum(
                going.kind == "interactive" and not going.log.finished and visitor in (None, going.context.visitor)
                for going in self._going.values()
            )

    def snapshot(self) -> tuple[GoingRun, ...]:
        """The runs in progress, the oldest first."""
        now = self._clock()
        with self._lock:
            return tuple(
                GoingRun(going.log.lab, going.kind, now - going.since, going.followers)
                for going in self._going.values()
                if not going.log.finished
            )

    def sweep(self) -> None:
        """Cancel the interactive, unshared runs that have been without a follower for the grace. The watch calls it."""
        with self._lock:
            now = self._clock()
            left = [going for going in self._going.values() if self._is_left(going, now)]
            for going in left:
                going.left = True
        for going in left:
            self._say_nobody_watched(going)
            going.context.cancel()

    def close(self, timeout: float = 5.0) -> None:
        """Stop every run and wait for the threads; a body that doesn't end in time has its log ended for it."""
        self._closing.set()
        with self._starting, self._lock:
            going_now = list(self._going.values())
        for going in going_now:
            going.context.cancel()
        deadline = time.monotonic() + timeout
        for going in going_now:
            if going.thread is not None and going.thread.is_alive():
                going.thread.join(max(0.0, deadline - time.monotonic()))
            self._end(going, Done(reason="stopped"))
        self._watch.join()

    def _check_limits(self, visitor: str, kind: Kind) -> None:
        if self._closing.is_set():
            raise Busy("Benchtop is closing.", "Start it again.")
        if kind == "job":
            return
        if self.running(visitor) >= self._settings.runs_per_visitor:
            raise Busy(
                f"You have {self._settings.runs_per_visitor} runs going, the most at one time.",
                "Stop one, or wait for one to end.",
            )
        if self.running() >= self._settings.runs_in_all:
            raise Busy(
                f"{self._settings.runs_in_all} runs are going, the most this machine takes.", "Try again in a minute."
            )

    def _is_left(self, going: _Going, now: float) -> bool:
        if going.kind == "job" or going.followers or going.left or going.context.cancelled():
            return False
        return now - going.alone_since >= self._settings.follower_grace and not going.log.shared

    def _find(self, run_id: str, visitor: str | None = None) -> _Going | None:
        if visitor is not None:
            self._store.open(run_id, visitor)
        with self._lock:
            going = self._going.get(run_id)
        return None if going is None or going.log.finished else going

    def _run(self, going: _Going, body: Body) -> None:
        self._end(going, carry(going.context, going.log, body, self._translate))

    def _end(self, going: _Going, last: Done | Failed | None) -> None:
        try:
            if last is not None and not going.log.finished:
                going.log.append(last)
        except LogClosed:
            _log.debug("run %s had ended already", going.log.id)
        finally:
            with self._lock:
                self._going.pop(going.log.id, None)

    def _say_nobody_watched(self, going: _Going) -> None:
        grace = self._settings.follower_grace
        try:
            going.log.append(events.Warning(text=f"Stopped, because nobody had watched it for {grace:g} seconds."))
        except (LogClosed, LabError, OSError) as error:
            _log.debug("run %s: no note about its end: %s", going.log.id, error)

    def _keep_watch(self) -> None:
        pruned = self._clock()
        while not self._closing.wait(WATCH_SECONDS):
            self.sweep()
            if self._clock() - pruned >= PRUNE_SECONDS:
                pruned = self._clock()
                try:
                    self._store.prune()
                except OSError:
                    _log.exception("old runs could not be deleted")
