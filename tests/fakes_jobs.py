"""A lab whose steps a test allows one by one, for jobs: ``python -m core.worker RUN --module tests.fakes_jobs``.

A step is taken when the file ``allowed`` in the run's folder says so; nothing is loaded, and a step takes no time.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from core.errors import BadInput
from core.events import Done, Event, Step
from core.labs.base import Request
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext

MODULE = "tests.fakes_jobs"


class FakeRequest(Request):
    """How many steps, after how many a checkpoint, and what else it should do."""

    steps: int = 3
    save_every: int = 0
    free: bool = False
    upload: str = ""
    other_run: str = ""
    fail: str = ""
    deaf: bool = False


def allow(folder: Path, steps: int) -> None:
    """Let the run in ``folder`` come to its ``steps``-th step."""
    draft = folder / "allowed.new"
    draft.write_text(str(steps))
    draft.replace(folder / "allowed")


def run(request: FakeRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """Say who runs this and what it was given; then steps, as they are allowed; then what came of it."""
    assert context.folder is not None
    given = context.secret or ""
    values = {
        "pid": os.getpid(),
        "visitor": context.visitor,
        "owner": context.owner,
        "secret": hashlib.sha256(given.encode()).hexdigest() if given else "",
        "arguments": sys.argv[1:],
        "limits": [context.limits.seconds, context.limits.steps, context.limits.bytes],
        "entries": pool.snapshot(),
    }
    if request.upload:
        values["upload"] = context.uploads.path(request.upload, context.owner).read_text()
    if request.other_run:
        values["other_run"] = context.own_run_folder(request.other_run).name
    yield Step(name="start", index=0, values=values)
    for step in range(1, request.steps + 1):
        while not request.free and not _allowed(context.folder, step):
            if not request.deaf:
                context.check()
            time.sleep(0.005)
        yield Step(name="train", index=step, values={"loss": 1 / step, "run": context.run_id})
        if request.save_every and step % request.save_every == 0:
            yield Step(name="checkpoint", index=step, values={"path": f"checkpoints/checkpoint-{step}", "bytes": 1})
    if request.fail == "input":
        raise BadInput("The rows are bad.", f"Look at them with {given}.")
    if request.fail == "foreign":
        raise OSError(f"refused: {given}")
    yield Done(result={"steps": request.steps})


def _allowed(folder: Path, step: int) -> bool:
    try:
        return int((folder / "allowed").read_text()) >= step
    except FileNotFoundError:
        return False
