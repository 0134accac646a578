"""The rows on which an exported model is compared with its original, and the comparison: ``core.measure.parity`` on the
validation rows of the very training that made the model.

Rows are read and encoded as the training did, at most ``ROWS`` of them, padded on the right. A text's position is
scored by the token that follows it, where the training took a loss; a labelled one by its label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.events import Event, Progress, Table
from core.labs.finetuning.request import FinetuningRequest
from core.measure.parity import IGNORED, Certificate, Parity
from core.runtime.loading import LoadedModel
from core.runtime.run_context import RunContext
from core.training.datasets import Prepared
from core.training.encoding import encode_batch, language_data, language_rows, room
from core.training.parameters import Task

ROWS = 96
BATCH = 8
Forward = Callable[[Tensor, Tensor], Tensor]
"""Logits of (input_ids, attention_mask)."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Ids and mask (B, T); labels and which positions count: (B, T), or (B,) where a text has one label."""

    ids: Tensor
    mask: Tensor
    labels: Tensor
    real: Tensor


def batches(prepared: Prepared, tokenizer: Any, request: FinetuningRequest) -> list[Batch]:
    """The validation rows as the model reads them."""
    if request.task is Task.LANGUAGE:
        data = language_data(prepared, tokenizer, request)
        settings = {**data.settings, "packing": False}
        kept = data.validation.select(range(min(ROWS, len(data.validation))))
        rows = [
            (row.ids, [*(i if t else IGNORED for i, t in zip(row.ids[1:], row.trained[1:], strict=True)), IGNORED])
            for row in language_rows(kept, tokenizer, settings)
        ]
    else:
        kept = prepared.validation[:ROWS]
        columns = encode_batch(kept, prepared.form, tokenizer, room(tokenizer, request))
        rows = list(zip(columns["input_ids"], columns["labels"], strict=True))
    pad = tokenizer.pad_token_id or 0
    return [_padded(rows[start : start + BATCH], pad) for start in range(0, len(rows), BATCH)]


def forward_of(loaded: LoadedModel, visitor: str) -> Forward:
    """The model's forward pass through its lane."""

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        def work() -> Tensor:
            with torch.inference_mode():
                given = {"input_ids": ids.to(loaded.device), "attention_mask": mask.to(loaded.device)}
                logits: Tensor = loaded.model(**given).logits
                return logits

        return loaded.lane.call(work, visitor=visitor)

    return forward


def compare(
    before: Forward, after: Forward, rows: list[Batch], context: RunContext, *, what: str, dtype: str, task: Task
) -> Iterator[Event | Certificate]:
    """Progress batch by batch, the certificate's table, and at last the certificate itself."""
    parity = Parity("perplexity" if task is Task.LANGUAGE else "accuracy", dtype)
    for done, batch in enumerate(rows, start=1):
        context.check()
        parity.add(before(batch.ids, batch.mask), after(batch.ids, batch.mask), batch.labels, batch.real)
        yield Progress(done=done, total=len(rows), unit="batches", note="Comparing on the validation rows")
    certificate = parity.certificate(what)
    columns = ("measure", "measured", "allowed", "result")
    yield Table(name="certificate", columns=columns, rows=certificate.lines())
    yield certificate


def _padded(rows: list[tuple[list[int], Any]], pad: int) -> Batch:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row, _ in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in rows])
    if isinstance(rows[0][1], int):
        labels = torch.tensor([label for _, label in rows])
        return Batch(ids, mask, labels, torch.ones_like(labels, dtype=torch.bool))
    labels = torch.tensor([[*given, *[IGNORED] * (width - len(given))] for _, given in rows])
    return Batch(ids, mask, labels, mask.bool())
