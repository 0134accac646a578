"""What labs have in common: requests, their choices' words, text that can be read, cells that compute nothing.

Imports nothing heavy.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """A lab's typed request: frozen, refuses unknown fields and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def summary(self) -> str:
        """One short line that names a run of this request in a list."""
        return ""

    @property
    def paced(self) -> bool:
        """Whether the run waits for the visitor before each step."""
        return False


def readable(text: str) -> str:
    """Text that can be tokenized and shown; refuses NUL and lone surrogates with what to do about them."""
    if "\0" in text:
        raise ValueError("holds a NUL character: remove it and try again")
    if any(unicodedata.category(character) == "Cs" for character in text if character >= "\ud800"):
        raise ValueError("holds half of a character (a lone surrogate): paste the text again")
    return text


def choice_labels(titles: Mapping[Any, str]) -> dict[str, Any]:
    """A field's ``json_schema_extra`` that gives each member of an enumeration its words on the page."""
    return {"labels": {member.value: title for member, title in titles.items()}}


def inert(cell: str) -> str:
    """A cell of a CSV file that no spreadsheet computes: an apostrophe before what would begin a formula."""
    return f"'{cell}" if cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r")) else cell
