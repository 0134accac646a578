"""Jobs: long runs that have a process of their own, wait for a device in a queue, and outlive the app.

All of it is in files below the home, so that whichever app looks, the same one or the next, finds what waits and what
goes on: ``jobs/<id>`` names each job without an end, the rest is in the run's folder (``run_folder``). One app at a
time tends the queue, held to that by a file lock: it starts what is next, tells those who wait their place, ends what
was stopped while it waited, and ends the log of a job whose process died, saying from which step it can go on.

A secret is kept in the memory of the app that took the job in. If that app is gone before the job's turn, the job runs
without, and says so. Whose job it is decides ``RunStore``; here a run's id is enough.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from core.errors import BadInput, Busy, LabError, NotFound
from core.events import Done, Event, Failed, Step
from core.events import Warning as Note
from core.runtime.job_process import died, kill, lives, start
from core.runtime.job_queue import (
    GoingJob,
    Holder,
    Job,
    free_devices,
    positions,
    read_job,
    waiting,
    write_worker,
)
from core.runtime.ledger import process_started
from core.runtime.run_folder import QUEUED, STOP
from core.runtime.run_log import Parent, RunLog, owner_of
from core.runtime.run_writer import LogClosed
from core.runtime.runs import RunStore
from core.settings import Settings

TEND_SECONDS = 0.25
STOP_SECONDS = 5.0
"""How long ``stop`` waits for another app that tends the queue just now."""
OVERDUE_SECONDS = 300.0
"""How much later than asked to stop, or than its time limit, a job's process may end by itself."""
_SECRET_CHARACTERS = 1000
_log = logging.getLogger(__name__)


