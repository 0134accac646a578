"""Other ways to write tags, read as this lab's own: other schemes as IOB2, other names of a type as the model's.

Plain functions that need nothing but their arguments: a script holds them as they stand here.
"""

from __future__ import annotations

from collections.abc import Collection

SAME_TYPE = {
    "PERSON": "PER", "PEOPLE": "PER", "PERS": "PER", "ORGANIZATION": "ORG", "ORGANISATION": "ORG",
    "CORPORATION": "ORG", "COMPANY": "ORG", "GROUP": "ORG", "LOCATION": "LOC", "GPE": "LOC", "GEO": "LOC",
    "PLACE": "LOC", "GEO-LOC": "LOC", "FAC": "LOC", "FACILITY": "LOC",
}  # fmt: skip
"""Names of types in other sets, for a model that knows the second one and not the first."""


def from_bioes(tag: str) -> str:
    """A tag of BIOES or BILOU as IOB2: single words begin an entity, its last word continues it."""
    prefix, dash, kind = tag.partition("-")
    if not dash:
        return tag
    return f"B-{kind}" if prefix in ("S", "U") else f"I-{kind}" if prefix in ("E", "L") else tag


def type_called(kind: str, types: Collection[str]) -> str:
    """What a model with these types calls this one; the same again where it knows no such type."""
    same = next((known for known in types if known.lower() == kind.lower()), None)
    other = SAME_TYPE.get(kind.upper())
    return same or next((known for known in types if known.upper() == other), kind)
