"""Windows of very different lengths through a model, in batches of like length, a batch per turn of its lane.

Promises
- A batch holds windows of nearly one length and at most ``TOKENS`` tokens, padding included: what a batch of mixed
  lengths wastes on padding is the larger part of its time.
- One batch is one slice of the lane, so that visitors take turns, and a cancelled reader ends within a batch.
- Short windows come first. Logits are float32 on the CPU; nothing else of a pass is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.runtime.loading import LoadedModel
from core.runtime.threads import StepThreads
from core.text.windows import Window

if TYPE_CHECKING:
    import torch

TOKENS = 4096
ROWS = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows and their logits, (rows, labels) or (rows, tokens, labels); ``seconds`` is what the pass took."""

    windows: Sequence[Window]
    logits: torch.Tensor
    seconds: float


def batches(
    loaded: LoadedModel,
    windows: Sequence[Window],
    *,
    visitor: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Batch]:
    """Every window once, in batches. Raises ``Stopped`` when ``cancelled``."""
    threads = StepThreads(loaded.device.type)
    rows = ROWS if _padding(loaded) is not None else 1
    for group in groups(windows, rows, same_length=_needs_equal_rows(loaded)):

        def work(group: Sequence[Window] = group) -> Batch:
            return forward(loaded, group, threads)

        yield loaded.lane.call(work, visitor=visitor, cancelled=cancelled)


def groups(windows: Sequence[Window], rows: int = ROWS, *, same_length: bool = False) -> Iterator[list[Window]]:
    """The windows in batches of ``rows`` at most, the shortest first. ``same_length`` puts only equal ones together."""
    group: list[Window] = []
    for window in sorted(windows, key=lambda window: len(window.encoding)):
        length = len(window.encoding)
        full = len(group) >= rows or (len(group) + 1) * length > TOKENS
        if group and (full or (same_length and len(group[0].encoding) != length)):
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def forward(loaded: LoadedModel, group: Sequence[Window], threads: StepThreads) -> Batch:
    """One pass, on the caller's thread."""
    import torch

    began = time.perf_counter()
    inputs = inputs_of(loaded, group)
    with threads.step(), torch.inference_mode():
        logits = loaded.model(**inputs).logits.float().cpu()
    return Batch(group, logits, time.perf_counter() - began)


def inputs_of(loaded: LoadedModel, group: Sequence[Window]) -> dict[str, Any]:
    """A row for each window, padded on the right, on the model's device. Segments only where they say something."""
    import torch

    pad = _padding(loaded) or 0
    ids = [window.encoding.ids or [pad] for window in group]  # an empty text may not even have special tokens
    length = max(len(row) for row in ids)
    padded = any(len(row) < length for row in ids)
    inputs = {"input_ids": _tensor(ids, length, pad)}
    mask = [[1] * len(row) for row in ids]
    inputs["attention_mask"] = _tensor(mask, length, 0) if padded else torch.ones_like(inputs["input_ids"])
    if "token_type_ids" in loaded.tokenizer.model_input_names:
        kinds = [window.encoding.type_ids for window in group]
        if any(any(row) for row in kinds):
            inputs["token_type_ids"] = _tensor(kinds, length, 0)
    return {name: tensor.to(loaded.device) for name, tensor in inputs.items()}


def _tensor(rows: Sequence[Sequence[int]], length: int, fill: int) -> torch.Tensor:
    import torch

    return torch.tensor([[*row, *([fill] * (length - len(row)))] for row in rows])


def _padding(loaded: LoadedModel) -> int | None:
    """The token that the model itself takes for padding; None where it knows none, and rows go one by one.

    A language model with a head for labels finds a text's last token by it, so the tokenizer's own would not do.
    """
    pad = getattr(loaded.model.config, "pad_token_id", None)
    return pad if isinstance(pad, int) and pad >= 0 else None


def _needs_equal_rows(loaded: LoadedModel) -> bool:
    """Whether padding would be read: a trained prompt before a language model's head is found by the last position."""
    return loaded.facts.kind == "causal" and hasattr(loaded.model, "peft_config")
