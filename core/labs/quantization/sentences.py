"""What the lens and the sweep found, in a sentence or two of the page. Every number in them was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def lens_sentence(
    method: str, snr_db: float | None, places: int, *, distinct: int | None = None, zeros: float = 0
) -> str:
    """What happened to the weights, and to how many layers. ``distinct`` values and ``zeros`` are told of levels."""
    error = "nothing is lost" if snr_db is None else f"the error lies {_decibels(snr_db)} the weights"
    told = [error]
    if distinct is not None:
        zero = [f"{zeros:.0%} of the weights become 0"] if zeros >= 0.005 else []
        told = [f"{distinct:,} different value{'s are' if distinct != 1 else ' is'} left", *zero, error]
    where = f" The same is done to all {places:,} linear layers." if places > 1 else ""
    return f"{method}: {_listed(told)}.{where}"


def effect_sentence(before: float, after: float | None, top1: float, positions: int) -> str:
    """What it cost the model; ``positions`` are those at which first choices were compared."""
    if after is None:
        return f"The model is broken: its perplexity goes from {before:.2f} beyond all numbers."
    change = round(100 * (after - before) / before, 1) + 0.0  # -0.0 is 0
    return (
        f"The model's perplexity goes from {before:.2f} to {after:,.2f} ({change:+.1f}%), "
        f"and its first choice changes at {1 - top1:.1%} of {positions:,} positions."
    )


def sweep_sentence(rows: Sequence[dict[str, Any]], together: dict[str, Any] | None, sum_of_deltas: float | None) -> str:
    """Which layers are sensitive; ``rows`` are sorted, the most sensitive first."""
    most, least = rows[0], rows[-1]
    told = (
        f"Most sensitive is {most['layer']} (KL {_nats(most['kl'])}, perplexity {_change(most['delta'])}), "
        f"least {least['layer']} (KL {_nats(least['kl'])})."
    )
    if together is None or together["delta"] is None or sum_of_deltas is None:
        return told
    return (
        f"{told} All {len(rows)} at once change the perplexity by {_change(together['delta'])}; "
        f"the single changes add up to {_change(sum_of_deltas)}."
    )


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([*([", ".join(parts[:-1])] if parts[:-1] else []), parts[-1]])


def _decibels(ratio: float) -> str:
    return f"{ratio:.1f} dB below" if ratio >= 0 else f"{-ratio:.1f} dB above"


def _nats(kl: float | None) -> str:
    return "beyond all numbers" if kl is None else f"{kl:.2g} nats"


def _change(delta: float | None) -> str:
    return "beyond all numbers" if delta is None else f"{delta:+.3g}"
