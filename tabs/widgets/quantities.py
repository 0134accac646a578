"""Bytes, counts and durations in the words of the page's tables."""

from __future__ import annotations


def size(count_: float | None) -> str:
    """Bytes as people write them."""
    if count_ is None:
        return "–"
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count_ >= one:
            return f"{count_ / one:.3g} {unit}"
    return f"{int(count_)} B"


def count(number: int) -> str:
    """A parameter count as people write it."""
    return f"{number / 1e9:.2f}B" if number >= 1e9 else f"{number / 1e6:.3g}M"


def age(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, one in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= one:
            return f"{int(seconds // one)} {unit}"
    return f"{int(seconds)} s"
