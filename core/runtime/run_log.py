"""One run's log to read: an append-only list of event records, in memory while live and in a file for ever after.

``events.jsonl`` holds one record a line, ``{"seq": 0, "at": 0.0120, "kind": ..., ...}``; ``seq`` has no gaps. A record
is parsed at most once, when somebody first reads it; all readers share the parsed dict and must not change it. A last
line that a crash tore is as if it had never been written.

``RunLog`` cannot write. It follows the file of a run that is over or that another process writes; the log of a run that
is live in this process is a ``RunWriter`` (``run_writer``), which is read in the same way.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

from core.errors import NotFound
from core.events import is_last

Record = dict[str, Any]
Kind = Literal["interactive", "job"]
Status = Literal["running", "finished", "stopped", "failed"]

EVENTS = "events.jsonl"
META = "run.json"
SHARES = "shares"
_POLL_SECONDS = 0.05
RUN_ID = re.compile(r"[0-9a-f]{16}")
_HEAD = re.compile(rb'\{"seq":(\d+),"at":([0-9.]+),"kind":"(\w+)"(?:,"reason":"(\w+)")?')
_BATCH = 1000


class Parent(BaseModel):
    """Where a branch leaves its parent: which run, which column, at which token, and the text taken instead."""

    model_config = ConfigDict(frozen=True)

    run: str
    column: int
    index: int
    token: str


class RunMeta(BaseModel):
    """What a run is. ``created`` is unix seconds, ``owner`` the SHA-256 of the owner's token.

    ``status``, ``bytes`` (of the log) and ``shared`` are readings of the moment and aren't stored.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    lab: str
    kind: Kind = "interactive"
    title: str = ""
    created: float
    owner: str
    request: dict[str, Any]
    parent: Parent | None = None
    status: Status = "running"
    bytes: int = 0
    shared: bool = False

    def stored(self) -> str:
        """The text of ``run.json``."""
        return self.model_dump_json(exclude={"status", "bytes", "shared"})


def owner_of(visitor_token: str) -> str:
    """Whose runs and files a visitor's are, without the token that proves it: its SHA-256."""
    return hashlib.sha256(visitor_token.encode("utf-8", "replace")).hexdigest()


def read_meta(runs: Path, run_id: str) -> RunMeta | None:
    """What a run in the folder ``runs`` is, from its file; None for any id that has none. Raises ``ValueError``."""
    if not RUN_ID.fullmatch(run_id):
        return None
    try:
        return RunMeta.model_validate_json((runs / run_id / META).read_bytes())
    except FileNotFoundError:
        return None


class RunLog:
    """A run's records, to be read from any thread."""

    def __init__(self, folder: Path, meta: RunMeta) -> None:
        self.folder = folder
        self._meta = meta
        self._records: list[bytes | Record] = []  # a line until somebody reads it, then its dict
        self._size = 0  # bytes of the records
        self._status: Status = "running"
        self._reading = threading.Lock()

    @property
    def id(self) -> str:
        return self._meta.id

    @property
    def lab(self) -> str:
        return self._meta.lab

    @property
    def owner(self) -> str:
        """The SHA-256 of the owner's token."""
        return self._meta.owner

    @property
    def meta(self) -> RunMeta:
        """What the run is, with its status and size now."""
        self._refresh()
        now = {"status": self._status, "bytes": self._size, "shared": self.shared}
        return self._meta.model_copy(update=now)

    @property
    def finished(self) -> bool:
        """Whether the last event is there. To miss nothing ask this first and ``read`` after it."""
        self._refresh()
        return self._status != "running"

    @property
    def shared(self) -> bool:
        """Whether its owner made a link to it."""
        return (self.folder / SHARES).exists()

    @property
    def last(self) -> Record | None:
        """The run's last record, a ``done`` or ``failed``; None while it is going."""
        if not self.finished:
            return None
        with self._reading:
            return self._record(len(self._records) - 1)

    def read(self, after: int = -1, limit: int | None = None) -> list[Record]:
        """The records with ``seq > after``, at most ``limit`` of them; never waits for more. Do not change them."""
        self._refresh()
        with self._reading:
            first = max(after + 1, 0)
            end = len(self._records) if limit is None else min(len(self._records), first + limit)
            return [self._record(index) for index in range(first, end)]

    def wait(self, after: int = -1, timeout: float | None = None) -> bool:
        """Block until there is a record with ``seq > after`` or the run is over; False after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._has_news(after):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)  # another process writes this file
        return True

    def wait_finished(self, timeout: float | None = None) -> bool:
        """Block until the run is over; False when ``timeout`` seconds passed before."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.finished:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            self.wait(len(self._records) - 1, left)
        return True

    def _has_news(self, after: int) -> bool:
        self._refresh()
        return len(self._records) > after + 1 or self._status != "running"

    def _record(self, index: int) -> Record:
        record = self._records[index]
        if isinstance(record, bytes):
            record = self._records[index] = cast(Record, json.loads(record))
        return record

    def _refresh(self) -> None:
        """Take in the complete lines that the file has gained."""
        with self._reading:
            if self._status != "running":
                return
            path = self.folder / EVENTS
            try:
                if path.stat().st_size <= self._size:
                    return
                with path.open("rb") as file:
                    file.seek(self._size)
                    self._take_lines(file.read())
            except FileNotFoundError:
                raise NotFound("This run was deleted.", "Run it again.") from None

    def _take_lines(self, data: bytes) -> None:
        for line in data.splitlines(keepends=True):
            head = _head(line)
            if head is None or int(head[1]) != len(self._records):
                return  # torn, or still being written
            self._records.append(line)
            self._size += len(line)
            self._status = _status(head)


def follow(log: RunLog, after: int = -1) -> Iterator[Record]:
    """The records after ``after``, as they come, through the last one of the run. Blocks between them."""
    while True:
        for record in log.read(after, _BATCH):
            yield record
            after = int(record["seq"])
            if is_last(record):
                return
        if log.finished and not log.read(after, 1):
            return
        log.wait(after)


def status_of_file(path: Path) -> Status:
    """The status that a log's last whole line tells, without reading the rest."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        span = 4096
        while True:
            start = max(0, size - span)
            file.seek(start)
            data = file.read(size - start)
            end = data.rfind(b"\n")
            begin = data.rfind(b"\n", 0, max(end, 0))
            if begin >= 0 or start == 0:
                head = _head(data[begin + 1 : end + 1])
                return "running" if head is None else _status(head)
            span *= 4


def _head(line: bytes) -> re.Match[bytes] | None:
    """The start of a whole record line; None for a torn one, or one that a power cut left full of zeros."""
    return _HEAD.match(line) if line.endswith(b"}\n") else None


def _status(head: re.Match[bytes]) -> Status:
    if head[3] == b"failed":
        return "failed"
    if head[3] == b"done":
        return "stopped" if head[4] == b"stopped" else "finished"
    return "running"
