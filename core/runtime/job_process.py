"""The process of a job: how it is started, whether it lives, and what is said when it died.

It is detached: it outlives the app, a closed terminal and Ctrl+C. A visitor's secret goes to it through its standard
input and stands in no file, argument or environment. What libraries print goes to ``worker.log`` in the job's folder.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from core.events import Failed
from core.runtime.job_queue import ALL_DEVICES, Worker
from core.runtime.ledger import process_started
from core.settings import REPOSITORY, Settings

OUTPUT = "worker.log"
_FRAME = 4096  # bytes of a secret on the pipe, padded: several processes that share a pipe each read one frame
_PAD = b"\0"
_children: dict[int, subprocess.Popen[bytes]] = {}
_children_lock = threading.Lock()


def shares_devices(settings: Settings) -> bool:
    """Whether a job is several processes, which ``accelerate`` starts."""
    return settings.job_processes > 1 or settings.job_machines > 1 or settings.job_fsdp


def command(settings: Settings, run_id: str, module: str, device: str) -> list[str]:
    """What is run for a job; ``module`` is where the lab's ``run`` is."""
    worker = ["-m", "core.worker", run_id, "--module", module, "--device", device]
    if not shares_devices(settings):
        return [sys.executable, *worker]
    how = ["--use_fsdp"] if settings.job_fsdp else ["--multi_gpu"]
    if settings.job_machines > 1:
        host, _, port = settings.job_main_address.rpartition(":")
        how += ["--machine_rank", "0", "--main_process_ip", host, "--main_process_port", port]
    else:
        how += ["--main_process_port", "0"]  # any that is free
    sizes = ["--num_processes", str(settings.job_processes), "--num_machines", str(settings.job_machines)]
    rest = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *how, *sizes, *rest, *worker]


def start(settings: Settings, folder: Path, run_id: str, module: str, device: str, secret: str | None) -> Worker:
    """Start a job's process and return at once. Raises ``OSError`` when the system gives none."""
    detached: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        flags = ("DETACHED_PROCESS", "CREATE_NEW_PROCESS_GROUP")
        detached = {"creationflags": sum(int(getattr(subprocess, flag, 0)) for flag in flags)}
    with (folder / OUTPUT).open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - our own worker
            command(settings, run_id, module, device),
            cwd=REPOSITORY,
            env=settings.child_environment(None if device == ALL_DEVICES else device),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            **detached,
        )
    with _children_lock:
        _children[child.pid] = child
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:  # it may have died already
        pipe.write(frames(secret, settings.job_processes))
    return Worker(pid=child.pid, started=process_started(child.pid) or 0.0, device=device)


def frames(secret: str | None, count: int) -> bytes:
    """The secret as ``count`` processes read it from one pipe; nothing for None. Raises ``ValueError`` if too long."""
    if not secret:
        return b""
    data = secret.encode("utf-8", "replace")
    if len(data) > _FRAME:
        raise ValueError("the secret is too long")
    return data.ljust(_FRAME, _PAD) * count


def read_secret(pipe: BinaryIO) -> str | None:
    """This process's frame; None when there is none."""
    data = b""
    while len(data) < _FRAME:
        part = os.read(pipe.fileno(), _FRAME - len(data))
        if not part:
            break
        data += part
    return data.rstrip(_PAD).decode() or None


def lives(worker: Worker) -> bool:
    """Whether the job's process is still there, whoever started it."""
    _reap()
    started = process_started(worker.pid) if worker.pid else None
    return started is not None and (started == 0.0 or abs(started - worker.started) < 1.0)


def kill(worker: Worker) -> None:
    """End the job's process and what it started, without asking."""
    if not lives(worker):
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(worker.pid)
        for each in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def died(records: Sequence[dict[str, Any]], why: str = "") -> Failed:
    """The last event of a job whose process ended without one; ``records`` is what it had said."""
    last = _last_step(records, "train")
    kept = _last_step(records, "checkpoint")
    if last is None:
        what = "The job's process ended before its first step"
        return Failed(error="WorkerDied", what=f"{what}{why}.", todo="Run it again; its worker.log says more.")
    what = f"The training's process ended after step {last}{why}."
    if kept is None:
        lost = f"There was no checkpoint yet: {_steps(last)} lost. Run it again, with checkpoints closer together."
        return Failed(error="WorkerDied", what=what, todo=lost)
    lost = f"{_steps(last - kept)} lost" if last > kept else "nothing is lost"
    return Failed(error="WorkerDied", what=what, todo=f"Resume goes on from step {kept}, the last checkpoint; {lost}.")


def _last_step(records: Sequence[dict[str, Any]], name: str) -> int | None:
    steps = (r["index"] for r in reversed(records) if r["kind"] == "step" and r["name"] == name)
    return next((int(step) for step in steps), None)


def _steps(count: int) -> str:
    return "1 step is" if count == 1 else f"{count} steps are"


def _reap() -> None:
    """Let go of our own children that have ended, which would else count as living."""
    with _children_lock:
        for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
            del _children[pid]
