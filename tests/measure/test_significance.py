"""Whether a difference is chance: the tests against scipy and enumeration, the intervals against known ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from core.errors import BadInput
from core.measure.significance import (
    bootstrap_difference,
    bootstrap_interval,
    class_counts,
    macro_f1,
    mcnemar,
    micro_f1,
    verdict,
)


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


def test_the_exact_test() -> None:
    found = mcnemar(*answers(50, 1, 8, 5))
    assert (found.both, found.only_a, found.only_b, found.neither, found.test) == (50, 1, 8, 5, "exact")
    assert found.p_value == pytest.approx(2 * (1 + 9) / 2**9)  # none or one head in nine tosses, or as many tails
    assert not found.chance
    assert mcnemar(*answers(5, 4, 4, 1)).p_value == 1.0
    assert mcnemar(*answers(5, 0, 0, 1)).p_value == 1.0


def test_the_corrected_test() -> None:
    found = mcnemar(*answers(100, 20, 40, 9))
    assert found.test == "corrected"
    assert found.p_value == pytest.approx(0.0142, abs=1e-4)  # chi-square of 19**2 / 60 = 6.017, one degree of freedom
    assert mcnemar(*answers(0, 13, 13, 0)).p_value == 1.0
    exact = 2 * sum(float(np.prod([(60 - i) / (k - i) for i in range(k)])) for k in range(21)) / 2**60
    assert found.p_value == pytest.approx(exact, abs=1e-3)


def test_an_interval_of_accuracy_is_that_of_the_binomial() -> None:
    values = np.array([1] * 80 + [0] * 20)
    low, high = bootstrap_interval(values, resamples=4000)
    assert (low, high) == pytest.approx((0.80 - 1.96 * 0.04, 0.80 + 1.96 * 0.04), abs=0.012)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_rows_are_drawn_in_pairs() -> None:
    """Two models that are right on the same rows differ by nothing, however the rows are drawn."""
    generator = np.random.default_rng(3)
    right = generator.integers(0, 2, 300)
    same = bootstrap_difference(right, right)
    assert (same.low, same.difference, same.high) == (0, 0, 0)
    better = right.copy()
    better[np.flatnonzero(right == 0)[:40]] = 1
    found = bootstrap_difference(right, better)
    assert found.difference == pytest.approx(40 / 300)
    assert 0.08 < found.low < found.difference < found.high < 0.19
    assert not found.chance


def test_values_that_are_all_different_are_drawn_alike() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.normal(0, 1, 400), generator.normal(0.1, 1, 400)
    found = bootstrap_difference(a, b, resamples=1000)
    drawn = generator.integers(0, 400, (1000, 400))
    low, high = np.percentile((b - a)[drawn].mean(1), [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_macro_f1_of_counts_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    gold, predicted = generator.integers(0, 4, 200), generator.integers(0, 3, 200)
    counts = class_counts(gold, predicted, 6)
    expected = f1_score(gold, predicted, average="macro", zero_division=0)
    assert float(macro_f1(counts.mean(0, keepdims=True))[0]) == pytest.approx(expected)
    found = bootstrap_difference(counts, class_counts(gold, gold, 6), macro_f1)
    assert found.difference == pytest.approx(1 - expected)
    assert found.low < found.difference < found.high


def test_micro_f1_of_counts() -> None:
    assert micro_f1(np.array([[3, 4, 5], [0, 0, 0]])).tolist() == pytest.approx([2 * 3 / 9, 0])


def test_a_difference_by_chance_is_called_one() -> None:
    a, b = answers(70, 10, 13, 7)
    said = verdict("head", "probe", mcnemar(a, b), bootstrap_difference(a, b))
    assert said.startswith("“probe” is right on 3 more of 100 rows than “head” (accuracy differs by 3.0 points")
    assert "The difference could be chance: p = 0.68 by McNemar's exact test on the 23 rows" in said


def test_a_real_difference_is_called_hardly_chance() -> None:
    a, b = answers(500, 90, 20, 40)
    said = verdict("head", "probe", mcnemar(a, b), bootstrap_difference(a, b))
    assert said.startswith("“head” is right on 70 more of 650 rows")
    assert "hardly chance: p = less than 0.001" not in said
    assert "hardly chance: p < 0.001 by McNemar's test with continuity correction on the 110 rows" in said


def test_equal_models() -> None:
    a, b = answers(10, 3, 3, 0)
    assert verdict("x", "y", mcnemar(a, b), bootstrap_difference(a, b)).startswith("“x” and “y” are right equally")
    same = mcnemar([True], [True])
    assert "no difference to test" in verdict("x", "y", same, bootstrap_difference([1], [1]))


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="same rows"):
        mcnemar([True], [True, False])
    with pytest.raises(BadInput, match="same rows"):
        bootstrap_difference([1, 0], [1])
    with pytest.raises(BadInput, match="no rows"):
        bootstrap_interval([])
