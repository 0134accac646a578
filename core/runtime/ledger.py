"""Bytes that each process has reserved on each device, so that the app and a job's process do not both take them.

Promises: reserving is one step across processes (a file lock), also on Windows; a process that died frees its share at
the next look, and its number being given to a new process does not keep it; a damaged file starts a new page.
Does not measure memory: it says what was promised, ``devices`` says what is taken.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from core.catalog.sizes import bytes_text
from core.errors import Busy, DoesNotFit
from core.settings import Settings

LOCK_SECONDS = 10.0
_LOG = logging.getLogger(__name__)


class Reservation(BaseModel):
    """One process's bytes on one device. ``started`` tells a process from a later one with the same number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    started: float
    device: str
    bytes: int


_PAGE = TypeAdapter(tuple[Reservation, ...])


def process_started(pid: int) -> float | None:
    """When a process began (unix seconds), or None if there is none with this number."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return 0.0  # somebody else's: alive, and no more can be said


class Ledger:
    """The ledger of one BENCHTOP_HOME, seen from this process."""

    def __init__(
        self,
        settings: Settings,
        pid: int | None = None,
        started: Callable[[int], float | None] = process_started,
        *,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """``names`` says what everybody else calls a device, where this process sees fewer and counts them anew."""
        self._folder = settings.home / "ledger"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = self._folder / "reserved.json"
        self._lock = FileLock(self._folder / "reserved.lock", timeout=LOCK_SECONDS)
        self._pid = os.getpid() if pid is None else pid
        self._started = started
        self._names = dict(names or {})

    def reserved_by_others(self, device: str) -> int:
        """Bytes that other living processes have reserved on ``device``."""
        device = self._names.get(device, device)
        with self._page() as page:
            return sum(r.bytes for r in page if r.device == device and r.pid != self._pid)

    def reserved_here(self, device: str) -> int:
        """Bytes that this process has reserved on ``device``."""
        device = self._names.get(device, device)
        with self._page() as page:
            return sum(r.bytes for r in page if r.device == device and r.pid == self._pid)

    def reserve(self, device: str, count: int, capacity: int | None = None) -> None:
        """Add ``count`` bytes to this process's share of ``device``.

        Raises ``DoesNotFit``, and reserves nothing, when all shares together would pass ``capacity``.
        """
        device = self._names.get(device, device)
        with self._page() as page:
            others = sum(r.bytes for r in page if r.device == device and r.pid != self._pid)
            own = sum(r.bytes for r in page if r.device == device and r.pid == self._pid) + count
            if capacity is not None and others + own > capacity:
                raise DoesNotFit(
                    f"Other processes hold {bytes_text(others)} on {device}; {bytes_text(own)} do not fit beside that.",
                    "Wait for the running job to end, or choose a smaller model.",
                )
            self._set(page, device, own)

    def release(self, device: str, count: int | None = None) -> None:
        """Take ``count`` bytes (by default all) off this process's share of ``device``."""
        device = self._names.get(device, device)
        with self._page() as page:
            own = sum(r.bytes for r in page if r.device == device and r.pid == self._pid)
            self._set(page, device, 0 if count is None else max(0, own - count))

    def _set(self, page: list[Reservation], device: str, count: int) -> None:
        page[:] = [r for r in page if (r.pid, r.device) != (self._pid, device)]
        if count:
            page.append(Reservation(pid=self._pid, started=self._started(self._pid) or 0.0, device=device, bytes=count))

    @contextmanager
    def _page(self) -> Iterator[list[Reservation]]:
        """The living processes' reservations under the lock; changes are written when the body ends well."""
        try:
            self._lock.acquire()
        except Timeout as error:
            raise Busy("The memory ledger is held by another process.", "Try again in a moment.") from error
        try:
            written = self._read()
            page = [r for r in written if self._alive(r)]
            yield page
            if page != written:
                self._write(page)
        finally:
            self._lock.release()

    def _alive(self, reservation: Reservation) -> bool:
        started = self._started(reservation.pid)
        return started is not None and (started == 0.0 or abs(started - reservation.started) < 1.0)

    def _read(self) -> list[Reservation]:
        if not self._file.is_file():
            return []
        try:
            return list(_PAGE.validate_python(json.loads(self._file.read_text(encoding="utf-8"))))
        except (ValueError, ValidationError) as error:
            _LOG.warning("The memory ledger was unreadable and starts anew: %s", error)
            return []

    def _write(self, page: list[Reservation]) -> None:
        draft = self._file.with_name(f"{Path(self._file).name}.{self._pid}")
        draft.write_bytes(_PAGE.dump_json(tuple(page)))
        os.replace(draft, self._file)
