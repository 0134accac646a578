"""Names of people, organizations and places to put into sentences for others, so that a tagger learns contexts.

Promises: the lists are our own choice from common knowledge, taken from no data; a drawn name depends on the random
state alone. Nobody in particular is meant: first and last names are drawn apart.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from core.training.columns import Row
from core.training.heads.sources import TAGS

OWN_SHARE = 0.5
"""Of the exchanged mentions so many get a name from the lists, the others a mention of the same type from the data."""

_LISTS = Path(__file__).parent / "name_lists"


def _listed(name: str) -> tuple[str, ...]:
    text = (_LISTS / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(" ".join(item.split()) for item in text.split(",") if item.strip())


FIRST, LAST = _listed("first_names"), _listed("last_names")
PLACES, ORGANIZATIONS = _listed("places"), _listed("organizations")
_AFTER = (
    "University", "College", "High School", "Police Department", "City Council", "Hospital", "Times", "Tribune",
    "Herald", "Bank", "Museum", "Public Library", "Chamber of Commerce", "Power", "Gas", "Energy", "Electric", "Hotel",
    "United",
)  # fmt: skip
_FIRMS = (
    "Inc.", "Corp.", "LLC", "Ltd", "& Co.", "Associates", "Group", "Partners", "Capital", "Trading", "Energy",
    "Brothers", "Motors", "Pizza", "Auto", "Dental", "Law Firm", "Realty", "Systems", "Technologies", "Software",
    "Foundation", "Cafe",
)  # fmt: skip
_BODIES = (
    "Department of", "Ministry of", "Office of", "Bureau of", "Institute of", "Center for", "Committee on",
    "Commission on", "Council on", "Association of", "Society for",
)  # fmt: skip
_FIELDS = (
    "Energy", "Health", "Education", "Justice", "Defense", "Transportation", "Agriculture", "Housing", "Commerce",
    "Foreign Affairs", "Human Rights", "Trade", "Science", "Urban Development", "Public Safety", "Labor", "Finance",
    "Homeland Security", "Oil and Gas", "Nuclear Research", "Women", "Writers", "Veterans Affairs", "the Environment",
)  # fmt: skip
_HIGH = (
    "Supreme Court",
    "Superior Court",
    "District Court",
    "Court of Appeals",
    "Parliament",
    "Police",
    "Army",
    "Senate",
)
_BEFORE = ("University of", "Bank of", "Ministry of", "Department of", "Museum of", "Port of", "City of")
_LANDS = (
    "Street", "County", "Avenue", "River", "Beach", "Park", "Heights", "Valley", "Road", "Island", "Hills", "Lake",
)  # fmt: skip


def person(rng: random.Random) -> str:
    """A first name, a last name, or both."""
    way = rng.random()
    if way < 0.3:
        return rng.choice(FIRST)
    if way < 0.45:
        return rng.choice(LAST)
    middle = f" {rng.choice('ABCDEFGHJKLMNPRSTW')}." if way > 0.9 else ""
    return f"{rng.choice(FIRST)}{middle} {rng.choice(LAST)}"


def organization(rng: random.Random) -> str:
    """One from the list, or one made of names, places and fields."""
    if rng.random() < 0.6:
        return rng.choice(ORGANIZATIONS)
    return rng.choice(_MADE)(rng)


_MADE: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: f"{rng.choice(PLACES)} {rng.choice(_AFTER)}",
    lambda rng: f"{rng.choice(LAST)} {rng.choice(_FIRMS)}",
    lambda rng: f"{rng.choice(LAST)} & {rng.choice(LAST)}",
    lambda rng: f"{rng.choice(LAST)} , Inc.",
    lambda rng: f"{rng.choice(_BEFORE)} {rng.choice(PLACES)}",
    lambda rng: f"{rng.choice(PLACES)} {rng.choice(_BODIES)} {rng.choice(_FIELDS)}",
    lambda rng: f"{rng.choice(_BODIES)} {rng.choice(_FIELDS)} and {rng.choice(_FIELDS)}",
    lambda rng: f"{rng.choice(_HIGH)} of {rng.choice(PLACES)}",
    lambda rng: f"The {rng.choice(LAST)} {rng.choice(('Foundation', 'Institute', 'Company', 'Group', 'Center'))}",
    lambda rng: "".join(rng.choice("ABCDEFGHIKLMNOPRSTUW") for _ in range(rng.randint(3, 4))),
)


def place(rng: random.Random) -> str:
    """One from the list, or a street, river or county called after somebody."""
    if rng.random() < 0.85:
        return rng.choice(PLACES)
    return f"{rng.choice(LAST)} {rng.choice(_LANDS)}"


_DRAW = {"PER": person, "ORG": organization, "LOC": place}
Mentions = Mapping[str, Sequence[Sequence[str]]]


def mentions(rows: Sequence[Row]) -> dict[str, list[list[str]]]:
    """The words of all entities by type."""
    found: dict[str, list[list[str]]] = {kind: [] for kind in _DRAW}
    for row in rows:
        for start, end, kind in _spans(row["tags"]):
            found[kind].append(row["words"][start:end])
    return found


def exchanged(row: Row, known: Mentions, share: float, rng: random.Random) -> Row:
    """The row with a share of its entities exchanged for others of the same type; tags fit the new words."""
    words: list[str] = []
    tags: list[int] = []
    at = 0
    for start, end, kind in _spans(row["tags"]):
        words += row["words"][at:start]
        tags += row["tags"][at:start]
        new = row["words"][start:end]
        if rng.random() < share:
            own = rng.random() < OWN_SHARE or not known[kind]
            new = _words(_DRAW[kind](rng)) if own else rng.choice(known[kind])
        words += new
        tags += [TAGS.index(f"B-{kind}"), *[TAGS.index(f"I-{kind}")] * (len(new) - 1)]
        at = end
    return {"words": words + row["words"][at:], "tags": tags + row["tags"][at:]}


def _words(name: str) -> list[str]:
    """A name in words as treebanks split them: hyphens and the possessive stand alone."""
    return re.sub(r"('s\b|-)", r" \1 ", name).split()


def _spans(tags: Sequence[int]) -> list[tuple[int, int, str]]:
    """(first word, word behind the last, type) of each entity of whole IOB2."""
    spans: list[tuple[int, int, str]] = []
    for word, number in enumerate(tags):
        tag = TAGS[number]
        if tag.startswith("B-"):
            spans.append((word, word + 1, tag[2:]))
        elif tag.startswith("I-"):
            start, _, kind = spans[-1]
            spans[-1] = (start, word + 1, kind)
    return spans
