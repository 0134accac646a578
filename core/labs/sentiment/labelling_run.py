"""Labelling texts: a row for each of the first ones, a file with all of them, and how fast it went.

Promises: rows come in the order of the texts; ``predictions.csv`` has the data's own columns and a line for each text
that was labelled, all of them unless the run was stopped, which is said; no cell of it is taken for a formula.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import Stopped
from core.events import Artifact, Done, Event, Metric, Step
from core.events import Warning as Notice
from core.labs.base import inert
from core.labs.sentiment.material import Item, Texts, read_texts, reader_of, shown_text
from core.labs.sentiment.predicting import (
    SHOWN_ROWS,
    Pace,
    about,
    cut,
    lease,
    long_texts,
    many_labels,
    predictions,
    rounded,
)
from core.labs.sentiment.request import SentimentRequest
from core.runtime.labelling import labels_of
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.text.classify import Prediction
from core.text.windows import limit_of

FILE = "predictions.csv"
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def label_texts(request: SentimentRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    texts = read_texts(request, reader_of(pool.settings, context))
    with lease(request.model, pool, context) as loaded:
        labels = labels_of(loaded)
        start = {"mode": request.mode.value, "model": about(request.model, loaded, pool, context.owner)}
        more = {"labels": list(labels), "total": len(texts.items), "source": texts.source}
        yield Step(name="start", index=0, values={**start, **more, "several": many_labels(loaded)})
        yield from (Notice(text=note) for note in texts.notes)
        pace = Pace(len(texts.items), note="Labelling")
        rows = _Rows(texts.items)
        with suppress(Stopped):
            for batch in predictions(loaded, texts.items, request.long, context, in_order=True):
                yield from rows.add(batch)
                yield from pace.add(len(batch))
        seconds, limit = pace.seconds, limit_of(loaded)
    yield from rows.rest()
    yield from _ending(texts, labels, rows.found, limit, seconds, context)


def row_of(one: Prediction, item: Item) -> dict[str, Any]:
    """A prediction as the page's table shows it."""
    text, shortened = cut(shown_text(item))
    return {
        "i": one.index,
        "text": text,
        "cut": shortened,
        "label": one.label,
        "p": rounded(one.probabilities),
        "ms": round(1000 * one.seconds, 3),
        "tokens": one.tokens,
        "windows": one.windows,
    }


class _Rows:
    """Predictions as they come, told in the order of the texts."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._told = 0
        self.found: dict[int, Prediction] = {}

    def add(self, batch: Sequence[Prediction]) -> Iterator[Event]:
        """Those that can be told now."""
        self.found |= {one.index: one for one in batch}
        ready = []
        while self._told < SHOWN_ROWS and self._told in self.found:
            ready.append(row_of(self.found[self._told], self._items[self._told]))
            self._told += 1
        if ready:
            yield Step(name="rows", index=ready[0]["i"], values={"rows": ready})

    def rest(self) -> Iterator[Event]:
        """What a stopped run has beyond the first gap."""
        left = [i for i in sorted(self.found) if self._told <= i][: max(0, SHOWN_ROWS - self._told)]
        if left:
            rows = [row_of(self.found[i], self._items[i]) for i in left]
            yield Step(name="rows", index=left[0], values={"rows": rows})


def _ending(
    texts: Texts,
    labels: Sequence[str],
    found: dict[int, Prediction],
    limit: int,
    seconds: float,
    context: RunContext,
) -> Iterator[Event]:
    stopped = context.cancelled()
    if len(found) < len(texts.items):
        partial = f"Stopped after {len(found):,} of {len(texts.items):,} texts: the file has those and no others."
        yield Notice(text=partial)
    if context.folder is not None and found:
        size = write_predictions(context.folder / FILE, texts, labels, found)
        yield Artifact(name=FILE, path=FILE, bytes=size)
    speed = round(len(found) / seconds, 2) if seconds else 0.0
    summary = {
        "n": len(found),
        "counts": [sum(one.label == number for one in found.values()) for number in range(len(labels))],
        "seconds": round(seconds, 4),
        "texts_per_second": speed,
        "long": long_texts(found.values(), limit),
    }
    yield Step(name="summary", index=0, values=summary)
    yield Metric(name="texts per second", value=speed, unit="1/s")
    shown = [row_of(found[i], texts.items[i]) for i in sorted(found)[:SHOWN_ROWS]]
    kept = [{"text": r["text"], "label": labels[r["label"]], "p": r["p"], "ms": r["ms"]} for r in shown]
    yield Done(
        reason="stopped" if stopped else "finished", result={**summary, "labels": list(labels), "predictions": kept}
    )


def write_predictions(path: Path, texts: Texts, labels: Sequence[str], found: dict[int, Prediction]) -> int:
    """One line for each labelled text, in the order of the data; its size in bytes."""
    names = list(dict.fromkeys(name for row in texts.rows for name in row))
    own = ["label", "probability", *(f"p_{label}" for label in labels)] if len(labels) > 1 else ["score"]
    own = [name if name not in names else f"{name} (predicted)" for name in own]
    draft = path.with_suffix(".part")
    with draft.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow([_cell(name) for name in (*names, *own)])
        for i in sorted(found):
            cells = [_cell(texts.rows[i].get(name)) for name in names]
            writer.writerow([*cells, *_predicted(found[i], labels)])
    draft.replace(path)
    return path.stat().st_size


def _cell(value: Any) -> str:
    """A value as text that no spreadsheet computes; numbers stay as they are."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text.replace("\0", "")
    return text if _NUMBER.fullmatch(text) else inert(text)


def _predicted(one: Prediction, labels: Sequence[str]) -> list[str]:
    numbers = [f"{value:.6f}" for value in one.probabilities]
    if len(labels) < 2:
        return numbers
    return [_cell(labels[one.label]), numbers[one.label], *numbers]
