"""Labelled rows as batches, and the scores of what was predicted for them.

Promises: rows are padded to the longest of their batch; padding has the attention mask 0 and the label -100, which
neither loss nor score counts. F1 of IOB2 tags is that of whole entities (strict, micro, as ``core.measure.entities``
has it); of other labels it is the macro average, for words' tags without "O".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.measure.entities import OUTSIDE, is_iob2, strict_f1
from core.measure.words import IGNORED as IGNORED
from core.training.parameters import Task


class PadBatch:
    """Collates encoded rows (``input_ids``, ``attention_mask``, ``labels``, perhaps ``token_type_ids``)."""

    def __init__(self, pad_token_id: int, side: str = "right") -> None:
        self._pads = {"input_ids": pad_token_id, "attention_mask": 0, "token_type_ids": 0, "labels": IGNORED}
        self.side = side

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch

        length = max(len(row["input_ids"]) for row in rows)
        batch = {}
        for name in rows[0]:
            if isinstance(rows[0][name], int):
                batch[name] = torch.tensor([row[name] for row in rows])
            else:
                batch[name] = torch.tensor([self._padded(row[name], length, self._pads.get(name, 0)) for row in rows])
        return batch

    def _padded(self, values: Sequence[int], length: int, pad: int) -> list[int]:
        padding = [pad] * (length - len(values))
        return [*values, *padding] if self.side == "right" else [*padding, *values]


def chosen_labels(logits: Any, labels: Any) -> Any:
    """The most likely label of each row or token, kept instead of all logits while an evaluation goes on."""
    return (logits[0] if isinstance(logits, tuple) else logits).argmax(-1)


class Scores:
    """Accuracy and F1 of one evaluation; ``predicted`` and ``actual`` count rows or words by label."""

    def __init__(self, task: Task, labels: Sequence[str]) -> None:
        self._task = task
        self._labels = list(labels)
        self._entities = task is Task.TOKENS and is_iob2(labels)
        self.predicted: dict[str, int] = {}
        self.actual: dict[str, int] = {}

    def __call__(self, outcome: Any) -> dict[str, float]:
        predicted, actual = np.asarray(outcome.predictions), np.asarray(outcome.label_ids)
        if predicted.shape != actual.shape:  # virtual tokens come first
            predicted = predicted[..., -actual.shape[-1] :]
        counted = actual != IGNORED
        given, wanted = predicted[counted], actual[counted]
        self.predicted, self.actual = self._counts(given), self._counts(wanted)
        if not len(wanted):
            return {}
        f1 = self._entity_f1(predicted, actual) if self._entities else self._macro_f1(given, wanted)
        return {"accuracy": float((given == wanted).mean()), "f1": f1}

    def _entity_f1(self, predicted: Any, actual: Any) -> float:
        """F1 of whole entities; a word is its labelled token."""
        kept = [row != IGNORED for row in actual]
        given, wanted = (
            [[self._labels[n] for n in row[mask]] for row, mask in zip(rows, kept, strict=True)]
            for rows in (predicted, actual)
        )
        return strict_f1(wanted, given)

    def _macro_f1(self, predicted: Any, actual: Any) -> float:
        from sklearn.metrics import f1_score  # type: ignore[import-untyped]  # ships no types

        outside = self._task is Task.TOKENS and OUTSIDE in self._labels
        scored = [n for n, label in enumerate(self._labels) if not (outside and label == OUTSIDE)]
        present = [n for n in scored if n in actual or n in predicted]
        return float(f1_score(actual, predicted, labels=present, average="macro", zero_division=0)) if present else 0.0

    def _counts(self, numbers: Any) -> dict[str, int]:
        found = np.bincount(numbers, minlength=len(self._labels)) if len(numbers) else np.zeros(len(self._labels))
        return {label: int(count) for label, count in zip(self._labels, found, strict=False)}
