"""Scores on the test set, and the sentences that the curves call for. Plain arithmetic on what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Point:
    """One reading of a training: on the whole training set and on the validation set."""

    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float


def confusion(truth: torch.Tensor, predicted: torch.Tensor, classes: int) -> list[list[int]]:
    """(classes, classes) counts: a row for each true class, a column for each predicted one."""
    counted = torch.bincount(truth * classes + predicted, minlength=classes * classes)
    rows: list[list[int]] = counted.view(classes, classes).tolist()
    return rows


def macro_f1(matrix: Sequence[Sequence[int]]) -> float:
    """The mean over classes of F1; a class that is neither there nor predicted counts 0."""
    scores = []
    for i, row in enumerate(matrix):
        hits, predicted = row[i], sum(other[i] for other in matrix)
        scores.append(2 * hits / (sum(row) + predicted) if sum(row) + predicted else 0.0)
    return sum(scores) / len(scores)


def boundary(model: nn.Module, box: tuple[float, float, float, float], side: int) -> str:
    """P(class 1) on a ``side`` x ``side`` grid over (left, bottom, right, top), a character 0-9a-z for 0 to 1.

    Row by row from the top, so that it can be painted as it is read.
    """
    left, bottom, right, top = box
    across = torch.linspace(left, right, side)
    down = torch.linspace(top, bottom, side)
    grid = torch.stack([across.repeat(side), down.repeat_interleave(side)], dim=1)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        levels = (model(grid).softmax(-1)[:, 1] * 35).round().long().clamp(0, 35).tolist()
    model.train(was_training)
    return "".join("0123456789abcdefghijklmnopqrstuvwxyz"[level] for level in levels)


def diverged(point: Point, first: Point) -> bool:
    """Whether the training loss is no number any more, or ten times that of the untrained model."""
    return not math.isfinite(point.loss) or point.loss > 10 * max(first.loss, 0.1)


def overfitting(points: Sequence[Point]) -> str:
    """A sentence when the validation loss has left its minimum behind while the training loss fell on; else "".

    The last three readings count together, so that one noisy reading says nothing.
    """
    if len(points) < 6:
        return ""
    least = min(points, key=lambda point: point.validation_loss)
    loss, now = (sum(values) / 3 for values in zip(*((p.loss, p.validation_loss) for p in points[-3:]), strict=True))
    if now > 1.2 * least.validation_loss + 0.04 and loss < 0.8 * least.loss:
        return (
            f"Overfitting: the validation loss has risen from {least.validation_loss:.2f} to {now:.2f} while the "
            f"training loss fell from {least.loss:.2f} to {loss:.2f}."
        )
    return ""


def underfitting(points: Sequence[Point]) -> str:
    """At the end of a training: a sentence when even the training set is not learned; else ""."""
    now = points[-1]
    if len(points) < 4 or now.accuracy >= 0.85 or abs(now.accuracy - now.validation_accuracy) > 0.15:
        return ""
    late = points[-1 - max(2, len(points) // 4) :]
    earlier = late[0]
    steadily = all(after.loss < before.loss for before, after in pairwise(late))
    if now.loss < 0.97 * earlier.loss or steadily:
        return (
            f"Not done: the budget ended at {now.accuracy:.0%} training accuracy while the loss was still falling "
            f"({earlier.loss:.2f} to {now.loss:.2f} in the last quarter)."
        )
    return (
        f"Underfitting: even on its training set the model is right in only {now.accuracy:.0%}, and the loss "
        f"has stopped falling at {now.loss:.2f}: the model is too simple, or held back."
    )
