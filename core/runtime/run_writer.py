"""The log of a live run: events become numbered lines, kept in memory for readers and written to the file in batches.

An event is serialised once, when it is appended, which costs tens of microseconds and never waits for the disk:
``flush``, which ``RunStore`` calls every 50 ms, writes what is pending, so a crash loses that much at most. The last
event is written at once and closes the log. A run has one writer on the machine at a time, held to that by a file lock,
which the system frees when its process dies.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from filelock import BaseFileLock, FileLock, Timeout

from core.errors import Busy
from core.events import Done, Event, Failed
from core.runtime.run_log import EVENTS, RunLog, RunMeta

_LOCK = "writer.lock"
_SHORTEST_SECRET = 8  # anything shorter is no secret, and would blot out ordinary text
_log = logging.getLogger(__name__)


class LogClosed(RuntimeError):
    """Something was appended to a log that has its last event, or that was closed. A fault of ours."""


class RunWriter(RunLog):
    """The log of a live run. ``append`` from any thread; the last event closes it.

    Opening one over an existing file goes on after the last whole record. Raises ``Busy`` while another writer, in
    whichever process, has the run open.
    """

    def __init__(
        self,
        folder: Path,
        meta: RunMeta,
        *,
        most_bytes: int,
        flush_soon: Callable[[], None] = lambda: None,
        ended: Callable[[RunWriter], None] = lambda writer: None,
        redact: Callable[[bytes], bytes] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(folder, meta)
        self._most_bytes = most_bytes
        self._flush_soon = flush_soon
        self._ended = ended
        self._redact = redact
        self._changed = threading.Condition()
        self._flushing = threading.Lock()
        self._pending: list[bytes] = []
        self._unwritten = b""
        self._trouble: OSError | None = None
        self._live = False
        self._lock = _acquire(folder)
        try:
            self._file = (folder / EVENTS).open("ab", buffering=0)
            self._refresh()  # what is there already
            self._file.truncate(self._size)
        except BaseException:
            self._lock.release()
            raise
        self._base = max(now() - meta.created, self._last_at()) - time.monotonic()
        self._live = True
        if self._status != "running":
            self._shut()

    @property
    def live(self) -> bool:
        """Whether it can still be appended to, or has lines that aren't in the file."""
        return self._live

    def append(self, event: Event) -> int:
        """Add ``event`` and return its ``seq``; the file has it within 50 ms, and at once when it is the last.

        Raises ``Busy`` when the log would outgrow its limit (a last event always fits), ``OSError`` when an earlier
        batch could not be written, ``LogClosed`` after the last event.
        """
        data = event.model_dump_json().encode()
        if self._redact is not None:
            data = self._redact(data)
        last = isinstance(event, Done | Failed)
        with self._changed:
            self._check_open(len(data), last)
            seq = len(self._records)
            line = b'{"seq":%d,"at":%.4f,%b\n' % (seq, self._base + time.monotonic(), data[1:])
            self._records.append(line)
            self._size += len(line)
            self._pending.append(line)
            first = len(self._pending) == 1
            if last:
                self._status = "failed" if isinstance(event, Failed) else cast(Done, event).reason
            self._changed.notify_all()
        if last:
            self._try_flush()
        elif first:
            self._flush_soon()
        return seq

    def wait(self, after: int = -1, timeout: float | None = None) -> bool:
        if not self._live:
            return super().wait(after, timeout)
        with self._changed:
            return self._changed.wait_for(lambda: self._has_news(after) or not self._live, timeout)

    def flush(self) -> None:
        """Write what is pending to the file, and close it after the last event. Keeps what an ``OSError`` left over."""
        with self._flushing:
            if not self._live:
                return
            with self._changed:
                lines, self._pending = self._pending, []
                over = self._status != "running"  # then ``lines`` holds the last one
            self._unwritten += b"".join(lines)
            try:
                while self._unwritten:
                    written = self._file.write(self._unwritten)
                    self._unwritten = self._unwritten[written or 0 :]
            except OSError as error:
                if self._trouble is None:
                    _log.error("run %s: its log cannot be written: %s", self.id, error)
                self._trouble = error
                raise
            self._trouble = None
            if over:
                self._shut()

    def close(self) -> None:
        """Let go of the run without an end, so that another process can go on with it. Nothing pending is lost."""
        try:
            self.flush()
        finally:
            with self._flushing:
                if self._live:
                    self._shut()

    def _try_flush(self) -> None:
        try:
            self.flush()
        except OSError:
            self._flush_soon()  # told by flush, which keeps the lines

    def _check_open(self, more: int, last: bool) -> None:
        if self._status != "running" or not self._live:
            raise LogClosed(f"run {self.id} is over")
        if last:
            return
        if self._trouble is not None:
            raise self._trouble
        if self._size + more > self._most_bytes:
            megabytes = self._most_bytes / 1024**2
            raise Busy(f"This run's log reached the limit of {megabytes:.3g} MB.", "Ask for less at once.")

    def _shut(self) -> None:
        self._file.close()
        self._lock.release()
        with self._changed:
            self._live = False
            self._changed.notify_all()
        self._ended(self)

    def _refresh(self) -> None:
        if not self._live:  # let go of: whoever writes on does so in the file
            super()._refresh()

    def _last_at(self) -> float:
        return float(self._record(len(self._records) - 1)["at"]) if self._records else 0.0


def is_being_written(folder: Path) -> bool:
    """Whether some process, this one included, has the run's log open for writing."""
    try:
        _acquire(folder).release()
    except Busy:
        return True
    return False


def _acquire(folder: Path) -> BaseFileLock:
    """The writer's lock; the system frees it when its process dies. Any thread may release it."""
    lock = FileLock(folder / _LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise Busy("This run is being written by another process.", "Wait for it to end.") from None
    return lock


def redactor(secret: str | None) -> Callable[[bytes], bytes] | None:
    """A function that blots the secret out of a JSON text."""
    if secret is None or len(secret) < _SHORTEST_SECRET:
        return None
    written = json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "replace")

    def redact(text: bytes) -> bytes:
        return text.replace(written, b"[secret]") if written in text else text

    return redact
