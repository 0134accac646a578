"""Rows that an earlier head of the same kind picks for the next one: self-training on sentences that nobody labelled.

A sentence of a review need not say what the whole review says. Those are kept for which the earlier head gives the
review's label a fair probability: two weak witnesses that agree. Source: Yarowsky, "Unsupervised word sense
disambiguation rivaling supervised methods" (1995), with the review as the second view.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from core.training.columns import Row
from core.training.heads.scoring import probabilities

CANDIDATES = 30_000
EACH = 8_000
AGREES = 0.7


def picked(model: Any, tokenizer: Any, rows: Sequence[Row], rng: random.Random) -> list[Row]:
    """At most ``EACH`` rows of each label to which ``model`` gives that label at least the probability ``AGREES``."""
    candidates = rng.sample(list(rows), min(CANDIDATES, len(rows)))
    kept: dict[int, list[Row]] = {}
    for row, found in zip(candidates, probabilities(model, tokenizer, candidates), strict=True):
        mine = kept.setdefault(row["label"], [])
        if found[row["label"]] >= AGREES and len(mine) < EACH:
            mine.append(row)
    return [row for label in sorted(kept) for row in kept[label]]
