"""How long until the first loss point: a job from press to log, over a plain TRL script from start to its first line.

The press happens in a process whose app is up and warm; what comes before the point (the queue, a worker's process, its
imports, data, model) is all in the time. The script is a fresh process that says each step's loss. The two take turns,
the first turn only warms the disk cache, and the ratio is the median of the turns' ratios.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.training import plain_lines, running_app, start_job, train_events
from core.services import Services

NAME = "train_first_point"
GOAL = 1.2
HIGHER_IS_BETTER = False

STEPS = 40
TURNS = 4


def seconds_to_first_point(services: Services) -> float:
    """Press, wait for the first ``train`` event in the log, stop."""
    start = time.perf_counter()
    log, visitor = start_job(services, STEPS)
    events = train_events(log)
    next(events)
    seconds = time.perf_counter() - start
    services.stop(log.id, visitor)
    log.wait_finished()
    return seconds


def measure() -> float:
    """The median ratio, job over script; prints each turn."""
    ratios = []
    with running_app() as services:
        for turn in range(TURNS + 1):
            with tempfile.TemporaryDirectory() as folder:
                lines = plain_lines(Path(folder), STEPS)
                plain = next(lines)
                lines.close()  # type: ignore[attr-defined]
            job = seconds_to_first_point(services)
            note = " (warm-up)" if turn == 0 else ""
            print(f"  turn {turn}: job {job:.2f} s, plain script {plain:.2f} s{note}", flush=True)
            ratios.append(job / plain)
    return statistics.median(ratios[1:])
