"""The text that the lens reads: the visitor's own or bundled stories, in passages of at most the model's context.

Promises: every passage begins with the model's start token, where it has one, which is read and not scored.
"""

from __future__ import annotations

import json
from typing import Any

from core.catalog.datasets import bundled_dataset
from core.errors import BadInput, NotFound
from core.settings import Settings

STORIES = "story-requests"
STORIES_TITLE = "stories that come with Benchtop"
CHARACTERS_EACH = 40
"""Characters of a text that are encoded for each token that is read: tokens are seldom longer."""


def scored_text(text: str, settings: Settings) -> tuple[str, str]:
    """The text to read, and what it is called."""
    return (text, "your text") if text.strip() else (_stories(settings), STORIES_TITLE)


def passages(tokenizer: Any, text: str, total: int, window: int) -> tuple[tuple[int, ...], ...]:
    """The first ``total`` tokens of ``text`` in passages of at most ``window`` tokens, the start token counted.

    Raises ``BadInput`` for a text of which no token can be scored.
    """
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = tokenizer(text[: CHARACTERS_EACH * total], add_special_tokens=False, verbose=False)["input_ids"][:total]
    room = window - len(start)
    found = tuple((*start, *ids[begin : begin + room]) for begin in range(0, len(ids), room))
    long_enough = tuple(passage for passage in found if len(passage) > 1)
    if not long_enough:
        raise BadInput("There is no second token to score in this text.", "Give it a sentence or two.")
    return long_enough


def _stories(settings: Settings) -> str:
    rows = bundled_dataset(settings, STORIES)
    if rows is None:
        raise NotFound("The bundled stories are not here.", "Give a text of your own.")
    lines = rows.read_text(encoding="utf-8").splitlines()
    return "\n\n".join(json.loads(line)["messages"][-1]["content"] for line in lines if line.strip())
