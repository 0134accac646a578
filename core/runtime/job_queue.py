"""Jobs of a home as their folders tell, and whose turn it is: plain values and pure functions.

One job has a device at a time. Who has fewer jobs before a place gets it, so that a sweep of twelve does not hold up
everybody else; among one visitor's jobs the oldest goes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.runtime.run_folder import QUEUED, STOP, WORKER
from core.runtime.run_log import RunMeta

ALL_DEVICES = "all"
"""The device of a job whose processes share every card there is."""


class Worker(BaseModel):
    """``worker.json``: the process that has the job, when that began (unix seconds), and the device it was given."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: float
    device: str


class Holder(BaseModel):
    """The process that took a job in, and whether it keeps a secret for it, which nobody else has."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: float
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A job without an end. ``worker`` is None while it waits; ``stop_asked`` is when that was, in unix seconds."""

    meta: RunMeta
    worker: Worker | None
    holder: Holder | None = None
    stop_asked: float | None = None

    @property
    def id(self) -> str:
        return self.meta.id


@dataclass(frozen=True, slots=True)
class GoingJob:
    """What the System tab tells about a job, to anybody: not whose it is, nor what it is about. 0 is its turn."""

    lab: str
    position: int
    seconds: float
    device: str


def read_job(folder: Path, meta: RunMeta, holder: Holder | None) -> Job:
    """The job in ``folder``, as it is now."""
    try:
        asked: float | None = (folder / STOP).stat().st_mtime
    except FileNotFoundError:
        asked = None
    return Job(meta, _read_worker(folder), holder, asked)


def write_worker(folder: Path, worker: Worker) -> None:
    """Note that the job has its turn. Whole or not at all."""
    draft = folder / f"{WORKER}.{worker.pid}"
    draft.write_text(worker.model_dump_json(), encoding="utf-8")
    draft.replace(folder / WORKER)
    (folder / QUEUED).unlink(missing_ok=True)


def waiting(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that wait, in the order in which they will get their turns."""
    ahead = Counter(job.meta.owner for job in jobs if job.worker is not None)
    places = []
    for job in sorted((job for job in jobs if job.worker is None), key=_age):
        places.append((ahead[job.meta.owner], _age(job), job))
        ahead[job.meta.owner] += 1
    return [job for _, _, job in sorted(places, key=lambda place: place[:2])]


def positions(jobs: Sequence[Job]) -> dict[str, int]:
    """Each job's place in the queue: 0 has its turn, 1 is next."""
    going = {job.id: 0 for job in jobs if job.worker is not None}
    return going | {job.id: place for place, job in enumerate(waiting(jobs), start=1)}


def job_devices(names: Sequence[str], *, shared: bool) -> tuple[str, ...]:
    """Which of a machine's devices, best first, can each have a job: every card, or the one device there is."""
    if shared:
        return (ALL_DEVICES,)
    cards = tuple(name for name in names if name.startswith("cuda"))
    return cards or tuple(names[:1])


def free_devices(devices: Iterable[str], jobs: Sequence[Job]) -> list[str]:
    """The devices that no job has."""
    devices = list(devices)
    taken = {job.worker.device for job in jobs if job.worker is not None}
    if taken and (ALL_DEVICES in taken or devices == [ALL_DEVICES]):
        return []
    return [device for device in devices if device not in taken]


def _age(job: Job) -> tuple[float, str]:
    return job.meta.created, job.meta.id


def _read_worker(folder: Path) -> Worker | None:
    try:
        return Worker.model_validate_json((folder / WORKER).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        return Worker(pid=0, started=0.0, device=ALL_DEVICES)  # damaged: nobody's process, so it counts as dead
