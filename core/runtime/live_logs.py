"""The logs that this process writes now, and the one thread that brings their lines to the files every 50 ms.

A full disk is no end: the writer keeps its lines and the thread tries again each second. Appending never waits for it.
"""

from __future__ import annotations

import logging
import threading

from core.errors import Busy
from core.runtime.run_writer import RunWriter

FLUSH_SECONDS = 0.05
RETRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


class LiveLogs:
    """Writers from their start until their last line is in the file."""

    def __init__(self) -> None:
        self._writers: dict[str, RunWriter] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._unflushed = threading.Event()
        self._thread: threading.Thread | None = None

    def make_ready(self) -> None:
        """Have the thread going before there is a log that needs it. Raises ``Busy`` if there can't be one."""
        with self._lock:
            if self._closing.is_set():
                raise Busy("Benchtop is closing.", "Start it again.")
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._keep_flushing, name="run-log-flusher", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise Busy("The machine can start no more threads now.", "Try again in a minute.") from error
            self._thread = thread

    def add(self, writer: RunWriter) -> None:
        """Take in a writer, unless its log turned out to be over."""
        with self._lock:
            if writer.live:
                self._writers[writer.id] = writer

    def drop(self, writer: RunWriter) -> None:
        with self._lock:
            self._writers.pop(writer.id, None)

    def get(self, run_id: str) -> RunWriter | None:
        with self._lock:
            return self._writers.get(run_id)

    def flush_soon(self) -> None:
        """Tell the thread that some log has a first pending line."""
        self._unflushed.set()

    def close(self) -> None:
        """End the thread, write what is pending and let go of every log."""
        self._closing.set()
        self._unflushed.set()
        if self._thread is not None:
            self._thread.join()
        for writer in self._all():
            try:
                writer.close()
            except OSError:
                _log.exception("run %s: its last events are lost", writer.id)

    def _all(self) -> list[RunWriter]:
        with self._lock:
            return list(self._writers.values())

    def _keep_flushing(self) -> None:
        pause = FLUSH_SECONDS
        while not self._closing.is_set():
            self._unflushed.wait()
            self._closing.wait(pause)
            self._unflushed.clear()
            pause = FLUSH_SECONDS
            for writer in self._all():
                try:
                    writer.flush()
                except OSError:  # the writer reported it, and keeps the lines
                    pause = RETRY_SECONDS
                    self._unflushed.set()
