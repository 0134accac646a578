"""Labels of data in a model's words: by name where names agree, by their numbers where there are no names.

Promises: how they were matched is said in a note unless the names are simply equal; labels that a model does not know
are reported and never counted as another one; where nothing can be matched both sets are named in the refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import BadInput

_SHORT = {"pos": "positive", "neg": "negative", "neu": "neutral"}
_NAMELESS = re.compile(r"(?:label_)?\d+")


@dataclass(frozen=True, slots=True)
class Matched:
    """``numbers``: the model's number for each of the data's labels that it knows. ``unknown``: the other ones."""

    numbers: Mapping[str, int]
    unknown: tuple[str, ...]
    notes: tuple[str, ...] = ()


def match_labels(names: Sequence[str], labels: Sequence[str], title: str, classes: Sequence[str] = ()) -> Matched:
    """The data's label ``names`` as numbers of the model ``title``'s ``labels``.

    ``classes`` are all of the data's names in the order of its own numbers. Raises ``BadInput`` where none is known.
    """
    names = list(dict.fromkeys(names))
    known = {_folded(label): number for number, label in enumerate(labels)}
    by_name = {name: known[_folded(name)] for name in names if _folded(name) in known}
    if by_name:
        unknown = tuple(name for name in names if name not in by_name)
        notes = [f"“{name}” is read as “{labels[n]}”." for name, n in by_name.items() if not _alike(name, labels[n])]
        return Matched(by_name, unknown, tuple(notes))
    order = _ordered(names, labels, classes)
    if order is None:
        raise BadInput(
            f"The data has the labels {_listed(names)}; {title} knows {_listed(labels)}.",
            "Choose a model with these labels, or change the labels in the file.",
        )
    told = ", ".join(f"“{name[:40]}” as “{labels[number]}”" for name, number in list(order.items())[:8])
    return Matched(order, (), (f"Labels are matched by their order: {told}.",))


def label_number(name: str, labels: Sequence[str], what: str) -> int:
    """The number of the label that a visitor named. Raises ``BadInput``; ``what`` is what it was named for."""
    known = {_folded(label): number for number, label in enumerate(labels)}
    if _folded(name) not in known:
        raise BadInput(f"The model has no label “{name[:60]}” {what}.", f"Choose one of {_listed(labels)}.")
    return known[_folded(name)]


def _ordered(names: Sequence[str], labels: Sequence[str], classes: Sequence[str]) -> dict[str, int] | None:
    if all(name.isascii() and name.isdigit() for name in names):
        numbers = {name: int(name) for name in names}
        return numbers if max(numbers.values()) < len(labels) else None
    if all(_NAMELESS.fullmatch(label.lower()) for label in labels):
        order = list(classes) or sorted(names)
        return {name: order.index(name) for name in names} if len(order) == len(labels) else None
    return None


def _folded(name: str) -> str:
    name = " ".join(name.casefold().replace("_", " ").split())
    return _SHORT.get(name, name)


def _alike(name: str, label: str) -> bool:
    return name.casefold() == label.casefold()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"“{name[:40]}”" for name in names[:8])
    return f"{shown} and {len(names) - 8:,} more" if len(names) > 8 else shown
