"""Steps a second of a LoRA job over the same training in a plain TRL script, both on the bundled model.

A job's steps are timed by its log's own clock, the script's by the arrival of its lines. The first steps of both are
left out: they hold what each does once. Machines drift by more than what is to be seen, so there are many short turns,
the two change places from turn to turn, and the ratio is the median of the turns' ratios.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from bench.training import plain_lines, running_app, start_job, train_events
from core.services import Services

NAME = "train_overhead"
GOAL = 0.97
HIGHER_IS_BETTER = True

STEPS = 30
SKIPPED = 6
TURNS = 8


def steps_a_second(times: list[float]) -> float:
    """From the time after the skipped steps to the last one."""
    if len(times) != STEPS:
        raise RuntimeError(f"{len(times)} of {STEPS} steps were seen")
    return (len(times) - 1 - SKIPPED) / (times[-1] - times[SKIPPED])


def plain_script() -> float:
    """Steps a second of the script."""
    with tempfile.TemporaryDirectory() as folder:
        return steps_a_second(list(plain_lines(Path(folder), STEPS)))


def job(services: Services) -> float:
    """Steps a second of the job."""
    log, _ = start_job(services, STEPS)
    log.wait_finished()
    return steps_a_second([event["at"] for event in train_events(log)])


def measure() -> float:
    """The median ratio, job over script; prints each turn."""
    ratios = []
    with running_app() as services:
        for turn in range(TURNS):
            if turn % 2:
                ours, plain = job(services), plain_script()
            else:
                plain, ours = plain_script(), job(services)
            print(f"  turn {turn}: job {ours:.2f} steps/s, plain script {plain:.2f} steps/s", flush=True)
            ratios.append(ours / plain)
    return statistics.median(ratios)
