"""Steps a second of a LoRA job over the same training in a plain TRL script, both on the bundled model.

A job's steps are timed by its log's own clock, the script's by the arrival of its lines. The first steps of both are
left out: they hold what each does once. The two take turns, and the best turn of each counts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.training import plain_lines, running_app, start_job, train_events

NAME = "train_overhead"
GOAL = 0.97
HIGHER_IS_BETTER = True

STEPS = 60
SKIPPED = 10
TURNS = 3


def steps_a_second(times: list[float]) -> float:
    """From the time after the skipped steps to the last one."""
    if len(times) != STEPS:
        raise RuntimeError(f"{len(times)} of {STEPS} steps were seen")
    return (len(times) - 1 - SKIPPED) / (times[-1] - times[SKIPPED])


def measure() -> float:
    """The ratio, job over script; prints each turn."""
    best_job = best_plain = 0.0
    with running_app() as services:
        for turn in range(TURNS):
            with tempfile.TemporaryDirectory() as folder:
                plain = steps_a_second(list(plain_lines(Path(folder), STEPS)))
            log, _ = start_job(services, STEPS)
            log.wait_finished()
            job = steps_a_second([event["at"] for event in train_events(log)])
            print(f"  turn {turn}: job {job:.2f} steps/s, plain script {plain:.2f} steps/s", flush=True)
            best_job, best_plain = max(best_job, job), max(best_plain, plain)
    return best_job / best_plain
