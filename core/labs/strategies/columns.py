"""One curve of a strategies run: a model trained with one strategy, stepped from reading to reading, as events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from core.events import Event, Step
from core.labs.strategies.choices import MODEL_TITLES, Model, Sampling, Strategy
from core.labs.strategies.material import Material
from core.labs.strategies.request import StrategiesRequest
from core.training.strategies import scores
from core.training.strategies.footprint import footprint
from core.training.strategies.loop import Plan, Training, evaluate, gradients
from core.training.strategies.models import build_model
from core.training.strategies.noise import measure_noise
from core.training.strategies.scores import Point

GRID = 40
"""Cells on a side of the decision boundary's picture."""
NOISE_AT = (0.0, 0.03, 0.1, 0.25, 0.5, 1.0)
"""Shares of the budget at which the gradient's noise is measured."""


def plan_of(request: StrategiesRequest, strategy: Strategy, examples: int) -> Plan:
    """The numbers of a strategy's training on so many examples."""
    size = request.size(strategy, examples)
    return Plan(
        batch_size=size,
        parts=min(request.micro_batches, size) if strategy is Strategy.ACCUMULATED else 1,
        budget_kind=request.budget_kind.value,
        budget=request.budget,
        optimizer=request.optimizer.value,
        learning_rate=request.rate(size),
        momentum=request.momentum,
        schedule=request.schedule.value,
        warmup=request.warmup,
        weight_decay=request.weight_decay,
        l1=request.l1,
        patience=request.patience,
        replacement=request.sampling is Sampling.REPLACEMENT,
        padding=request.padding.value,
        seed=request.seed,
    )


