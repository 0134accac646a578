"""Short opinions put together from our own lists: service, food, places, products, shows, news and people's days.

The public data is written by reviewers; this teaches that plain sentences of other kinds praise and complain too, and
what negation does to them. Promises: ``opinions.txt`` is our own and taken from no data; the same random state gives
the same sentences.
"""

from __future__ import annotations

import random
from pathlib import Path

from core.training.columns import Row

_LISTS = Path(__file__).parent / "opinions.txt"
_SIGNS = "-+"
_AROUND = (
    (
        "Never again.", "Avoid.", "So disappointed.", "Not happy.", "Terrible.", "What a shame.", "Ugh.", "Awful.",
        "No thanks.", "Very frustrating.", "I want a refund.", "Bad experience.", "Not recommended.", "Sadly,", ":(",
    ),
    (
        "Thank you!", "Highly recommended.", "So happy.", "Wonderful.", "Great job.", "Love it!", "Wow!", "Well done.",
        "Will come again.", "Very pleased.", "Five stars.", "Perfect.", "Good news:", "What a day!", ":)",
    ),
)  # fmt: skip
_TURNS = (
    ("they promised that {other}, but {own}", "{other}, they said. In truth {own}", "if only {other}. instead {own}"),
    (
        "i was afraid that {other}, but {own}",
        "people say that {other}. not so: {own}",
        "far from it that {other}: {own}",
    ),
)
"""Sentences with a clause of the other side in them; the first ones complain, the others praise."""

Lists = dict[str, tuple[list[str], tuple[list[str], list[str]]]]


def opinions(count: int, rng: random.Random) -> list[Row]:
    """``count`` sentences, as many of each side but for chance."""
    lists = _read()
    return [_opinion(lists, rng) for _ in range(count)]


def _read() -> Lists:
    lists: Lists = {}
    for line in _LISTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        group, mark, items = line.split(" ", 2)
        subjects, sides = lists.setdefault(group, ([], ([], [])))
        (subjects if mark == "*" else sides[_SIGNS.index(mark)]).extend(item.strip() for item in items.split(";"))
    return lists


def _opinion(lists: Lists, rng: random.Random) -> Row:
    label = rng.randrange(2)
    group = rng.choice(sorted(lists))
    text = _clause(lists, group, label, rng)
    way = rng.random()
    if way < 0.15:
        text = rng.choice(_TURNS[label]).format(other=_clause(lists, group, 1 - label, rng), own=text)
    elif way < 0.4:
        text += f" and {rng.choice(lists[group][1][label])}"
    elif way < 0.5:
        text += f", {_clause(lists, rng.choice(sorted(lists)), label, rng)}"
    text = f"{text[0].upper()}{text[1:]}{rng.choice('..!')}"
    if rng.random() < 0.25:
        around = rng.choice(_AROUND[label])
        text = f"{around} {text}" if around.endswith((",", ":")) or rng.random() < 0.5 else f"{text} {around}"
    return {"text": text, "label": label}


def _clause(lists: Lists, group: str, label: int, rng: random.Random) -> str:
    subjects, sides = lists[group]
    return f"{rng.choice(subjects)} {rng.choice(sides[label])}"
