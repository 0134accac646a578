"""How well labels were predicted: scores per class, curves over thresholds, calibration and the confusion matrix.

Promises: ``gold`` and ``predicted`` are numbers of labels, one a row; scores are those of scikit-learn, reached through
the ``evaluate.Metric`` objects of ``core.measure.metrics``. A score with nothing to divide by is 0, as in scikit-learn,
and its counts say so; an area or a mean of nothing is None. Everything is finite plain numbers, ready for JSON.
Importing this module is cheap: the libraries are loaded by the first call that needs them.

Not here: scores of entities (``entities``), whether a difference between two models is chance (``significance``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

POINTS = 200
"""Points of a curve at most."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One label: its scores, how many rows have it (``n``) and how many were given it (``predicted``)."""

    label: str
    precision: float
    recall: float
    f1: float
    n: int
    predicted: int


@dataclass(frozen=True, slots=True)
class Report:
    """Scores of one evaluation. Macro: the mean over the labels that some row has or was given."""

    n: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    classes: tuple[ClassScores, ...]

    def plain(self) -> dict[str, Any]:
        """``{n, accuracy, macro: {p, r, f1}, per_class: [{label, p, r, f1, n, predicted}]}``."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "macro": {"p": self.precision, "r": self.recall, "f1": self.f1},
            "per_class": [
                {"label": c.label, "p": c.precision, "r": c.recall, "f1": c.f1, "n": c.n, "predicted": c.predicted}
                for c in self.classes
            ],
        }


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in the order of falling thresholds: a row is called positive when its score is at least the threshold.

    ROC: x is the false positive rate, y the true positive rate, ``area`` the area under it. Precision and recall: x is
    recall, y precision, ``area`` the average precision. Empty, with ``area`` None, where only one class is there.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    thresholds: tuple[float, ...]
    area: float | None

    def plain(self) -> dict[str, Any]:
        """Plain JSON: ``{x, y, thresholds, area}``."""
        return {"x": list(self.x), "y": list(self.y), "thresholds": list(self.thresholds), "area": self.area}


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows whose confidence lies in (``low``, ``high``]: their mean confidence and how many of them are right."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """``ece``: the expected calibration error (Naeini et al. 2015), the bins' gaps weighted by their rows.

    ``brier``: the mean squared distance of the probabilities from the truth (Brier 1950), summed over the classes: 0 to
    2; of one column of probabilities (the positive class) the usual 0 to 1.
    """

    bins: tuple[Bin, ...]
    ece: float | None
    brier: float | None

    def plain(self) -> dict[str, Any]:
        """Plain JSON: ``{bins: [{low, high, n, confidence, accuracy}], ece, brier}``."""
        return {"bins": [asdict(one) for one in self.bins], "ece": self.ece, "brier": self.brier}


def report(gold: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> Report:
    """Accuracy, and precision, recall and F1 of each label and their means."""
    _same_length(gold, predicted)
    from core.measure.metrics import ClassificationMetric

    scores = ClassificationMetric().compute(predictions=predicted, references=gold, classes=len(labels))
    classes = tuple(
        ClassScores(label, *numbers)
        for label, *numbers in zip(
            labels, *(scores[f"{name}_per_class"] for name in ("precision", "recall", "f1")), scores["support"],
            scores["predicted"], strict=True,
        )
    )  # fmt: skip
    return Report(len(gold), scores["accuracy"], scores["precision"], scores["recall"], scores["f1"], classes)


def confusion(gold: Sequence[int], predicted: Sequence[int], n: int) -> list[list[int]]:
    """Counts of rows: one line for each gold label, one column for each predicted one, of ``n`` labels."""
    from sklearn.metrics import confusion_matrix  # type: ignore[import-untyped]  # ships no types

    _same_length(gold, predicted)
    if not len(gold):
        return [[0] * n for _ in range(n)]
    found: list[list[int]] = confusion_matrix(gold, predicted, labels=list(range(n))).tolist()
    return found


def roc(gold: Sequence[int | bool], scores: ArrayLike) -> Curve:
    """The ROC curve. ``gold`` says of each row whether it is positive, ``scores`` how sure the model is that it is."""
    from sklearn.metrics import roc_auc_score, roc_curve

    truth, values = _binary(gold, scores)
    if truth is None:
        return Curve((), (), (), None)
    x, y, thresholds = roc_curve(truth, values, drop_intermediate=False)
    return _curve(x, y, thresholds, float(roc_auc_score(truth, values)), values)


def precision_recall(gold: Sequence[int | bool], scores: ArrayLike) -> Curve:
    """Precision over recall, as ``roc``; the area is the average precision, which does not interpolate."""
    import numpy as np
    from sklearn.metrics import average_precision_score, precision_recall_curve

    truth, values = _binary(gold, scores)
    if truth is None:
        return Curve((), (), (), None)
    precision, recall, thresholds = precision_recall_curve(truth, values)
    order = slice(None, None, -1)
    above = np.append(thresholds, np.inf)
    area = float(average_precision_score(truth, values))
    return _curve(recall[order], precision[order], above[order], area, values)


def calibration(gold: Sequence[int], probabilities: ArrayLike, bins: int = 10) -> Calibration:
    """How far confidence and accuracy lie apart, in ``bins`` equal steps of confidence.

    ``probabilities`` (rows, labels): the confidence is that of the most probable label, the accuracy how often it is
    right. ``probabilities`` (rows,): the confidence is the positive label's, the accuracy how often gold is 1.
    """
    import numpy as np

    truth, given = np.asarray(gold, dtype=int), np.asarray(probabilities, dtype=float)
    _same_length(truth, given)
    if not len(truth):
        return Calibration(tuple(Bin(i / bins, (i + 1) / bins, 0, None, None) for i in range(bins)), None, None)
    if given.ndim == 2:
        confidence, right = given.max(1), given.argmax(1) == truth
        brier = ((given - np.eye(given.shape[1])[truth]) ** 2).sum(1).mean()
    else:
        confidence, right = given, truth == 1
        brier = ((given - right) ** 2).mean()
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sure, correct = (np.bincount(place, weights=values, minlength=bins) for values in (confidence, right))
    made = tuple(
        Bin(i / bins, (i + 1) / bins, int(n), float(sure[i] / n) if n else None, float(correct[i] / n) if n else None)
        for i, n in enumerate(counts)
    )
    return Calibration(made, float(np.abs(sure - correct).sum() / len(truth)), float(brier))


def _curve(
    x: NDArray[np.float64], y: NDArray[np.float64], thresholds: NDArray[np.float64], area: float, values: Any
) -> Curve:
    """At most ``POINTS`` points, at equal steps along the curve, its ends among them."""
    import numpy as np

    above = float(np.nextafter(values.max(), np.inf))  # a threshold that no score reaches, for the one at infinity
    thresholds = np.where(np.isfinite(thresholds), thresholds, above)
    if len(x) > POINTS:
        along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        wanted = np.linspace(0.0, along[-1], POINTS)
        kept = np.unique(np.searchsorted(along, wanted).clip(0, len(x) - 1))
        kept[-1] = len(x) - 1
        x, y, thresholds = x[kept], y[kept], thresholds[kept]
    return Curve(tuple(x.tolist()), tuple(y.tolist()), tuple(thresholds.tolist()), area)


def _binary(gold: Sequence[int | bool], scores: ArrayLike) -> tuple[Any, Any]:
    """Both as arrays; None for the truth when there is nothing to tell apart."""
    import numpy as np

    truth, values = np.asarray(gold).astype(bool), np.asarray(scores, dtype=float)
    _same_length(truth, values)
    if not np.isfinite(values).all():
        raise BadInput("A score is no number.", "Look at the model: its outputs are broken.")
    return (truth if 0 < truth.sum() < len(truth) else None), values


def _same_length(gold: Any, predicted: Any) -> None:
    if len(gold) != len(predicted):
        raise BadInput(
            f"There are {len(gold):,} gold labels and {len(predicted):,} predicted ones.", "Give one of each a row."
        )
