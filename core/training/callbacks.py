"""The trainer's loop as events: each step's numbers, evaluations, samples, readings, checkpoints; and its early ends.

Promises
- An event costs microseconds within a step; files and long looks belong to evaluations and checkpoints.
- Stopping is seen after each optimizer step, within an evaluation after each batch, and within samples after each
  token. A stopped training has a checkpoint of its last step.
- Numbers that are not finite are left out of events; a checkpoint is never written from them.
- Only the main process speaks; what ends the training is agreed upon by all processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from core.events import Event, Progress, Step
from core.events import Warning as Note
from core.runtime.run_folder import folder_bytes
from core.runtime.threads import StepThreads
from core.training import readings
from core.training.batches import Scores
from core.training.checkpoints import CHECKPOINTS, EventFiles
from core.training.samples import Samples

PROGRESS_SECONDS = 1.0
BROKEN_STEPS = 3
"""Losses in a row that are no numbers after which nothing can become of the training."""

End = Literal["", "stopped", "limit", "broken", "early"]
Put = Callable[[Event], None]


class Interrupted(Exception):
    """Raised out of an evaluation or out of samples when the training was stopped meanwhile."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a training may take; None is no limit. ``bytes`` is the size of the run's folder."""

    seconds: float | None = None
    steps: int | None = None
    bytes: int | None = None


class Curve:
    """The numbers so far, the part before a resume included, and the readings that were already given."""

    def __init__(self, records: Sequence[dict[str, Any]] = ()) -> None:
        self.train: list[tuple[int, float]] = []
        self.evaluations: list[tuple[int, float]] = []
        self.norms: list[tuple[int, float]] = []
        self.said: set[str] = set()
        self.tokens, self.seconds = 0, 0.0
        for record in records:
            self.add(record["name"], record["index"], record["values"])

    def add(self, name: str, step: int, values: dict[str, Any]) -> None:
        """Take in a step of the log."""
        if name == "reading":
            self.said.add(values["name"])
        if name not in ("train", "eval"):
            return
        loss = values.get("loss", math.nan)
        (self.train if name == "train" else self.evaluations).append((step, loss))
        if name == "train":
            self.norms.append((step, values.get("grad_norm", math.nan)))
        self.tokens = values.get("tokens", self.tokens)
        self.seconds = max(self.seconds, values.get("seconds", 0.0))

    def last_loss(self) -> float | None:
        """The newest training loss that is a number."""
        return next((loss for _, loss in reversed(self.train) if math.isfinite(loss)), None)

    def without_gain(self) -> int:
        """Evaluations since the lowest evaluation loss."""
        losses = [loss if math.isfinite(loss) else math.inf for _, loss in self.evaluations]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def broken(self) -> bool:
        """Whether the last losses are no numbers."""
        last = self.train[-BROKEN_STEPS:]
        return len(last) == BROKEN_STEPS and not any(math.isfinite(loss) for _, loss in last)

    def new_readings(self, *, evaluated: bool, scores: Scores | None = None) -> list[tuple[str, str]]:
        """(name, sentence) of the readings that hold now and were not given before."""
        found: dict[str, str | None] = {"nan": readings.not_a_number(self.train[-1:])}
        if evaluated:
            found["overfitting"] = readings.overfitting(self.train, self.evaluations)
            found["one_class"] = readings.one_class(scores.predicted, scores.actual) if scores else None
        if len(self.train) % readings.EXPLODING_STEPS == 0:
            found["not_learning"] = readings.not_learning(self.train)
        found["exploding"] = readings.exploding(self.norms[-200:], self.train[-200:])
        new = [(name, text) for name, text in found.items() if text is not None and name not in self.said]
        self.said |= {name for name, _ in new}
        return new


