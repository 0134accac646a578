"""Whether a difference between two models on the same rows could be chance.

Promises
- ``mcnemar`` (McNemar 1947) looks at the rows that only one of the two got right: an exact binomial test below
  ``EXACT_BELOW`` of them, else the chi-square statistic with continuity correction (Edwards 1948); it says which.
- ``bootstrap_difference`` and ``bootstrap_interval`` (Efron 1979) draw the rows again, both models' together: a 95%
  percentile interval. The same seed gives the same interval.
- ``verdict`` says in a sentence what both come to.

A row's values may be any numbers whose sums decide the score: 0 or 1 for accuracy, ``class_counts`` with ``macro_f1``,
counts of entities with ``micro_f1``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.errors import BadInput

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EXACT_BELOW = 25
"""Discordant rows under which the exact test is used."""
LEVEL = 0.05
"""A difference at least as probable by chance as this is called one that could be chance."""
_AT_ONCE = 4_000_000
"""Numbers drawn at a time."""
Metric = Callable[[Any], Any]
"""From sums of rows' values (draws, columns), divided by the number of rows, to scores (draws,)."""
TESTS = {"exact": "McNemar's exact test", "corrected": "McNemar's test with continuity correction"}


@dataclass(frozen=True, slots=True)
class McNemar:
    """Rows by who got them right, and how probable so uneven a split is if both models are equally good."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float
    test: Literal["exact", "corrected"]

    @property
    def n(self) -> int:
        """All rows."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def title(self) -> str:
        """The test's name in words."""
        return TESTS[self.test]

    @property
    def chance(self) -> bool:
        """Whether the difference could be chance."""
        return self.p_value >= LEVEL


@dataclass(frozen=True, slots=True)
class Difference:
    """The score of b less that of a, and the 95% interval from ``low`` to ``high``."""

    low: float
    high: float
    difference: float

    @property
    def chance(self) -> bool:
        """Whether zero lies in the interval."""
        return self.low <= 0.0 <= self.high


def mcnemar(correct_a: Sequence[bool], correct_b: Sequence[bool]) -> McNemar:
    """Compare two models by which rows each got right. Two-sided; 1 where they never differ."""
    if len(correct_a) != len(correct_b):
        raise BadInput("The two models were not given the same rows.", "Compare them on the same rows.")
    pairs = [(bool(a), bool(b)) for a, b in zip(correct_a, correct_b, strict=True)]
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    discordant = only_a + only_b
    exact = discordant < EXACT_BELOW
    p_value = _binomial(min(only_a, only_b), discordant) if exact else _corrected(only_a, only_b)
    return McNemar(
        pairs.count((True, True)), only_a, only_b, pairs.count((False, False)), p_value,
        "exact" if exact else "corrected",
    )  # fmt: skip


def _binomial(fewer: int, n: int) -> float:
    """Two-sided: twice the probability of so few or fewer heads in ``n`` tosses."""
    return min(1.0, 2.0 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2.0**n)


def _corrected(only_a: int, only_b: int) -> float:
    """The upper tail of chi-square with one degree of freedom."""
    statistic = max(0, abs(only_a - only_b) - 1) ** 2 / (only_a + only_b)
    return math.erfc(math.sqrt(statistic / 2.0))


def mean(sums: Any) -> Any:
    """Accuracy, or any mean: the first column."""
    return sums[:, 0]


def class_counts(gold: Sequence[int], predicted: Sequence[int], classes: int) -> NDArray[Any]:
    """Of each row its gold label, its predicted label, and the label if both agree, as ones: (rows, 3 * classes)."""
    import numpy as np

    truth, given = np.asarray(gold, dtype=int), np.asarray(predicted, dtype=int)
    ones = np.eye(classes, dtype=np.int8)
    return np.concatenate([ones[truth], ones[given], ones[truth] * ones[given]], axis=1)


