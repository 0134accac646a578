"""The way of a text into a batch, step by step, and how much of the batches is padding, counted from the batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.training.strategies.batches import Examples, epoch_batches
from core.training.strategies.texts import clean

PADDINGS = {"static": "Static", "dynamic": "Dynamic", "grouped": "Length-grouped"}
SHOWN_EXAMPLES = 3
SHOWN_ROWS = 8


def padding_waste(examples: Examples, size: int, seed: int) -> list[dict[str, Any]]:
    """For each way of padding: real tokens and cells in one epoch's batches of this size."""
    lengths = examples.lengths or []
    longest = max(lengths)
    found = []
    for name, title in PADDINGS.items():
        batches = epoch_batches(len(examples), size, 0, seed, lengths=lengths if name == "grouped" else None)
        widths = [longest if name == "static" else max(lengths[i] for i in rows.tolist()) for rows in batches]
        cells = sum(width * len(rows) for width, rows in zip(widths, batches, strict=True))
        found.append({"name": name, "title": title, "tokens": sum(lengths), "cells": cells, "batches": len(batches)})
    return found


def way_of_text(
    raw: Sequence[str], tokens: Sequence[Sequence[str]], labels: Sequence[str], examples: Examples, size: int, seed: int
) -> dict[str, Any]:
    """What the page shows of the training texts: a few on their way, one batch of each padding, and the waste."""
    lengths = examples.lengths or []
    order = sorted(range(len(raw)), key=lambda i: lengths[i])
    picked = [order[len(order) * k // (SHOWN_EXAMPLES + 1)] for k in range(1, SHOWN_EXAMPLES + 1)]
    rows = examples.inputs if isinstance(examples.inputs, list) else []
    on_their_way = [
        {"raw": raw[i], "clean": clean(raw[i]), "tokens": list(tokens[i]), "ids": rows[i], "label": labels[i]}
        for i in picked
    ]
    batches = []
    for name, title in PADDINGS.items():
        first = epoch_batches(len(examples), size, 0, seed, lengths=lengths if name == "grouped" else None)[0].tolist()
        width = max(lengths) if name == "static" else max(lengths[i] for i in first)
        kept = [lengths[i] for i in first[:SHOWN_ROWS]]
        batches.append({"name": name, "title": title, "rows": kept, "width": width, "size": len(first)})
    return {
        "examples": on_their_way,
        "batches": batches,
        "waste": padding_waste(examples, size, seed),
        "vocabulary": max((max(row) for row in rows), default=1) + 1,
        "longest": max(lengths),
    }
