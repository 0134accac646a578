"""The tags of words before a training: IOB1 becomes IOB2, and what is no valid IOB2 is counted and explained.

A model that learns B- and I- should see them mean one thing, and strict scores know IOB2 only. Other tags (parts of
speech, say) and numbers that the data itself names are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.measure.entities import invalid_tags, is_iob1, is_iob2, to_iob2
from core.training.columns import Row


def mend_tags(rows: Sequence[Row]) -> list[str]:
    """Rewrite IOB1 tags of canonical rows as IOB2, in place; the notes say what was done and what is not valid."""
    sentences = [row["tags"] for row in rows]
    if is_first_form(sentences):
        changed = 0
        for row in rows:
            mended = to_iob2(row["tags"])
            changed += sum(a != b for a, b in zip(mended, row["tags"], strict=True))
            row["tags"] = mended
        return [f"The tags are IOB1, where an entity begins with I-: {changed:,} of them became B-, as in IOB2."]
    found = invalid_tags(sentences) if is_iob2(_names(sentences)) else None
    if found is None or not found.total:
        return []
    return [*found.explained, "They are trained as they stand."]


def is_first_form(sentences: Sequence[Sequence[Any]]) -> bool:
    """Whether tags are IOB1, as in the English files of CoNLL-2003 as they were first given out."""
    return bool(_names(sentences)) and is_iob1(sentences)


def _names(sentences: Sequence[Sequence[Any]]) -> set[str]:
    """The tags there are; none when some are numbers."""
    found = {tag for tags in sentences for tag in tags}
    return found if all(isinstance(tag, str) for tag in found) else set()
