"""The training loop: one model, one batch size, one budget; stepped from reading to reading.

Promises: the same plan gives the same weights, whatever else runs in the process (a budget in seconds excepted);
``seconds`` counts the steps only, neither evaluation nor anybody else's turn; accumulated micro-batches add up to the
gradient of the whole batch, to rounding. Nothing here knows of events or of the page.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from core.training.strategies.batches import Examples, epoch_batches


@dataclass(frozen=True)
class Plan:
    """The numbers of one training. ``budget`` is in epochs, examples, steps or seconds, as ``budget_kind`` says."""

    batch_size: int
    parts: int
    budget_kind: str
    budget: float
    optimizer: str
    learning_rate: float
    momentum: float
    schedule: str
    warmup: float
    weight_decay: float
    l1: float
    patience: int
    replacement: bool
    padding: str
    seed: int
    readings: int = 60
    longest_seconds: float = 60.0


def optimizer_of(
    name: str, model: nn.Module, rate: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """A torch optimizer by its name on the page. ``momentum`` is beta1 of the Adams."""
    values = list(model.parameters())
    if name in ("sgd", "momentum", "nesterov"):
        speed = 0.0 if name == "sgd" else momentum
        return torch.optim.SGD(values, rate, momentum=speed, nesterov=name == "nesterov", weight_decay=weight_decay)
    if name == "rmsprop":
        return torch.optim.RMSprop(values, rate, weight_decay=weight_decay)
    if name == "adagrad":
        return torch.optim.Adagrad(values, rate, weight_decay=weight_decay)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(values, rate, betas=(momentum, 0.999), weight_decay=weight_decay)


def rate_at(schedule: str, base: float, warmup: float, share: float) -> float:
    """The learning rate when ``share`` (0 to 1) of the budget is spent; a warm-up rises to it from a tenth."""
    if share < warmup:
        return base * (0.1 + 0.9 * share / warmup)
    left = 1 - (share - warmup) / max(1e-9, 1 - warmup)
    if schedule == "linear":
        return base * max(left, 0.01)
    if schedule == "cosine":
        return base * max(0.5 * (1 + math.cos(math.pi * (1 - left))), 0.01)
    if schedule == "step":
        return base * 0.1 ** min(2, int((1 - left) * 3))
    return base


def gradients(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, parts: int = 1, l1: float = 0.0) -> float:
    """Leave the gradient of the batch's mean loss in the parameters; returns that loss.

    In ``parts`` micro-batches, one after the other: each one's summed loss over the size of the whole batch, so that
    what accumulates is the whole batch's gradient. ``l1`` adds that many times the sum of absolute weights.
    """
    model.zero_grad(set_to_none=True)
    total = 0.0
    for part, truth in zip(inputs.chunk(parts), labels.chunk(parts), strict=True):
        loss = F.cross_entropy(model(part), truth, reduction="sum") / len(labels)
        loss.backward()
        total += float(loss.detach())
    if l1:
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.grad is not None:
                parameter.grad.add_(parameter.detach().sign(), alpha=l1)
    return total


def evaluate(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[float, float, torch.Tensor]:
    """Mean loss in nats, accuracy, and the predicted classes."""
    model.eval()
    with torch.no_grad():
        logits = model(inputs)
        loss = float(F.cross_entropy(logits, labels))
    model.train()
    predicted = logits.argmax(-1)
    return loss, float((predicted == labels).float().mean()), predicted


class Training:
    """A training in progress. ``advance`` goes on to the next reading; the counters say how far it is."""

    def __init__(
        self, model: nn.Module, examples: Examples, plan: Plan, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.model, self.examples_of, self.plan, self.clock = model, examples, plan, clock
        self.optimizer = optimizer_of(plan.optimizer, model, plan.learning_rate, plan.momentum, plan.weight_decay)
        self.steps = self.examples = self.tokens = self.padded = 0
        self.seconds = self.rate = self.batch_loss = 0.0
        self.over = self.cut_short = False
        self._reading = 0
        self._batches = self._endless()

    @property
    def epoch(self) -> float:
        return self.examples / len(self.examples_of)

    @property
    def share(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        kind, budget = self.plan.budget_kind, self.plan.budget
        spent = {"epochs": self.epoch, "examples": self.examples, "steps": self.steps, "seconds": self.seconds}
        return min(1.0, spent[kind] / budget)

    def advance(self, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Train until the next reading is due; False when nothing was left to do or it was cancelled before that."""
        if self.over:
            return False
        self._reading += 1
        due = min(1.0, (self._reading / self.plan.readings) ** 1.5)
        begun = self.steps
        while not self.over and (self.share < due or self.steps == begun):
            if cancelled():
                return False
            rows = next(self._batches)
            if self._beyond(len(rows)):
                self.over = True
                break
            self._step(rows)
            self.cut_short = self.seconds > self.plan.longest_seconds
            self.over = self.over or self.share >= 1 or self.cut_short
        while (self._reading / self.plan.readings) ** 1.5 < self.share:
            self._reading += 1  # one step may pass several readings
        return self.steps > begun

    def _beyond(self, more: int) -> bool:
        """Whether a step with so many more examples would overspend; the first step is always made."""
        most = {"epochs": self.plan.budget * len(self.examples_of), "examples": self.plan.budget}
        return self.steps > 0 and self.examples + more > most.get(self.plan.budget_kind, math.inf) + 1e-6

    def _step(self, rows: torch.Tensor) -> None:
        begun = self.clock()
        plan = self.plan
        inputs, labels = self.examples_of.batch(rows, static=plan.padding == "static")
        self.rate = rate_at(plan.schedule, plan.learning_rate, plan.warmup, self.share)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.batch_loss = gradients(self.model, inputs, labels, plan.parts, plan.l1)
        self.optimizer.step()
        self.steps += 1
        self.examples += len(rows)
        if self.examples_of.lengths is not None:
            self.tokens += int((inputs != 0).sum())
            self.padded += inputs.numel()
        self.seconds += self.clock() - begun

    def _endless(self) -> Iterator[torch.Tensor]:
        grouped = self.examples_of.lengths if self.plan.padding == "grouped" else None
        epoch = 0
        while True:
            yield from epoch_batches(
                len(self.examples_of), self.plan.batch_size, epoch, self.plan.seed,
                replacement=self.plan.replacement, lengths=grouped,
            )  # fmt: skip
            epoch += 1
