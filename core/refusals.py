"""Refused fields in a person's words: one sentence for each, by the field's title, never repeating what was typed.

The one place where pydantic's errors become readable; the page's toasts, the API's replies and the error tree use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

_RULES: dict[str, str] = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_too_short": "is empty: type something",
    "string_too_long": "is longer than {max_length} characters: shorten it",
    "too_short": "needs at least {min_length}: choose one more",
    "too_long": "takes at most {max_length}: leave some out",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "finite_number": "must be an ordinary number",
    "missing": "is missing",
    "extra_forbidden": "is not an input of this lab",
}
_WORDS = (
    ("int_", "must be a whole number"),
    ("float_", "must be a number"),
    ("bool_", "must be true or false"),
    ("string_", "must be text"),
)


def titles_of(model: type[BaseModel]) -> dict[str, str]:
    """The title of each field, as the page shows it."""
    return {name: info.title or name.replace("_", " ").capitalize() for name, info in model.model_fields.items()}


def sentences(error: ValidationError, titles: Mapping[str, str]) -> str:
    """What is wrong, one sentence for each bad field."""
    return " ".join(f"{text}." for text in dict.fromkeys(_sentences(error, titles)))


def _sentences(error: ValidationError, titles: Mapping[str, str]) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False):
        words = _words(problem)
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if name in titles:
            yield f"{titles[name]} {words}"
        elif name:
            yield f"“{name[:40]}” {words}"
        else:
            yield words[:1].upper() + words[1:]


def _words(problem: Mapping[str, Any]) -> str:
    kind, context = str(problem["type"]), problem.get("ctx") or {}
    if kind == "value_error":
        return str(context.get("error", problem["msg"])).rstrip(".")
    if kind in _RULES:
        numbers = {k: f"{v:,.10g}" if isinstance(v, (int, float)) else v for k, v in context.items()}
        return _RULES[kind].format(**numbers)
    for prefix, words in _WORDS:
        if kind.startswith(prefix):
            return words
    message = str(problem["msg"]).rstrip(".")
    return message[:1].lower() + message[1:]
