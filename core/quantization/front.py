"""The Pareto front: what nothing else beats in every respect. Source: Pareto (1906); pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def pareto_front(costs: Mapping[str, Sequence[float]]) -> list[str]:
    """Names whose costs (smaller is better) no other is at least as small in all of and smaller in one."""
    return [name for name, mine in costs.items() if not any(_beats(other, mine) for other in costs.values())]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))
