"""What a run's folder tells without its log being read: its age, its size, and whether a job still holds it.

A job's folder holds, beside what every run's does: ``queued`` while it waits for its turn (its text is the time it was
made), ``worker.json`` once it has had it, ``stop`` when somebody asked it to stop.
"""

from __future__ import annotations

from pathlib import Path

from core.runtime.run_log import EVENTS, status_of_file

QUEUED = "queued"
WORKER = "worker.json"
STOP = "stop"


def is_job_without_end(folder: Path) -> bool:
    """Whether this is a job that waits for its turn, or has had it and no end. ``job_queue`` ends one that died."""
    if not any((folder / name).exists() for name in (QUEUED, WORKER)):
        return False
    try:
        return status_of_file(folder / EVENTS) == "running"
    except FileNotFoundError:
        return False


def last_change(folder: Path) -> float:
    """When the run's log last grew, in unix seconds; of a folder without one, when the folder changed."""
    try:
        return (folder / EVENTS).stat().st_mtime
    except FileNotFoundError:
        return folder.stat().st_mtime


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below the folder; files that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
