"""What every lab's request has in common. Imports nothing heavy."""

from __future__ import annotations

import unicodedata

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
