"""The Pareto front: against the definition, pair by pair."""

from __future__ import annotations

import random

from core.quantization.front import pareto_front


def test_what_another_beats_is_not_on_it() -> None:
    costs = {"big": (8, 1.0, 0.0), "small": (1, 2.0, 0.3), "worse": (2, 2.0, 0.3), "fast": (8, 0.5, 0.0)}
    assert pareto_front(costs) == ["small", "fast"]


def test_equals_are_both_on_it() -> None:
    assert pareto_front({"a": (1, 1), "b": (1, 1), "c": (1, 2)}) == ["a", "b"]
    assert pareto_front({}) == []


def test_against_the_definition() -> None:
    drawn = random.Random(5)
    costs = {str(i): tuple(drawn.randrange(4) for _ in range(3)) for i in range(60)}
    front = set(pareto_front(costs))
    for name, mine in costs.items():
        beaten = False
        for other in costs.values():
            smaller = sum(b < a for a, b in zip(mine, other, strict=True))
            larger = sum(b > a for a, b in zip(mine, other, strict=True))
            beaten = beaten or (smaller > 0 and larger == 0)
        assert (name in front) is not beaten
    assert front