class Threads(TrainerCallback):
    """Each step on as many CPU threads as it gains from now; torch's own number again at the end."""

    def __init__(self, device: str) -> None:
        self._threads = StepThreads(device)
        self._before = torch.get_num_threads()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._threads.begin()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._threads.end()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        torch.set_num_threads(self._before)


class Feed(TrainerCallback):
    """Tells what happens through ``put`` and ends the training when it must. ``ended`` says why it ended early."""

    def __init__(
        self,
        put: Put,
        curve: Curve,
        *,
        folder: Path,
        samples: Samples,
        files: EventFiles,
        cancelled: Callable[[], bool],
        limits: Limits,
        memory: Callable[[], int],
        scores: Scores | None = None,
        patience: int = 0,
        base_first: bool = False,
    ) -> None:
        self._put, self.curve, self._folder, self._samples, self._files = put, curve, folder, samples, files
        self._cancelled, self._limits, self._memory = cancelled, limits, memory
        self._scores, self._patience, self._base_first = scores, patience, base_first
        self._before = curve.seconds
        self._began = self._step_began = self._told = time.monotonic()
        self._first_step = 0
        self._tokens_before = 0
        self.ended: End = ""
        self.last_eval: dict[str, Any] = {}
        self.reset_loss: Callable[[], None] = lambda: None
        self.evaluate: Callable[[], None] = lambda: None
        self._random_state: Any = None

    @property
    def seconds(self) -> float:
        """Seconds of training, with those before a resume."""
        return self._before + time.monotonic() - self._began

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._base_first:
            self._samples.remember_base(kwargs["model"])
        self._first_step = state.global_step
        self._tokens_before = int(state.num_input_tokens_seen)
        self._began = self._step_began = time.monotonic()
        if self._agreed(args, self._cancelled()):
            raise Interrupted

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        missed = state.global_step == self._first_step > 0 and state.global_step % int(args.eval_steps or 1) == 0
        if missed and state.global_step not in {step for step, _ in self.curve.evaluations}:
            self.evaluate()  # a stop had come before it, and its random draws belong to the run
        self._step_began = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        stopped = self._agreed(args, self._cancelled())
        too_long = self._beyond_limits(args, state)
        if stopped or (too_long and state.global_step < state.max_steps):
            self.ended = "stopped" if stopped else "limit"
            control.should_training_stop, control.should_save, control.should_evaluate = True, True, not stopped
        elif args.save_strategy == "best":  # the library then saves at best evaluations only
            control.should_save = state.global_step % args.save_steps == 0 or state.global_step >= state.max_steps
        if control.should_evaluate:
            self._random_state = torch.get_rng_state()

    def before_evaluation(self, step: int) -> None:
        """Put the random state back to where it was before an evaluation that was broken off at ``step``."""
        if self._random_state is not None and (not self.curve.evaluations or self.curve.evaluations[-1][0] != step):
            torch.set_rng_state(self._random_state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        now, step = time.monotonic(), state.global_step
        tokens = int(state.num_input_tokens_seen)
        values = {
            "epoch": state.epoch,
            "tokens": tokens,
            "seconds": round(self.seconds, 4),
            "loss": logs["loss"],
            "learning_rate": logs.get("learning_rate"),
            "grad_norm": logs.get("grad_norm"),
            "tokens_per_second": round((tokens - self._tokens_before) / max(now - self._step_began, 1e-9), 1),
            "memory_bytes": self._memory(),
            "token_accuracy": logs.get("mean_token_accuracy"),
            "seconds_left": round(self._seconds_left(now, state), 2),
        }
        self._tokens_before = tokens
        self._tell_step("train", state, values)
        if now - self._told >= PROGRESS_SECONDS or step == self._first_step + 1:
            self._told = now
            left = values["seconds_left"]
            self._say(state, Progress(done=step, total=state.max_steps, unit="steps", seconds_left=left))
        self._read(state, evaluated=False)
        if not math.isfinite(logs["loss"]):
            self.reset_loss()
            control.should_save = False
            if self.curve.broken():
                self.ended, control.should_training_stop, control.should_evaluate = "broken", True, False

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.world_size == 1 and self._cancelled():
            raise Interrupted

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        found = metrics or {}
        loss = found.get("eval_loss", math.nan)
        values = {
            "epoch": state.epoch,
            "tokens": int(state.num_input_tokens_seen),
            "seconds": round(self.seconds, 4),
            "loss": loss,
            "accuracy": found.get("eval_accuracy"),
            "f1": found.get("eval_f1"),
            "token_accuracy": found.get("eval_mean_token_accuracy"),
            "perplexity": math.exp(loss) if self._scores is None and loss < 100 else None,
            "predicted": dict(self._scores.predicted) if self._scores is not None else None,
        }
        self.last_eval = self._tell_step("eval", state, values)
        self._read(state, evaluated=True)
        self.show_samples(state, kwargs["model"])
        self._files.flush()
        if self._patience and self.curve.without_gain() >= self._patience and not self.ended:
            self.ended, control.should_training_stop = "early", True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        path = f"{CHECKPOINTS}/checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            size = folder_bytes(self._folder / path)
            self._say(state, Step(name="checkpoint", index=state.global_step, values={"path": path, "bytes": size}))
            self._files.flush()
        most = self._limits.bytes
        full = most is not None and state.is_world_process_zero and folder_bytes(self._folder) > most
        if self._agreed(args, full) and not self.ended:
            self.ended, control.should_training_stop = "limit", True
            self._say(state, Note(text=f"Ended: its folder takes more than the {most:,} bytes a training may take."))

    def show_samples(self, state: TrainerState, model: Any) -> None:
        """The fixed rows as the model answers them now. Raises ``Interrupted`` when stopped meanwhile."""
        rows = self._samples.look(model)
        if rows:
            self._say(state, Step(name="samples", index=state.global_step, values={"rows": rows}))
        if self._cancelled() and not self.ended:
            raise Interrupted

    def _tell_step(self, name: str, state: TrainerState, values: dict[str, Any]) -> dict[str, Any]:
        finite = {key: value for key, value in values.items() if not _is_missing(value)}
        self.curve.add(name, state.global_step, finite)
        if state.is_world_process_zero:
            self._files.add(name, state.global_step, finite, time.time())
            self._put(Step(name=name, index=state.global_step, values=finite))
        return finite

    def _read(self, state: TrainerState, *, evaluated: bool) -> None:
        for name, text in self.curve.new_readings(evaluated=evaluated, scores=self._scores):
            self._say(state, Step(name="reading", index=state.global_step, values={"name": name, "text": text}))

    def _beyond_limits(self, args: TrainingArguments, state: TrainerState) -> bool:
        limits = self._limits
        if limits.steps is not None and state.global_step >= limits.steps:
            text = f"Ended after {state.global_step} steps, the most a training may take here."
        elif self._agreed(args, limits.seconds is not None and self.seconds >= limits.seconds):
            text = f"Ended after {self.seconds / 60:.0f} minutes, the longest a training may take here."
        else:
            return False
        if state.global_step < state.max_steps:
            self._say(state, Note(text=f"{text} Resume goes on from the checkpoint."))
        return True

    def _seconds_left(self, now: float, state: TrainerState) -> float:
        done = max(state.global_step - self._first_step, 1)
        return (now - self._began) / done * max(state.max_steps - state.global_step, 0)

    def _say(self, state: TrainerState, event: Event) -> None:
        if state.is_world_process_zero:
            self._put(event)

    def _agreed(self, args: TrainingArguments, mine: bool) -> bool:
        """Whether any process says so; one process asks nobody."""
        if args.world_size == 1:
            return mine
        said = torch.tensor(int(mine), device=args.device)
        torch.distributed.all_reduce(said, op=torch.distributed.ReduceOp.MAX)
        return bool(said.item())


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
