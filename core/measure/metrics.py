"""The metrics as objects of the ``evaluate`` library, for ``add_batch``, ``compute`` and ``evaluate.combine``.

Promises: nothing is downloaded and nothing is written to disk, whatever the caches are. scikit-learn computes the
classification scores, seqeval those of entities.

Importing this module is slow (``evaluate`` loads torch and transformers): import it inside a function. For plain
numbers call ``core.measure.classification.report`` or ``core.measure.entities.entity_scores``, which use these.
"""

from __future__ import annotations

from typing import Any

import evaluate  # type: ignore[import-untyped]  # ships no types
import numpy as np
from datasets import Features, List, Value  # type: ignore[import-untyped]  # ships no types
from sklearn.metrics import (  # type: ignore[import-untyped]  # ships no types
    accuracy_score,
    precision_recall_fscore_support,
)

_SKLEARN = "https://scikit-learn.org/stable/modules/model_evaluation.html"
_SEQEVAL = "https://github.com/chakki-work/seqeval"
_LABELS = """
    predictions: numbers of labels, one for each row.
    references: the same, as they should be.
"""


class _InMemory(evaluate.Metric):  # type: ignore[misc]  # the library ships no types
    """A metric that keeps what it is given in memory and makes no folder."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"keep_in_memory": True, **options})

    def _build_data_dir(self) -> str:
        return ""  # the library's own would make a folder in the cache even for a metric that never writes


def _info(description: str, inputs: str, feature: Any, reference: str, citation: str = "") -> evaluate.MetricInfo:
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description=inputs,
        features=Features({"predictions": feature, "references": feature}),
        reference_urls=[reference],
    )


class AccuracyMetric(_InMemory):
    """``{accuracy}``: the share of rows whose label is right."""

    def _info(self) -> evaluate.MetricInfo:
        return _info("The share of rows whose label is right.", _LABELS, Value("int64"), _SKLEARN)

    def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
        return {"accuracy": float(accuracy_score(references, predictions)) if len(references) else 0.0}


class PrecisionRecallF1Metric(_InMemory):
    """``{precision, recall, f1}`` (macro), the same ``_per_class``, ``support`` and ``predicted`` (counts).

    ``classes`` says how many labels there are; without it, as many as the largest number needs. Macro means are taken
    over the labels that some row has or was given.
    """

    def _info(self) -> evaluate.MetricInfo:
        return _info("Precision, recall and F1, per class and macro.", _LABELS, Value("int64"), _SKLEARN)

    def _compute(self, predictions: Any, references: Any, classes: int | None = None) -> dict[str, Any]:
        gold, given = np.asarray(references, dtype=int), np.asarray(predictions, dtype=int)
        n = classes or int(max(gold.max(initial=-1), given.max(initial=-1))) + 1
        names, counts = ("precision", "recall", "f1"), np.bincount(given, minlength=n)
        if not len(gold):
            empty = {f"{name}_per_class": [0.0] * n for name in names}
            return {**dict.fromkeys(names, 0.0), **empty, "support": [0] * n, "predicted": [0] * n}
        *scores, support = precision_recall_fscore_support(gold, given, labels=list(range(n)), zero_division=0)
        there = (support + counts) > 0
        return {
            **{name: float(values[there].mean()) for name, values in zip(names, scores, strict=True)},
            **{f"{name}_per_class": values.tolist() for name, values in zip(names, scores, strict=True)},
            "support": support.tolist(),
            "predicted": counts.tolist(),
        }


class ClassificationMetric(PrecisionRecallF1Metric):
    """Accuracy and ``PrecisionRecallF1Metric`` in one."""

    def _info(self) -> evaluate.MetricInfo:
        return _info("Accuracy, precision, recall and F1.", _LABELS, Value("int64"), _SKLEARN)

    def _compute(self, predictions: Any, references: Any, classes: int | None = None) -> dict[str, Any]:
        accuracy = float(accuracy_score(references, predictions)) if len(references) else 0.0
        return {"accuracy": accuracy, **super()._compute(predictions, references, classes)}


class EntityMetric(_InMemory):
    """seqeval on IOB2 tags: ``{micro, macro, types}``, each with precision, recall, f1 and counts.

    ``strict``: an entity begins with B- and its sequence is valid IOB2. Otherwise seqeval's default, which lets an
    entity begin with I- as conlleval does.
    """

    def _info(self) -> evaluate.MetricInfo:
        rows = "predictions, references: lists of IOB2 tags, one list for each sentence."
        return _info("Precision, recall and F1 of whole entities.", rows, List(Value("string")), _SEQEVAL)

    def _compute(self, predictions: Any, references: Any, strict: bool = True) -> dict[str, Any]:
        from core.measure.entities import seqeval_scores

        return seqeval_scores([list(row) for row in references], [list(row) for row in predictions], strict=strict)
