"""What the numbers of a training say, in one sentence each: pure functions over the values so far.

Promises: a reading is a sentence when the numbers show it and None otherwise; values that are not finite are skipped,
except by ``not_a_number``, which is about them. The thresholds are named below. Does not look at the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

Points = Sequence[tuple[int, float]]
"""(optimizer step, value), in order of the steps."""

OVERFITTING_RISE = 1.01
"""The evaluation loss over its lowest value, twice in a row, from which on it counts as rising."""
STILL_STEPS = 20
"""Steps before it can be said that the loss does not move."""
STILL_SHARE = 0.01
"""The share by which the loss must have fallen between the first and the last quarter of the steps."""
EXPLODING_TIMES = 10.0
"""How many times its median the gradient norm must reach."""
EXPLODING_STEPS = 10
"""Steps that the median is taken over, before the last three."""


def overfitting(train: Points, evaluations: Points) -> str | None:
    """The evaluation loss has risen for two evaluations since its best while the training loss went on falling."""
    seen = _finite(evaluations)
    if len(seen) < 3:
        return None
    best_step, best = min(seen, key=lambda point: point[1])
    since = [value for step, value in seen if step > best_step]
    if len(since) < 2 or min(since[-2:]) < best * OVERFITTING_RISE:
        return None
    before = [value for step, value in _finite(train) if step <= best_step][-5:]
    after = [value for step, value in _finite(train) if step > best_step][-5:]
    if not before or not after or fmean(after) >= fmean(before):
        return None
    return (
        f"Overfitting: since step {best_step} the validation loss has risen from {best:.3f} to {since[-1]:.3f}, "
        f"while the training loss fell from {fmean(before):.3f} to {fmean(after):.3f}."
    )


def not_learning(train: Points) -> str | None:
    """After ``STILL_STEPS`` steps the loss of the last quarter is no lower than that of the first."""
    seen = [value for _, value in _finite(train)]
    if len(seen) < STILL_STEPS:
        return None
    quarter = len(seen) // 4
    first, last = fmean(seen[:quarter]), fmean(seen[-quarter:])
    if last < first * (1 - STILL_SHARE):
        return None
    return (
        f"The loss does not fall: {first:.3f} over the first {quarter} steps, {last:.3f} over the last {quarter}. "
        "Try another learning rate, or train more numbers."
    )


def not_a_number(train: Points) -> str | None:
    """The newest loss is no number."""
    if not train or math.isfinite(train[-1][1]):
        return None
    return f"The loss is not a number at step {train[-1][0]}. A lower learning rate or a longer warm-up helps."


def exploding(norms: Points, train: Points) -> str | None:
    """Two of the last three gradient norms are ``EXPLODING_TIMES`` the median of those before, or no number.

    Large but finite ones count only while the training loss rises: a sharp turn on the way down is none.
    """
    last = [value for _, value in norms[-3:]]
    before = [value for _, value in norms[:-3] if math.isfinite(value)]
    if len(before) < EXPLODING_STEPS:
        return None
    usual = median(before)
    large = [value for value in last if not value < EXPLODING_TIMES * usual]
    if len(large) < 2 or usual <= 0:
        return None
    newest = large[-1]
    losses = [value for _, value in train if math.isfinite(value)]
    falls = len(losses) > EXPLODING_STEPS and fmean(losses[-3:]) <= median(losses[-EXPLODING_STEPS - 3 : -3])
    if falls and all(map(math.isfinite, large)):
        return None
    size = f"{newest:.3g}, {newest / usual:.0f} times its median" if math.isfinite(newest) else "not a number"
    return f"The gradients explode: at step {norms[-1][0]} their norm is {size}. Lower the learning rate."


def one_class(predicted: Mapping[str, int], actual: Mapping[str, int]) -> str | None:
    """Every validation row gets the same label although the rows have several. Counts by label."""
    chosen = [label for label, count in predicted.items() if count]
    if len(chosen) != 1 or sum(1 for count in actual.values() if count) < 2:
        return None
    share = actual.get(chosen[0], 0) / max(sum(actual.values()), 1)
    return f"Everything is predicted as “{chosen[0]}”, which {share:.0%} of the validation rows are."


def _finite(points: Points) -> list[tuple[int, float]]:
    return [(step, value) for step, value in points if math.isfinite(value)]
