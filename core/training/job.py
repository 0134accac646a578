"""A fine-tuning as plain data, and what it says of itself: at its start, beside its model, and in the end.

Everything here is JSON in the making; nothing trains or writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.runtime.loading import LoadedModel
from core.training.callbacks import Feed, Limits
from core.training.methods import counts, kind_of
from core.training.parameters import TrainingParameters

if TYPE_CHECKING:
    from core.training.datasets import Prepared

SCORES = ("accuracy", "f1", "token_accuracy", "perplexity")


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One fine-tuning. ``folder`` is the run's; ``resume_from`` a checkpoint in it, ``resumed`` the run it is from.

    ``curve`` holds the records of that run; those up to the checkpoint are told again, so that the new run's log has
    the whole curve. ``base`` and ``data`` are the names that the result is described with.
    ``sampling`` by length puts rows of similar lengths into a batch, which leaves less padding.
    """

    loaded: LoadedModel
    parameters: TrainingParameters
    prepared: Prepared
    folder: Path
    prompts: tuple[str, ...] = ()
    title: str = ""
    base: str = ""
    data: str = ""
    resume_from: Path | None = None
    resumed: str = ""
    curve: list[dict[str, Any]] = field(default_factory=list)
    cancelled: Callable[[], bool] = lambda: False
    limits: Limits = field(default_factory=Limits)
    sampling: Literal["random", "group_by_length"] = "random"


def start_values(job: TrainingJob, trainer: Any, resumed_step: int) -> dict[str, Any]:
    """The values of the ``start`` step: what will be trained, on what, where and why there."""
    parameters, placement = job.parameters, job.loaded.placement
    trained, total = counts(trainer.model)
    return {
        "model": job.base,
        "title": job.title,
        "task": parameters.task.value,
        "method": parameters.method.value,
        "data": job.data,
        "parameters_total": total,
        "parameters_trained": trained,
        "steps": planned_steps(trainer),
        "epochs": parameters.epochs,
        "device": str(job.loaded.device),
        "dtype": placement.dtype,
        "why": placement.why,
        "train_rows": len(trainer.train_dataset),
        "validation_rows": len(trainer.eval_dataset),
        "labels": list(job.prepared.labels),
        "form": job.prepared.form,
        "plan": {
            "weights": placement.weight_bytes,
            "gradients": placement.gradient_bytes,
            "optimizer": placement.optimizer_bytes,
            "activations": placement.activation_bytes,
        },
        "resumed": {"run": job.resumed, "step": resumed_step} if job.resume_from is not None else None,
        "axis_defaults": {"x": "step", "log": False},
    }


def planned_steps(trainer: Any) -> int:
    """Optimizer steps until the end, as the trainer will count them."""
    arguments = trainer.args
    if arguments.max_steps > 0:
        return int(arguments.max_steps)
    batches = math.ceil(len(trainer.train_dataset) / (arguments.train_batch_size * max(arguments.world_size, 1)))
    per_epoch = max(math.ceil(batches / arguments.gradient_accumulation_steps), 1)
    steps: int = math.ceil(arguments.num_train_epochs * per_epoch)
    return steps


def model_card(job: TrainingJob, trainer: Any) -> dict[str, Any]:
    """``benchtop.json``: what lies beside it."""
    parameters = job.parameters
    return {
        "base": job.base,
        "method": parameters.method.value,
        "task": parameters.task.value,
        "labels": list(job.prepared.labels),
        "kind": kind_of(parameters.method),
        "title": job.title,
        "data": job.data,
        "dtype": job.loaded.placement.dtype,
        "quantization": job.loaded.spec.quantization,
        "seed": parameters.seed,
        "padding": getattr(trainer.data_collator, "side", "left"),
    }


def result_values(job: TrainingJob, trainer: Any, feed: Feed) -> dict[str, Any]:
    """The ``Done`` event's result; ``ended`` is "finished", "stopped", "limit", "early" or "broken"."""
    trained, _ = counts(trainer.model)
    result: dict[str, Any] = {
        "loss": feed.curve.last_loss(),
        "eval_loss": feed.last_eval.get("loss"),
        "steps": trainer.state.global_step,
        "seconds": round(feed.seconds, 2),
        "parameters_trained": trained,
        "model": f"tuned:{job.folder.name}",
        "ended": feed.ended or "finished",
    }
    result |= {name: feed.last_eval[name] for name in SCORES if name in feed.last_eval}
    best = trainer.state.best_metric
    if trainer.args.load_best_model_at_end and best is not None and math.isfinite(best):
        result |= {"best_eval_loss": best, "best_step": trainer.state.best_global_step}
    return result