class Column:
    """A curve in the making. ``events`` of the beginning, then ``advance`` until it says it is over."""

    def __init__(
        self, number: int, request: StrategiesRequest, model: Model, strategy: Strategy, data: Material
    ) -> None:
        self.number, self.strategy, self.kind, self.material = number, strategy, model, data
        self.plan = plan_of(request, strategy, len(data.train))
        self.title = request.title(model, strategy, self.plan.batch_size)
        network = build_model(
            model.value, data.inputs, len(data.labels), hidden=request.hidden, layers=request.layers,
            embedding=request.embedding, dropout=request.dropout, seed=request.seed,
        )  # fmt: skip
        self.training = Training(network, data.train, self.plan)
        self.points: list[Point] = []
        self.reason = ""
        self.result: dict[str, Any] = {}
        self._train, self._validation = data.train.whole(), data.validation.whole()
        self._best: tuple[float, int, dict[str, torch.Tensor]] | None = None
        self._waited = 0
        self._noise = list(NOISE_AT)
        self._told: set[str] = set()

    @property
    def model(self) -> torch.nn.Module:
        return self.training.model

    @property
    def device(self) -> str:
        return str(next(self.model.parameters()).device)

    def about(self) -> dict[str, Any]:
        """What the page needs to know of the curve before it grows."""
        return {
            "title": self.title,
            "model": self.kind.value,
            "model_title": MODEL_TITLES[self.kind],
            "strategy": self.strategy.value,
            "batch": self.plan.batch_size,
            "parts": self.plan.parts,
            "learning_rate": self.plan.learning_rate,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "classes": list(self.material.labels),
            "toy": self.material.box is not None,
        }

    def advance(self, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Train to the next reading and tell it. ``reason`` says when it is over."""
        if self.points and not self.training.advance(cancelled):
            self.reason = "stopped" if cancelled() else "budget spent"
            return
        point = self._read()
        self.points.append(point)
        yield self._step("point", self._values(point))
        if scores.diverged(point, self.points[0]):
            self.reason = "diverged"
            yield self._reading("diverged", "Diverged: the loss exploded. Try a smaller learning rate.")
            return
        if self.material.box is not None:
            grid = scores.boundary(self.model, self.material.box, GRID)
            yield self._step("boundary", {"share": round(self.training.share, 4), "grid": grid})
        yield from self._measured_noise()
        if sentence := scores.overfitting(self.points):
            yield from self._once("overfitting", sentence)
        if self._out_of_patience(point):
            self.reason = "early stop"
        elif self.training.cut_short:
            self.reason = "time limit"
        elif self.training.over:
            self.reason = "budget spent"

    def finish(self) -> Iterator[Event]:
        """The test set, once; memory; what the end of the curve says."""
        if self._best is not None and self.plan.patience and self.reason != "stopped":
            self.model.load_state_dict(self._best[2])
        inputs, labels = self.material.test.whole()
        loss, accuracy, predicted = evaluate(self.model, inputs, labels)
        matrix = scores.confusion(labels, predicted, len(self.material.labels))
        memory = footprint(self.training)
        last = self.points[-1]
        self.result = {
            "title": self.title, "reason": self.reason, "test_loss": _finite(loss), "test_accuracy": round(accuracy, 6),
            "f1": round(scores.macro_f1(matrix), 6), "confusion": matrix, "train_loss": _finite(last.loss),
            "train_accuracy": round(last.accuracy, 6), "validation_accuracy": round(last.validation_accuracy, 6),
            "steps": self.training.steps, "examples": self.training.examples, "epochs": round(self.training.epoch, 4),
            "seconds": round(self.training.seconds, 4), "padding": self._padding(),
            "memory": {
                "parameters": memory.parameters, "gradients": memory.gradients, "optimizer": memory.optimizer,
                "activations": memory.activations, "total": memory.total,
            },
        }  # fmt: skip
        if self._best is not None and self.plan.patience:
            self.result["best_step"] = self._best[1]
        yield self._step("result", self.result)
        if self.reason in ("budget spent", "early stop") and (sentence := scores.underfitting(self.points)):
            yield from self._once("unfinished" if sentence.startswith("Not done") else "underfitting", sentence)

    def _read(self) -> Point:
        loss, accuracy, _ = evaluate(self.model, *self._train)
        validation_loss, validation_accuracy, _ = evaluate(self.model, *self._validation)
        return Point(loss, accuracy, validation_loss, validation_accuracy)

    def _values(self, point: Point) -> dict[str, Any]:
        training = self.training
        found = {
            "epoch": training.epoch, "examples": training.examples, "seconds": training.seconds,
            "share": training.share, "loss": point.loss, "accuracy": point.accuracy,
            "validation_loss": point.validation_loss, "validation_accuracy": point.validation_accuracy,
            "learning_rate": training.rate if training.steps else None,
        }  # fmt: skip
        return {name: _finite(value) for name, value in found.items() if value is not None}

    def _measured_noise(self) -> Iterator[Event]:
        if not self._noise or self.training.share < self._noise[0]:
            return
        while self._noise and self.training.share >= self._noise[0]:
            self._noise.pop(0)
        found = measure_noise(
            self.model, self.material.train, self.plan.batch_size, self.plan.seed, replacement=self.plan.replacement
        )
        training = self.training
        values = {
            "epoch": training.epoch, "examples": training.examples, "seconds": training.seconds,
            "variance": found.variance, "predicted": found.predicted, "trace": found.trace,
            "squared_norm": found.squared_norm, "scale": found.scale,
        }  # fmt: skip
        yield self._step("noise", {name: _finite(value) for name, value in values.items()})

    def _out_of_patience(self, point: Point) -> bool:
        if not self.plan.patience:
            return False
        if self._best is None or point.validation_loss < self._best[0]:
            weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            self._best, self._waited = (point.validation_loss, self.training.steps, weights), 0
            return False
        self._waited += 1
        return self._waited >= self.plan.patience

    def _padding(self) -> float | None:
        """Share of the cells of all batches that were padding; None for what needs none."""
        return round(1 - self.training.tokens / self.training.padded, 4) if self.training.padded else None

    def _step(self, name: str, values: dict[str, Any]) -> Step:
        return Step(name=name, index=self.training.steps, column=self.number, values=values)

    def _reading(self, name: str, text: str) -> Step:
        self._told.add(name)
        return self._step("reading", {"name": name, "text": text})

    def _once(self, name: str, text: str) -> Iterator[Event]:
        if name not in self._told:
            yield self._reading(name, text)


def _finite(value: float | None) -> float | None:
    """A number as an event can carry it, to six digits; None for one that is no number."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


def accumulation_check(column: Column, whole: Column | None) -> dict[str, Any]:
    """How far accumulated gradients are from those of the whole batch: on one batch now, and in the weights so far.

    ``whole`` is the mini-batch curve of the same model, if it was trained to the same step.
    """
    data, plan = column.material.train, column.plan
    inputs, labels = data.batch(torch.arange(min(plan.batch_size, len(data))))
    model = column.model.eval()
    gradients(model, inputs, labels)
    at_once = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    gradients(model, inputs, labels, plan.parts)
    parts = [p.grad for p in model.parameters() if p.grad is not None]
    model.train()
    largest = max(float(g.abs().max()) for g in at_once)
    off = max(float((a - b).abs().max()) for a, b in zip(at_once, parts, strict=True))
    found: dict[str, Any] = {"title": column.title, "batch": len(labels), "parts": plan.parts, "gradient": off}
    found["relative"] = off / largest if largest else 0.0
    if whole is not None and whole.training.steps == column.training.steps:
        pairs = zip(whole.model.parameters(), column.model.parameters(), strict=True)
        found["weights"] = max(float((a - b).detach().abs().max()) for a, b in pairs)
        found["steps"] = column.training.steps
    return found