def macro_f1(sums: Any) -> Any:
    """Macro F1 of ``class_counts``, over the labels that a drawn row has or was given."""
    import numpy as np

    gold, given, right = np.split(sums, 3, axis=1)
    there = (gold + given) > 0
    f1 = np.divide(2 * right, gold + given, out=np.zeros_like(right, dtype=float), where=there)
    return f1.sum(1) / np.maximum(there.sum(1), 1)


def micro_f1(sums: Any) -> Any:
    """F1 of rows that count (right, predicted, gold) entities."""
    import numpy as np

    both = sums[:, 1] + sums[:, 2]
    return np.divide(2 * sums[:, 0], both, out=np.zeros(len(sums)), where=both > 0)


def bootstrap_difference(
    values_a: ArrayLike, values_b: ArrayLike, metric: Metric = mean, *, resamples: int = 2000, seed: int = 7
) -> Difference:
    """How the score of b less that of a varies when the rows are drawn again, the same ones for both."""
    import numpy as np

    a, b = _columns(values_a), _columns(values_b)
    if len(a) != len(b):
        raise BadInput("The two models were not given the same rows.", "Compare them on the same rows.")
    width = a.shape[1]
    drawn = np.concatenate(
        [metric(m[:, width:]) - metric(m[:, :width]) for m in _means(np.hstack([a, b]), resamples, seed)]
    )
    low, high = np.percentile(drawn, [2.5, 97.5])
    whole = metric(b.mean(0, keepdims=True)) - metric(a.mean(0, keepdims=True))
    return Difference(float(low), float(high), float(whole[0]))


def bootstrap_interval(
    values: ArrayLike, metric: Metric = mean, *, resamples: int = 2000, seed: int = 7
) -> tuple[float, float]:
    """The 95% interval of one model's score."""
    import numpy as np

    drawn = np.concatenate([metric(means) for means in _means(_columns(values), resamples, seed)])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _columns(values: ArrayLike) -> NDArray[Any]:
    import numpy as np

    array = np.asarray(values)
    array = array[:, None] if array.ndim == 1 else array
    if not len(array):
        raise BadInput("There are no rows to compare on.", "Choose data with at least one row.")
    return array.astype(np.int8) if array.dtype == bool else array


def _means(rows: NDArray[Any], resamples: int, seed: int) -> Iterator[NDArray[Any]]:
    """Means of rows drawn with replacement, (draws, columns) at a time.

    Rows with the same values are drawn as one kind: how often each kind is drawn is multinomial, which is the same
    distribution and thousands of times less work for right and wrong answers.
    """
    import numpy as np

    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // len(kinds))
    for start in range(0, resamples, at_once):
        draws = generator.multinomial(len(rows), counts / len(rows), size=min(at_once, resamples - start))
        yield draws @ kinds.astype(float) / len(rows)


def verdict(a: str, b: str, test: McNemar, difference: Difference, what: str = "accuracy") -> str:
    """The sentence about two models ``a`` and ``b``: which is better, by how much, and whether it could be chance."""
    if not test.only_a + test.only_b:
        return f"“{a}” and “{b}” are right on the same {test.n:,} rows: there is no difference to test."
    points = 100 * difference.difference
    said = f"{what} differs by {abs(points):.1f} points"
    if test.only_a == test.only_b:
        lead = f"“{a}” and “{b}” are right equally often"
    else:
        better, worse = (b, a) if test.only_b > test.only_a else (a, b)
        many = abs(test.only_b - test.only_a)
        lead = f"“{better}” is right on {many:,} more of {test.n:,} rows than “{worse}”"
    interval = f"95% interval of “{b}” less “{a}” {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    ending = (
        "The difference could be chance: " if test.chance else "The difference is hardly chance: "
    ) + f"p {_p(test.p_value)} by {test.title} on the {test.only_a + test.only_b:,} rows that only one got right."
    return f"{lead} ({said}, {interval}). {ending}"


def _p(value: float) -> str:
    """The number and what stands before it."""
    return f"= {value:.2f}" if value >= 0.1 else f"= {value:.3f}" if value >= 0.001 else "< 0.001"
