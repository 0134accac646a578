"""Figures of a head on rows with known answers: accuracy and F1 of labels, strict entity scores of tags.

Promises: rows are read as the trainer reads them (cut to the model's 512 tokens, a word judged by its first token), in
float32, sorted by length; the same rows and weights give the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.measure.classification import ClassScores, report
from core.measure.entities import TypeScores, entity_scores
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
    """Accuracy, macro F1 over all labels, and precision, recall, F1 and rows of each label."""
    found = report(gold, predicted, labels)
    return {
        "rows": found.n,
        "accuracy": _rounded(found.accuracy),
        "macro_f1": _rounded(sum(one.f1 for one in found.classes) / len(found.classes)),
        "per_class": {one.label: {**_three(one), "rows": one.n} for one in found.classes},
    }


def tag_scores(gold: Sequence[list[int]], predicted: Sequence[list[int]], tags: Sequence[str]) -> dict[str, Any]:
    """Micro precision, recall and F1 of whole entities, strict IOB2, and those of each type."""
    names = [[[tags[number] for number in row] for row in side] for side in (gold, predicted)]
    strict = entity_scores(*names).strict
    types = {one.type: {**_three(one), "entities": one.n} for one in strict.types}
    return {"rows": len(gold), **_three(strict.micro), "entities": strict.micro.n, "per_type": types}


def _three(one: ClassScores | TypeScores) -> dict[str, float]:
    return {"precision": _rounded(one.precision), "recall": _rounded(one.recall), "f1": _rounded(one.f1)}


def score(model: Any, tokenizer: Any, rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Any]:
    """All figures of a head on ``rows``."""
    found = predictions(model, tokenizer, rows)
    if "words" in rows[0]:
        return tag_scores([row["tags"] for row in rows], found, labels)
    return label_scores([row["label"] for row in rows], found, labels)


def _rounded(value: float) -> float:
    return round(float(value), ROUNDED)
