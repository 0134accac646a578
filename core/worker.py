"""A job's process: ``python -m core.worker RUN``.

It builds what a lab needs (a pool with inline lanes, no page), reads the run's request, calls that lab's ``run`` and
appends to the run's log what it yields, through the last event, as the app does for a run of its own. A ``stop`` file
in the run's folder, or SIGTERM, asks the lab to stop, which keeps what it has; so do the limits of time and bytes, with
a warning that says which. Of several processes that share a job, started by ``accelerate``, the first one speaks and
the others are silent.

It does not queue, nor choose a device: whoever starts it has done so. A run that another process writes is left alone.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from core.catalog.catalog import Catalog
from core.catalog.sizes import bytes_text
from core.errors import Busy, LabError
from core.events import Event
from core.events import Warning as Note
from core.labs.table import LABS, load_lab, request_of
from core.runtime.job_process import read_secret
from core.runtime.job_queue import Worker, write_worker
from core.runtime.lanes import Lanes
from core.runtime.ledger import Ledger, process_started
from core.runtime.pool import Pool
from core.runtime.run_context import JobLimits, RunContext
from core.runtime.run_ending import Log, carry
from core.runtime.run_folder import STOP, folder_bytes
from core.runtime.run_log import RunMeta
from core.runtime.run_writer import LogClosed, RunWriter
from core.runtime.runs import RunStore
from core.runtime.translate import translate
from core.runtime.uploads import Uploads
from core.settings import Settings, prepare_process, process_rank

WATCH_SECONDS = 0.2
SIZE_SECONDS = 5.0
"""Seconds between two looks at how much the job's folder holds."""
_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    """Carry one job to its end."""
    parser = argparse.ArgumentParser(prog="python -m core.worker", description="Carry one job to its end.")
    parser.add_argument("run", help="the run's id")
    parser.add_argument("--module", help="where the lab's run is; the table of labs says it when left out")
    parser.add_argument("--device", default="", help="the name by which others know the device it was given")
    given = parser.parse_args(arguments)
    settings = prepare_process(Settings.from_environment(), probe=False)
    secret = None if sys.stdin is None or sys.stdin.isatty() else read_secret(sys.stdin.buffer)
    work(settings, given.run, module=given.module, device=given.device, secret=secret)


def work(
    settings: Settings, run_id: str, *, module: str | None = None, device: str = "", secret: str | None = None
) -> None:
    """Carry the job ``run_id`` to its end in this process."""
    store = RunStore(settings)
    try:
        if process_rank() > 0:
            _listen(settings, store, run_id, module, device, secret)
            return
        try:
            writer = store.resume(run_id, secret=secret)
        except Busy:
            _log.warning("another process has the job %s", run_id)
            return
        if writer.finished:
            return
        _note(writer.folder, device)
        _speak(settings, store, writer, module, device, secret)
    finally:
        store.close()


class Watch:
    """Asks the run to stop when somebody wants that, or when a limit has passed. A thread of its own does so."""

    def __init__(
        self,
        context: RunContext,
        folder: Path,
        say: Callable[[Event], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._folder = folder
        self._say = say
        self._clock = clock
        self._begin = self._sized = clock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="stop-watch", daemon=True)

    def __enter__(self) -> Watch:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """One look. After the run was cancelled there is nothing more to do."""
        if self._context.cancelled():
            return
        why = self._passed()
        if why:
            with suppress(LogClosed, LabError, OSError):
                self._say(Note(text=f"Stopped: {why}."))
        if why or (self._folder / STOP).exists():
            self._context.cancel()

    def _passed(self) -> str:
        limits, now = self._context.limits, self._clock()
        if limits.seconds is not None and now - self._begin > limits.seconds:
            return f"it reached the limit of {limits.seconds / 60:g} minutes"
        if limits.bytes is not None and now - self._sized >= SIZE_SECONDS:
            self._sized = now
            if folder_bytes(self._folder) > limits.bytes:
                return f"its files passed the limit of {bytes_text(limits.bytes)}"
        return ""

    def _keep_looking(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            self.look()


def _speak(
    settings: Settings, store: RunStore, writer: RunWriter, module: str | None, device: str, secret: str | None
) -> None:
    """The first process's part: the log gets what the lab yields and exactly one last event."""
    context = _context(settings, store, writer.meta, writer.folder, secret)
    _stop_at_sigterm(context)
    with Watch(context, writer.folder, writer.append):
        last = carry(context, writer, _body(settings, writer.meta, module, device), translate)
    if last is not None:
        with suppress(LogClosed):
            writer.append(last)


class _Silent:
    """The log of a process that has no say."""

    def __init__(self, run_id: str, folder: Path) -> None:
        self.id, self.folder = run_id, folder

    def append(self, event: Event) -> int:
        return 0


def _listen(
    settings: Settings, store: RunStore, run_id: str, module: str | None, device: str, secret: str | None
) -> None:
    """The part of the processes that share a job with the first one: the same work, without a word."""
    meta = store.describe(run_id)
    folder = store.folder / run_id
    log: Log = _Silent(run_id, folder)
    context = _context(settings, store, meta, folder, secret)
    _stop_at_sigterm(context)
    with Watch(context, folder, log.append):
        carry(context, log, _body(settings, meta, module, device), translate)


def _body(settings: Settings, meta: RunMeta, name: str | None, device: str) -> Callable[[RunContext], Iterator[Event]]:
    """The lab's run, with a pool of this process."""

    def body(context: RunContext) -> Iterator[Event]:
        context.check()  # it may have been stopped before its process was up
        module = load_lab(name or LABS[meta.lab].module)
        lanes = Lanes(inline=True)
        names = {"cuda:0": device} if device.startswith("cuda") else None  # the only card that this process sees
        pool = Pool(settings, Catalog(settings), Ledger(settings, names=names), lanes)
        try:
            yield from module.run(request_of(module, meta.request), pool, context)
        finally:
            lanes.close()

    return body


def _context(settings: Settings, store: RunStore, meta: RunMeta, folder: Path, secret: str | None) -> RunContext:
    return RunContext(
        meta.id,
        "",
        folder,
        secret=secret,
        owner=meta.owner,
        uploads=Uploads(settings),
        store_folder=store.folder,
        limits=JobLimits(settings.job_minutes * 60, settings.job_steps, settings.job_bytes),
    )


def _note(folder: Path, device: str) -> None:
    """Say which process has the job; of those that ``accelerate`` started, it is this one that counts."""
    pid = os.getpid()
    write_worker(folder, Worker(pid=pid, started=process_started(pid) or 0.0, device=device))


def _stop_at_sigterm(context: RunContext) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: context.cancel())


if __name__ == "__main__":
    main()
