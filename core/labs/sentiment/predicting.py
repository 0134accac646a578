"""What the modes of a sentiment run share: the borrowed model, predictions in blocks, progress, words for the page.

Promises: a prediction's index is its text's place among all; the first texts come first, in small blocks, the others in
large ones that are sorted by length; a run that is stopped ends within a batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from core.errors import BadInput
from core.events import Progress
from core.labs.sentiment.choices import Long
from core.labs.sentiment.material import Item
from core.runtime.labelling import label_spec, labels_of
from core.runtime.loading import LoadedModel
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.text.classify import Prediction, classify

SHOWN_CHARACTERS = 600
SHOWN_ROWS = 500
_FIRST_BLOCK, _BLOCK = 50, 2048
_EVERY_SECONDS = 0.25


def lease(name: str, pool: Pool, context: RunContext) -> AbstractContextManager[LoadedModel]:
    """Borrow the model called ``name``, which has to label whole texts."""
    spec = label_spec(name, "classification", pool.settings)
    return pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner)


def title_of(name: str, loaded: LoadedModel, pool: Pool, owner: str) -> str:
    """What a model is called on the page."""
    tuned = pool.named(name, owner)
    return tuned.title if tuned is not None else loaded.facts.title


def about(name: str, loaded: LoadedModel, pool: Pool, owner: str) -> dict[str, Any]:
    """A model as ``Step("start")`` names it."""
    return {
        "name": name,
        "title": title_of(name, loaded, pool, owner),
        "device": loaded.placement.device,
        "dtype": loaded.placement.dtype,
        "why": loaded.placement.why,
        "parameters": loaded.facts.parameters,
        "labels": list(labels_of(loaded)),
    }


def needs_labels(loaded: LoadedModel) -> tuple[str, ...]:
    """The model's labels. Raises ``BadInput`` for one that gives a single number."""
    labels = labels_of(loaded)
    if len(labels) < 2:
        raise BadInput(
            f"{loaded.facts.title} gives a score and no labels.", "Label texts with it, or choose a model with labels."
        )
    return labels


def many_labels(loaded: LoadedModel) -> bool:
    """Whether a text may have several of the model's labels at once."""
    return getattr(loaded.model.config, "problem_type", None) == "multi_label_classification"


def predictions(
    loaded: LoadedModel, items: Sequence[Item], long: Long, context: RunContext, *, in_order: bool = False
) -> Iterator[list[Prediction]]:
    """Predictions, a list per batch. ``in_order``: the first texts are done first, for a page that draws them.

    Raises ``Stopped``.
    """
    for begin, end in _blocks(len(items), in_order):
        found = classify(
            loaded,
            items[begin:end],
            long="windows" if long is Long.WINDOWS else "truncate",
            visitor=context.visitor,
            cancelled=context.cancelled,
            multi_label=many_labels(loaded),
        )
        for batch in found:
            yield [replace(one, index=one.index + begin) for one in batch]
            context.check()


def _blocks(count: int, in_order: bool) -> Iterator[tuple[int, int]]:
    first = min(SHOWN_ROWS, count) if in_order else 0
    yield from ((begin, min(begin + _FIRST_BLOCK, first)) for begin in range(0, first, _FIRST_BLOCK))
    yield from ((begin, min(begin + _BLOCK, count)) for begin in range(first, count, _BLOCK))


class Pace:
    """How far long work is, told a few times a second."""

    def __init__(self, total: int, unit: str = "texts", note: str = "") -> None:
        self._total, self._unit, self._note = total, unit, note
        self._began = time.monotonic()
        self._told = -_EVERY_SECONDS
        self.done = 0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def add(self, done: int) -> Iterator[Progress]:
        """So many more are done: an event where it is time for one, and at the end."""
        self.done += done
        now = self.seconds
        if now - self._told < _EVERY_SECONDS and self.done < self._total:
            return
        self._told = now
        left = round(now * (self._total - self.done) / self.done, 1) if self.done else None
        yield Progress(done=self.done, total=self._total, unit=self._unit, note=self._note, seconds_left=left)


def long_texts(found: Iterable[Prediction], limit: int) -> dict[str, Any]:
    """How many texts were longer than the model reads at once, and what was done with them.

    A pair is never read in windows: its longer side is cut.
    """
    windows, full = 0, 0
    for one in found:
        windows += one.windows > 1
        full += one.windows == 1 and one.tokens >= limit
    how = [f"{full:,} read as far as the limit of {limit:,} tokens"] if full else []
    if windows:
        how.append(f"{windows:,} read in overlapping windows of {limit:,} tokens, probabilities averaged by tokens")
    return {"n": windows + full, "how": "; ".join(how)}


def cut(text: str) -> tuple[str, bool]:
    """A text as a row of the page shows it, and whether it is shortened."""
    return text[:SHOWN_CHARACTERS], len(text) > SHOWN_CHARACTERS


def rounded(values: Sequence[float], places: int = 6) -> list[float]:
    """Numbers as short as they need to be."""
    return [round(float(value), places) for value in values]