class Jobs:
    """The jobs of one home. ``devices`` names those that can each have a job, best first; asked once, when needed.

    ``modules`` says for each lab where its ``run`` is. The thread that tends the queue starts with ``watch``.
    """

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        devices: Callable[[], tuple[str, ...]],
        modules: Callable[[str], str],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._find_devices = devices
        self._devices: tuple[str, ...] = ()
        self._modules = modules
        self._now = now
        self._root = settings.home / "jobs"
        self._root.mkdir(parents=True, exist_ok=True)
        self._file_lock = FileLock(settings.home / "jobs.lock", thread_local=False)
        self._tending = threading.Lock()
        self._submitting = threading.Lock()
        self._secrets: dict[str, str] = {}
        self._told: dict[str, int] = {}  # the position that a waiting job was last told
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(
        self,
        lab: str,
        visitor: str,
        request: Mapping[str, Any],
        parent: Parent | None = None,
        *,
        title: str = "",
        secret: str | None = None,
    ) -> RunLog:
        """Put a job in the queue; returns its log, which is there to be followed. Raises ``Busy`` at a limit."""
        if secret is not None and len(secret) > _SECRET_CHARACTERS:
            raise BadInput("The token is too long.", "Paste it again.")
        with self._submitting:
            self._check_limits(owner_of(visitor))
            writer = self._store.create(lab, visitor, dict(request), parent, "job", title=title, secret=secret)
            try:
                (writer.folder / QUEUED).write_text(f"{writer.meta.created}\n", encoding="ascii")
                if secret:
                    self._secrets[writer.id] = secret
                self._enter(writer.id, secret=bool(secret))
            finally:
                writer.close()
        self.watch()
        self._news.set()
        return writer

    def stop(self, run_id: str) -> bool:
        """Ask a job to stop: one that waits is over at once, one that runs keeps what it has. False if it is over."""
        try:
            if self._store.describe(run_id).status != "running":
                return False
            folder = self._store.folder / run_id
            (folder / STOP).touch(exist_ok=True)
        except (NotFound, FileNotFoundError):
            return False
        if (folder / QUEUED).exists():
            self.tend(wait=STOP_SECONDS, may_start=False)
        self._news.set()
        return True

    def position(self, run_id: str) -> int | None:
        """The job's place in the queue, 0 when it has its turn; None when it is over, or no job."""
        return positions(self._read()).get(run_id)

    def waiting(self) -> int:
        """How many jobs wait for their turn."""
        return sum(job.worker is None for job in self._read())

    def snapshot(self) -> tuple[GoingJob, ...]:
        """The jobs without an end, those that have their turn first; says nothing of whose they are."""
        jobs, now = self._read(), self._now()
        places = positions(jobs)
        going = [
            GoingJob(
                job.meta.lab,
                places[job.id],
                max(0.0, now - (job.worker.started if job.worker else job.meta.created)),
                job.worker.device if job.worker else "",
            )
            for job in jobs
        ]
        return tuple(sorted(going, key=lambda job: (job.position, -job.seconds)))

    def watch(self) -> None:
        """Have the thread going that tends the queue."""
        with self._tending:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._keep_tending, name="job-watch", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread. Jobs go on; what waits is found by the next app."""
        self._closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def tend(self, *, wait: float = 0.0, may_start: bool = True) -> None:
        """Do what is due, unless another app does so already for longer than ``wait`` seconds. The watch calls it."""
        with self._tending:
            try:
                self._file_lock.acquire(timeout=wait)
            except Timeout:
                return
            try:
                jobs = [job for job in self._read() if not self._end_if_due(job)]
                started = self._start_next(jobs) if may_start else []
                self._tell_positions([job for job in jobs if job.id not in started])
            finally:
                self._file_lock.release()

    def _keep_tending(self) -> None:
        self._guarded(self._find_lost)
        while not self._closing.is_set():
            self._guarded(self._look_for_devices)
            self._news.clear()
            self._guarded(self.tend)
            self._news.wait(TEND_SECONDS)

    def _guarded(self, task: Callable[[], None]) -> None:
        """The watch outlives what goes wrong with one job: a full disk, a folder that is deleted meanwhile."""
        try:
            task()
        except Exception:  # noqa: BLE001 - as above
            _log.exception("the queue of jobs could not be tended")
            self._closing.wait(TEND_SECONDS)

    def _look_for_devices(self) -> None:
        if not self._devices and any(self._root.iterdir()):
            self._devices = self._find_devices()

    def _find_lost(self) -> None:
        """Take in the jobs that a crash left between the steps of ``submit``."""
        for meta in self._store.jobs_without_end():
            folder = self._store.folder / meta.id
            if (self._root / meta.id).exists():
                continue
            if (folder / QUEUED).exists() or read_job(folder, meta, None).worker is not None:
                self._enter(meta.id)
            else:
                self._append(meta.id, Failed(error="Internal", what="The app was closed.", todo="Run it again."))

    def _check_limits(self, owner: str) -> None:
        if self._closing.is_set():
            raise Busy("Benchtop is closing.", "Start it again.")
        jobs = self._read()
        if sum(job.meta.owner == owner for job in jobs) >= self._settings.jobs_per_visitor:
            most = self._settings.jobs_per_visitor
            raise Busy(f"You have {most} jobs waiting or going, the most at one time.", "Stop one, or wait.")
        if len(jobs) >= self._settings.jobs_in_all:
            most = self._settings.jobs_in_all
            raise Busy(f"{most} jobs are waiting or going, the most this machine takes.", "Try again later.")

    def _enter(self, run_id: str, *, secret: bool = False) -> None:
        pid = os.getpid()
        holder = Holder(pid=pid, started=process_started(pid) or 0.0, secret=secret)
        draft = self._store.folder / run_id / "holder.json"
        draft.write_text(holder.model_dump_json(), encoding="utf-8")
        draft.replace(self._root / run_id)  # whole or not at all

    def _drop(self, run_id: str) -> None:
        (self._root / run_id).unlink(missing_ok=True)
        self._secrets.pop(run_id, None)
        self._told.pop(run_id, None)

    def _read(self) -> list[Job]:
        return list(self._each())

    def _each(self) -> Iterator[Job]:
        for entry in self._root.iterdir():
            try:
                meta = self._store.describe(entry.name)
            except NotFound:
                self._drop(entry.name)  # deleted
                continue
            if meta.status != "running":
                self._drop(entry.name)
                continue
            yield read_job(self._store.folder / meta.id, meta, _holder(entry))

    def _end_if_due(self, job: Job) -> bool:
        """End a job that was stopped while it waited, or whose process died; whether its end is there."""
        if job.worker is None:
            return job.stop_asked is not None and self._end(job, Done(reason="stopped"))
        why = self._overdue(job, job.worker.started)
        if why:
            kill(job.worker)
        elif lives(job.worker):
            return False
        return self._end(job, died(self._store.read_only(job.id).read(), why))

    def _overdue(self, job: Job, started: float) -> str:
        now = self._now()
        if job.stop_asked is not None and now > job.stop_asked + OVERDUE_SECONDS:
            return f" (it did not stop within {OVERDUE_SECONDS / 60:g} minutes and was ended)"
        minutes = self._settings.job_minutes
        if now > started + minutes * 60 + OVERDUE_SECONDS:
            return f" (it took longer than {minutes:g} minutes and was ended)"
        return ""

    def _end(self, job: Job, last: Done | Failed) -> bool:
        if not self._append(job.id, last):
            return False  # its process lives after all, or says its last words just now
        (self._store.folder / job.id / QUEUED).unlink(missing_ok=True)
        self._drop(job.id)
        return True

    def _append(self, run_id: str, *events: Event) -> bool:
        """Say something in a job's log that nobody else writes now; False when somebody does, or it is over."""
        try:
            writer = self._store.resume(run_id)
        except (Busy, NotFound):
            return False
        try:
            for event in events:
                writer.append(event)
        except (LogClosed, LabError):
            return writer.finished
        finally:
            writer.close()
        return True

    def _start_next(self, jobs: list[Job]) -> list[str]:
        """Give each free device to who is next; the ids of those that left the queue."""
        free = free_devices(self._devices, jobs)
        started: list[str] = []
        for job in waiting(jobs):
            if not free:
                break
            held = job.holder is not None and job.holder.secret and job.id not in self._secrets
            if held and job.holder is not None and _is_there(job.holder):
                continue  # its app has a secret for it, and starts it
            self._start(job, free.pop(0), lost=held)
            started.append(job.id)
        return started

    def _start(self, job: Job, device: str, *, lost: bool) -> None:
        turn: list[Event] = [Step(name="queue", index=0, values={"position": 0})]
        if lost:
            turn.append(Note(text="The app was closed while this waited, so it goes on without your Hub token."))
        if not self._append(job.id, *turn):
            return  # its process was started by an app that died right then
        folder = self._store.folder / job.id
        try:
            module = self._modules(job.meta.lab)
            worker = start(self._settings, folder, job.id, module, device, self._secrets.pop(job.id, None))
        except (OSError, KeyError) as error:
            _log.exception("job %s could not be started", job.id)
            what = f"The job's process could not be started ({type(error).__name__})."
            self._end(job, Failed(error="Busy", what=what, todo="Try again in a minute."))
            return
        with suppress(FileNotFoundError):
            write_worker(folder, worker)

    def _tell_positions(self, jobs: list[Job]) -> None:
        for place, job in enumerate(waiting(jobs), start=1):
            if job.id not in self._told:
                said = self._store.read_only(job.id).read()
                queue = [r["index"] for r in said if r["kind"] == "step" and r["name"] == "queue"]
                self._told[job.id] = queue[-1] if queue else 0
            if self._told[job.id] != place:
                self._append(job.id, Step(name="queue", index=place, values={"position": place}))
                self._told[job.id] = place


def _holder(entry: Path) -> Holder | None:
    try:
        return Holder.model_validate_json(entry.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _is_there(holder: Holder) -> bool:
    started = process_started(holder.pid)
    return started is not None and (started == 0.0 or abs(started - holder.started) < 1.0)
