"""One lane owns one device: a single thread that does everybody's forward work, a slice at a time.

Promises: slices never overlap; turns go round the visitors first and then round one visitor's works, so that nobody
waits for more than one slice of each other visitor; a work that raises is dropped and told so, and the lane goes on.
It does not interrupt a slice: a cancelled work ends at its own next ``step``. It knows nothing of models or tensors.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar

from core.errors import Stopped

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Work(Protocol):
    """Something done in slices. It may also have ``fail(error)``, called once if a step raises or the lane closes."""

    @property
    def visitor(self) -> str: ...

    def step(self) -> bool:
        """Do one slice; True while more remains."""
        ...


class _Call(Generic[T]):
    """A function as a work of one slice, whose outcome another thread waits for."""

    def __init__(self, fn: Callable[[], T], visitor: str, cancelled: Callable[[], bool] | None) -> None:
        self.visitor = visitor
        self.outcome: Future[T] = Future()
        self._fn = fn
        self._cancelled = cancelled

    def step(self) -> bool:
        if self._cancelled is not None and self._cancelled():
            raise Stopped("Stopped.")
        self.outcome.set_result(self._fn())
        return False

    def fail(self, error: BaseException) -> None:
        self.outcome.set_exception(error)


class Lane:
    """The lane of one device, with its own daemon thread, which starts with the first work."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._queue: OrderedDict[str, deque[Work]] = OrderedDict()  # in the order of the visitors' next turns
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stepping = False
        self._closed = False

    def submit(self, work: Work) -> None:
        """Queue ``work``; returns at once. Raises ``Stopped`` when the lane is closed."""
        with self._changed:
            if self._closed:
                raise _closing()
            self._put(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=f"lane-{self.name}", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def call(self, fn: Callable[[], T], *, visitor: str = "", cancelled: Callable[[], bool] | None = None) -> T:
        """Run ``fn`` once as one slice on the lane's thread; return what it returns, raise what it raises.

        On the lane's own thread it runs at once. When ``cancelled`` says so at its turn, ``fn`` is not run and
        ``Stopped`` is raised.
        """
        if threading.current_thread() is self._thread:
            return fn()
        work = _Call(fn, visitor, cancelled)
        self.submit(work)
        return work.outcome.result()

    def discard(self, work: Work) -> bool:
        """Take a work that waits for its turn out of the queue; False when it is in its slice, or over."""
        with self._changed:
            works = self._queue.get(work.visitor)
            if works is None or not any(waiting is work for waiting in works):
                return False
            left = deque(waiting for waiting in works if waiting is not work)
            if left:
                self._queue[work.visitor] = left
            else:
                del self._queue[work.visitor]
            return True

    def depth(self) -> int:
        """Works that aren't over, the one in its slice included."""
        with self._changed:
            return sum(len(works) for works in self._queue.values()) + self._stepping

    def close(self, timeout: float | None = 5.0) -> None:
        """Refuse new work, let the slice in progress end, and fail what waits with ``Stopped``."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _put(self, work: Work) -> None:
        self._queue.setdefault(work.visitor, deque()).append(work)

    def _serve(self) -> None:
        while self._turn():
            pass  # each turn has its own frame, so that an idle lane holds no reference to the last work's tensors
        self._fail_the_rest()

    def _turn(self) -> bool:
        work = self._take()
        if work is None:
            return False
        more = _slice(work)
        with self._changed:
            self._stepping = False
            if more:
                self._put(work)
        return True

    def _take(self) -> Work | None:
        """The next work, its visitor sent to the end of the line; None when the lane closes."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self._closed)
            if self._closed:
                return None
            visitor, works = self._queue.popitem(last=False)
            work = works.popleft()
            if works:
                self._queue[visitor] = works
            self._stepping = True
            return work

    def _fail_the_rest(self) -> None:
        with self._changed:
            waiting = [work for works in self._queue.values() for work in works]
            self._queue.clear()
        for work in waiting:
            _tell(work, _closing())


class InlineLane(Lane):
    """The same on the caller's own thread, for a worker's process or a forked call: ``submit`` works to the end."""

    def __init__(self, name: str = "inline") -> None:
        super().__init__(name)
        self._owner = threading.RLock()  # still one user of the device at a time

    def submit(self, work: Work) -> None:
        if self._closed:
            raise _closing()
        with self._owner:
            self._stepping = True
            try:
                while _slice(work):
                    pass
            finally:
                self._stepping = False

    def call(self, fn: Callable[[], T], *, visitor: str = "", cancelled: Callable[[], bool] | None = None) -> T:
        if self._closed:
            raise _closing()
        if cancelled is not None and cancelled():
            raise Stopped("Stopped.")
        with self._owner:
            return fn()


class Lanes:
    """The lanes of a process, one for each device name, made when first asked for."""

    def __init__(self, *, inline: bool = False) -> None:
        self._make: Callable[[str], Lane] = InlineLane if inline else Lane
        self._lanes: dict[str, Lane] = {}
        self._lock = threading.Lock()

    def for_device(self, name: str) -> Lane:
        """The lane of the device ``name``; always the same one."""
        with self._lock:
            if name not in self._lanes:
                self._lanes[name] = self._make(name)
            return self._lanes[name]

    def depth(self) -> int:
        """Works that aren't over, in all lanes."""
        with self._lock:
            lanes = list(self._lanes.values())
        return sum(lane.depth() for lane in lanes)

    def close(self) -> None:
        """Close every lane."""
        with self._lock:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.close()


def _closing() -> Stopped:
    return Stopped("Benchtop is closing.")


def _slice(work: Work) -> bool:
    """One step of ``work``; whether more remains. Whatever it raises ends this work only."""
    try:
        return work.step()
    except BaseException as error:  # noqa: BLE001 - the lane outlives any work, SystemExit of a library included
        _tell(work, error)
        return False


def _tell(work: Work, error: BaseException) -> None:
    fail = getattr(work, "fail", None)
    if fail is None:
        _log.error("a work without fail() ended in an error", exc_info=error)
        return
    try:
        fail(error)
    except Exception:  # noqa: BLE001 - as above
        _log.exception("a work's fail() raised")
