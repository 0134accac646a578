"""Figures of a head on rows with known answers: accuracy and F1 of labels, strict entity scores of tags.

Promises: rows are read as the trainer reads them (cut to the model's 512 tokens, a word judged by its first token), in
float32, sorted by length; the same rows and weights give the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.training.batches import IGNORED, PadBatch
from core.training.columns import Row
from core.training.encoding import encode_batch

BATCH_TOKENS = 4096
ROUNDED = 4


def predictions(model: Any, tokenizer: Any, rows: Sequence[Row]) -> list[Any]:
    """For each row its label, or for rows of words their tags; numbers in both cases."""
    form = "tags" if "words" in rows[0] else "labels"
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    if form == "tags":
        columns["tags"] = [list(range(len(row["words"]))) for row in rows]  # says which word a token begins
    encoded = encode_batch(columns, form, tokenizer, tokenizer.model_max_length)
    made = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
    found: list[Any] = [None] * len(rows)
    for numbers, chosen, labels in _passes(model, made, PadBatch(tokenizer.pad_token_id)):
        for number, row_chosen, row_labels in zip(numbers, chosen, labels, strict=True):
            found[number] = row_chosen if form == "labels" else _tags(rows[number], row_chosen, row_labels)
    return found


def _passes(model: Any, made: Sequence[Row], collate: Any) -> Iterator[tuple[list[int], list[Any], list[Any]]]:
    import torch

    for numbers in _batches([len(row["input_ids"]) for row in made]):
        batch = collate([made[number] for number in numbers])
        labels = batch.pop("labels")
        with torch.inference_mode():
            logits = model(**{name: tensor.to(model.device) for name, tensor in batch.items()}).logits
        yield numbers, logits.argmax(-1).tolist(), labels.tolist()


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of rows of similar lengths, at most ``BATCH_TOKENS`` tokens together."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if batch and lengths[number] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _tags(row: Row, chosen: Sequence[int], words: Sequence[int]) -> list[int]:
    """What was chosen at each word's first token; 0 (``O``) for words behind the cut or without any token."""
    tags = [0] * len(row["words"])
    for tag, word in zip(chosen, words, strict=True):
        if word != IGNORED:
            tags[word] = tag
    return tags


def label_scores(gold: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro F1, and precision, recall, F1 and rows of each label."""
    from sklearn.metrics import precision_recall_fscore_support  # type: ignore[import-untyped]  # ships no types

    numbers = range(len(labels))
    parts = precision_recall_fscore_support(gold, predicted, labels=list(numbers), zero_division=0)
    precision, recall, f1, count = (part.tolist() for part in parts)
    return {
        "rows": len(gold),
        "accuracy": _rounded(sum(a == b for a, b in zip(gold, predicted, strict=True)) / len(gold)),
        "macro_f1": _rounded(sum(f1) / len(f1)),
        "per_class": {
            labels[n]: {
                "precision": _rounded(precision[n]),
                "recall": _rounded(recall[n]),
                "f1": _rounded(f1[n]),
                "rows": int(count[n]),
            }
            for n in numbers
        },
    }


def tag_scores(gold: Sequence[list[int]], predicted: Sequence[list[int]], tags: Sequence[str]) -> dict[str, Any]:
    """Micro precision, recall and F1 of whole entities, strict IOB2, and those of each type."""
    from seqeval.metrics import classification_report  # type: ignore[import-untyped]  # ships no types
    from seqeval.scheme import IOB2  # type: ignore[import-untyped]  # ships no types

    named = [[[tags[number] for number in row] for row in side] for side in (gold, predicted)]
    report = classification_report(*named, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    types = {name: _entity_row(row) for name, row in report.items() if not name.endswith(" avg")}
    return {"rows": len(gold), **_entity_row(report["micro avg"]), "per_type": types}


def _entity_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "precision": _rounded(row["precision"]),
        "recall": _rounded(row["recall"]),
        "f1": _rounded(row["f1-score"]),
        "entities": int(row["support"]),
    }


def score(model: Any, tokenizer: Any, rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Any]:
    """All figures of a head on ``rows``."""
    found = predictions(model, tokenizer, rows)
    if "words" in rows[0]:
        return tag_scores([row["tags"] for row in rows], found, labels)
    return label_scores([row["label"] for row in rows], found, labels)


def _rounded(value: float) -> float:
    return round(float(value), ROUNDED)
