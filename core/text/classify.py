"""Labels for whole texts, or for pairs of them.

Promises
- Every text is answered once, whatever it holds: an empty one by its special tokens alone.
- A text that is too long is read in overlapping windows whose probabilities are averaged by their tokens, or cut where
  the caller says so; either way the answer says how many windows it was.
- Probabilities are softmax over the labels; sigmoids where a text may have several; the raw score where there is only
  one output (a regression).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from core.runtime.loading import LoadedModel
from core.text.batching import Batch, batches
from core.text.windows import Text, blocks, windows_of

Long = Literal["windows", "truncate"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of text ``index``. ``seconds`` is its share, by tokens, of the passes that it was in.

    ``label`` is the number of the likeliest label; ``tokens`` are those that were read, special ones too.
    """

    index: int
    label: int
    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    tokens: int
    windows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Part:
    """One window's answer."""

    tokens: int
    probabilities: list[float]
    logits: list[float]
    seconds: float


def classify(
    loaded: LoadedModel,
    texts: Sequence[Text],
    *,
    long: Long = "windows",
    visitor: str = "",
    cancelled: Callable[[], bool] = lambda: False,
    multi_label: bool = False,
) -> Iterator[list[Prediction]]:
    """Predictions, a list per batch, the shorter texts of a block first. Raises ``Stopped`` when ``cancelled``."""
    for first, block in blocks(texts):
        windows = windows_of(loaded, block, truncate=long == "truncate", first=first)
        wanted: dict[int, int] = {}
        for window in windows:
            wanted[window.text] = wanted.get(window.text, 0) + 1
        parts: dict[int, list[_Part]] = {}
        for batch in batches(loaded, windows, visitor=visitor, cancelled=cancelled):
            done: list[Prediction] = []
            for window, part in zip(batch.windows, _parts(batch, multi_label), strict=True):
                mine = parts.setdefault(window.text, [])
                mine.append(part)
                if len(mine) == wanted[window.text]:
                    done.append(_joined(window.text, parts.pop(window.text)))
            if done:
                yield done


def _parts(batch: Batch, multi_label: bool) -> list[_Part]:
    import torch

    logits = batch.logits
    if logits.shape[-1] == 1:
        probabilities = logits
    else:
        probabilities = torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=-1)
    lengths = [len(window.encoding) for window in batch.windows]
    share = batch.seconds / sum(lengths) if sum(lengths) else 0.0
    rows = zip(lengths, probabilities.tolist(), logits.tolist(), strict=True)
    return [_Part(tokens, p, raw, tokens * share) for tokens, p, raw in rows]


def _joined(index: int, parts: list[_Part]) -> Prediction:
    tokens = sum(part.tokens for part in parts)
    if len(parts) == 1:
        probabilities, logits = parts[0].probabilities, parts[0].logits
    else:
        weights = [part.tokens / tokens for part in parts]
        probabilities = _mean([part.probabilities for part in parts], weights)
        logits = _mean([part.logits for part in parts], weights)
    return Prediction(
        index=index,
        label=max(range(len(probabilities)), key=probabilities.__getitem__),
        probabilities=tuple(probabilities),
        logits=tuple(logits),
        tokens=tokens,
        windows=len(parts),
        seconds=sum(part.seconds for part in parts),
    )


def _mean(rows: list[list[float]], weights: list[float]) -> list[float]:
    columns = zip(*rows, strict=True)
    return [sum(weight * value for weight, value in zip(weights, column, strict=True)) for column in columns]
