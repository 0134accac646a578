"""Numbers as people read them: ``4_261_376`` parameters are "4.3M", ``17_045_504`` bytes are "17 MB".

Decimal units (1 MB is 10**6 bytes), as drives and graphics cards are sold.
"""

from __future__ import annotations


def _scaled(value: float, units: tuple[str, ...]) -> tuple[str, str]:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value /= 1000
        power += 1
    text = f"{value:.1f}" if power and value < 9.95 else f"{value:.0f}"
    return text.removesuffix(".0"), units[power]


def bytes_text(count: int) -> str:
    """Bytes with their unit: "0 B", "8.5 MB", "14 GB"."""
    number, unit = _scaled(max(count, 0), ("B", "kB", "MB", "GB", "TB"))
    return f"{number} {unit}"


def count_text(count: int) -> str:
    """A count of parameters: "768", "4.3M", "7.2B"."""
    return "".join(_scaled(max(count, 0), ("", "k", "M", "B", "T")))
