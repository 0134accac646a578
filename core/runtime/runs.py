"""All runs of a BENCHTOP_HOME: who made them, who may read them, and how long they are kept.

A run is a folder ``runs/<id>`` with ``run.json`` (what it is, written once), ``events.jsonl`` (its log) and, once
shared, the hashes of its share tokens. Promises: a run's id grants nothing, and a stranger's id is answered in the
words for one that doesn't exist; a share token is random, stored only as a hash, and opens that run to read; everything
survives a restart; a run that is being written, by whichever process, is never deleted nor declared dead. No file is
renamed.

It doesn't execute anything: ``runner`` does, and a job's worker, which goes on with a run by ``resume``.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from core.errors import Busy, LabError, NotFound
from core.events import Failed
from core.runtime.live_logs import LiveLogs
from core.runtime.run_folder import folder_bytes, is_job_without_end, last_change
from core.runtime.run_log import (
    EVENTS,
    META,
    RUN_ID,
    SHARES,
    Kind,
    Parent,
    RunLog,
    RunMeta,
    follow,
    owner_of,
    read_meta,
    status_of_file,
)
from core.runtime.run_writer import LogClosed, RunWriter, is_being_written, redactor
from core.settings import Settings

__all__ = ["Parent", "RunLog", "RunMeta", "RunStore", "RunWriter", "follow", "owner_of"]

_TITLE_CHARACTERS = 120
_DAY = 86_400.0
_UNFINISHED_SECONDS = 3600.0  # a folder without run.json older than this is what a crash left behind
_log = logging.getLogger(__name__)
RunMetas = list[RunMeta]  # the class below has a method named list


class RunStore:
    """The runs below ``settings.home``. Safe from any thread; several processes may share the folder."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._root = settings.home / "runs"
        self._root.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._metas: dict[str, RunMeta] = {}  # as stored; with their status and size once they are over
        self._logs: WeakValueDictionary[str, RunLog] = WeakValueDictionary()  # followers share the parsed records
        self._live = LiveLogs()

    def create(
        self,
        lab: str,
        owner_token: str,
        request: dict[str, Any],
        parent: Parent | None = None,
        kind: Kind = "interactive",
        *,
        title: str = "",
        secret: str | None = None,
    ) -> RunWriter:
        """A new run of the visitor. ``title`` is its line in the list of runs. ``secret`` never reaches a file."""
        meta = RunMeta(
            id=secrets.token_hex(8),
            lab=lab,
            kind=kind,
            title=" ".join(title.split())[:_TITLE_CHARACTERS] or lab,
            created=self._now(),
            owner=owner_of(owner_token),
            request=request,
            parent=parent,
        )
        redact = redactor(secret)
        text = meta.stored().encode()
        self._live.make_ready()
        folder = self._root / meta.id
        folder.mkdir()
        writer = self._writer(meta, redact)  # holds the run before others can see it
        try:
            (folder / META).write_bytes(redact(text) if redact else text)
        except OSError:
            writer.close()
            self._remove(meta.id)
            raise
        return writer

    @property
    def folder(self) -> Path:
        """Where the runs are, each in a folder named by its id."""
        return self._root

    def resume(self, run_id: str, *, secret: str | None = None) -> RunWriter:
        """Go on writing a run without an end, as its worker does. Raises ``Busy`` while somebody else writes it."""
        return self._writer(self._find(run_id), redactor(secret))

    def describe(self, run_id: str) -> RunMeta:
        """Whoever's run, with its status now and without its log; for the queue of jobs. Raises ``NotFound``."""
        return self._reading(self._find(run_id))

    def jobs_without_end(self) -> RunMetas:
        """The jobs of everybody that have no last event, the oldest first. Looks at every run."""
        jobs = [self._reading(meta) for meta in self._all() if meta.kind == "job"]
        return sorted((meta for meta in jobs if meta.status == "running"), key=_age)

    def open(self, run_id: str, visitor_token: str) -> RunLog:
        """The visitor's own run. Raises ``NotFound``, in the same words, for a missing one and for anybody else's."""
        return self._open(self._own(run_id, visitor_token))

    def share(self, run_id: str, visitor_token: str) -> str:
        """A new token that opens this run to read, for whoever has it. Earlier ones stay good."""
        meta = self._own(run_id, visitor_token)
        token = secrets.token_urlsafe(16)
        with (self._root / meta.id / SHARES).open("a", encoding="ascii") as file:
            file.write(owner_of(token) + "\n")
        return f"{meta.id}.{token}"

    def open_shared(self, share_token: str) -> RunLog:
        """The run that a share token belongs to. Raises ``NotFound`` for any other text."""
        run_id, _, token = share_token.partition(".")
        try:
            meta = self._find(run_id)
            hashes = (self._root / meta.id / SHARES).read_text(encoding="ascii").split()
        except (NotFound, FileNotFoundError):
            hashes = []
        given = owner_of(token)
        if not token or not any(hmac.compare_digest(given, known) for known in hashes):
            raise NotFound("This link opens no run.", "Ask for it again: its run may have been deleted.")
        return self._open(meta)

    def read_only(self, run_id: str) -> RunLog:
        """Whoever's run, for a caller whose ticket (``Identity.check_ticket``) was good. Raises ``NotFound``."""
        return self._open(self._find(run_id))

    def list(self, visitor_token: str, lab: str | None = None) -> RunMetas:
        """The visitor's runs, the newest first."""
        owner = owner_of(visitor_token)
        mine = [meta for meta in self._all(owner) if lab in (None, meta.lab)]
        return [self._reading(meta) for meta in sorted(mine, key=_age, reverse=True)]

    def family(self, run: RunLog | RunMeta) -> RunMetas:
        """The run's tree of branches, as far as they are its owner's: the root first, the others as they were made.

        Branches stay together when their root was deleted, or is somebody else's shared run.
        """
        metas = {meta.id: meta for meta in self._all(run.owner)}
        root = run.id
        seen: set[str] = set()
        while root not in seen and root in metas and (parent := metas[root].parent):
            seen.add(root)
            root = parent.run
        members: list[RunMeta] = [metas[root]] if root in metas else []
        ids = {root}
        for meta in sorted(metas.values(), key=_age):  # a branch is younger than its parent
            if meta.parent is not None and meta.parent.run in ids and meta.id not in ids:
                ids.add(meta.id)
                members.append(meta)
        return [self._reading(meta) for meta in members]

    def delete(self, run_id: str, visitor_token: str) -> None:
        """Delete the visitor's own run. Raises ``NotFound``, and ``Busy`` while it is written, or a job that waits."""
        meta = self._own(run_id, visitor_token)
        if self._is_live(meta.id):
            raise Busy("This run is still going.", "Stop it first.")
        self._remove(meta.id)

    def prune(self) -> int:
        """Delete the runs that are too old and then the oldest until all fit ``settings.run_bytes``; how many it were.

        A run's age counts from its last event. Runs that are being written stay, and jobs that wait or go on.
        """
        now = self._now()
        kept: list[tuple[float, int, str]] = []
        gone = 0
        for folder in self._folders():
            try:
                age, size = now - last_change(folder), folder_bytes(folder)
            except FileNotFoundError:
                continue  # deleted just now
            limit = self._settings.run_days * _DAY if (folder / META).exists() else _UNFINISHED_SECONDS
            if age > limit and not self._is_live(folder.name):
                gone += self._remove(folder.name)
            else:
                kept.append((age, size, folder.name))
        total = sum(size for _, size, _ in kept)
        for _, size, run_id in sorted(kept, reverse=True):
            if total <= self._settings.run_bytes:
                break
            if not self._is_live(run_id) and self._remove(run_id):
                total -= size
                gone += 1
        return gone

    def recover(self) -> int:
        """At start: end the interactive runs that a dead process left without an end; how many it were. Jobs stay."""
        ended = 0
        for meta in self._all():
            if meta.kind == "job" or self._reading(meta).status != "running" or self._is_live(meta.id):
                continue
            try:
                writer = self._writer(meta, None)
                writer.append(_interrupted())
                ended += 1
            except (LabError, LogClosed, OSError):
                _log.exception("run %s could not be ended", meta.id)
        return ended

    def close(self) -> None:
        """Write what is pending and let go of every log. Runs without an end are left so: the runner closes first."""
        self._live.close()

    def _writer(self, meta: RunMeta, redact: Callable[[bytes], bytes] | None) -> RunWriter:
        self._live.make_ready()
        writer = RunWriter(
            self._root / meta.id,
            meta,
            most_bytes=self._settings.run_log_bytes,
            flush_soon=self._live.flush_soon,
            ended=self._live.drop,
            redact=redact,
            now=self._now,
        )
        with self._lock:
            self._metas[meta.id] = meta
            self._logs[meta.id] = writer
        self._live.add(writer)
        return writer

    def _open(self, meta: RunMeta) -> RunLog:
        with self._lock:
            log = self._logs.get(meta.id)
            if log is None:
                log = self._logs[meta.id] = RunLog(self._root / meta.id, meta)
            return log

    def _own(self, run_id: str, visitor_token: str) -> RunMeta:
        meta = self._find(run_id)
        if not visitor_token or not hmac.compare_digest(meta.owner, owner_of(visitor_token)):
            raise _no_such_run()
        return meta

    def _find(self, run_id: str) -> RunMeta:
        """What the run is, from its file if need be. The id may be anything that a stranger sends."""
        known = self._metas.get(run_id)
        try:
            if known is None:
                known = read_meta(self._root, run_id)
            elif not (self._root / run_id / META).exists():
                known = None  # another process deleted it
        except ValueError:
            _log.warning("run %s: its %s cannot be read", run_id, META)
            known = None
        if known is None:
            self._metas.pop(run_id, None)
            raise _no_such_run()
        self._metas[run_id] = known
        return known

    def _all(self, owner: str | None = None) -> Iterator[RunMeta]:
        for folder in self._folders():
            known = self._metas.get(folder.name)
            if owner is not None and known is not None and known.owner != owner:
                continue  # without a look at the disk: there may be thousands of other people's
            try:
                meta = self._find(folder.name)
            except NotFound:
                continue  # half made, or deleted just now
            if owner in (None, meta.owner):
                yield meta

    def _folders(self) -> Iterator[Path]:
        return (path for path in self._root.iterdir() if RUN_ID.fullmatch(path.name))

    def _reading(self, meta: RunMeta) -> RunMeta:
        """``meta`` with its status, size and sharing of this moment, without loading the log."""
        writer = self._live.get(meta.id)
        if writer is not None:
            return writer.meta
        path = self._root / meta.id / EVENTS
        try:
            if meta.status == "running":
                now = {"status": status_of_file(path), "bytes": path.stat().st_size}
                meta = meta.model_copy(update=now)
                if meta.status != "running":
                    self._metas[meta.id] = meta  # final: no need to look again
            return meta.model_copy(update={"shared": path.with_name(SHARES).exists()})
        except FileNotFoundError:
            return meta  # deleted just now

    def _is_live(self, run_id: str) -> bool:
        if self._live.get(run_id) is not None:
            return True
        folder = self._root / run_id
        return folder.exists() and (is_job_without_end(folder) or is_being_written(folder))

    def _remove(self, run_id: str) -> bool:
        """Delete a run's folder; its description goes first, so that what a failure leaves is no run any more."""
        folder = self._root / run_id
        self._metas.pop(run_id, None)
        try:
            (folder / META).unlink(missing_ok=True)
            shutil.rmtree(folder)
        except FileNotFoundError:
            return False  # another process was first
        except OSError:
            _log.warning("run %s is deleted, but some of its files are in use", run_id, exc_info=True)
        return True


def _age(meta: RunMeta) -> tuple[float, str]:
    return meta.created, meta.id


def _no_such_run() -> NotFound:
    return NotFound("There is no such run among yours.", "Choose one from the list of runs, or ask for a share link.")


def _interrupted() -> Failed:
    return Failed(error="Internal", what="The app was closed while this run was going.", todo="Run it again.")
