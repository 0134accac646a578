"""What a wrong chat format does to a model, in sentences that only say what was measured.

Promises: each sentence compares a format with the model's own, or, for a model without one, with the likeliest; nothing
is said of a format that was refused or not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Read = dict[str, Any]


def conclusions(formats: Sequence[Read], has_own: bool) -> dict[str, Any]:
    """``{"lines": [{"format", "text"}], "perplexity": {format: of the last assistant turn}, "against": format}``."""
    read = [one for one in formats if one["total"]]
    perplexity = {one["format"]: one["perplexity"] for one in read if one["perplexity"] is not None}
    right = _right(read, has_own)
    lines = [{"format": one["format"], "text": " ".join(_said(one, right))} for one in read if one is not right]
    if right is not None and not has_own and right["perplexity"] is not None:
        lines.insert(0, {"format": right["format"], "text": "Of these the model finds the last answer likeliest here."})
    return {
        "lines": [line for line in lines if line["text"]],
        "perplexity": perplexity,
        "against": None if right is None else right["format"],
    }


def _right(read: Sequence[Read], has_own: bool) -> Read | None:
    if has_own:
        return next((one for one in read if one["format"] == "model"), None)
    scored = [one for one in read if one["perplexity"] is not None]
    return min(scored, key=lambda one: float(one["perplexity"]), default=None)


def _said(one: Read, right: Read | None) -> Iterator[str]:
    if right is not None and one["text"] == right["text"]:
        yield f"The same text as {right['title']}."
        return
    split = {mark: size for mark, size in (one["special_as_one"] or {}).get("tokens", {}).items() if size != 1}
    if split:
        most = max(split, key=lambda mark: split[mark])
        are = "are not single tokens" if len(split) > 1 else "is not a single token"
        all_marks = len(one["special_as_one"]["tokens"])
        yield f"{len(split)} of its {all_marks} marks {are} here: {most} becomes {split[most]}."
    if right is None:
        return
    if one["total"] != right["total"]:
        more = one["total"] - right["total"]
        yield f"It takes {abs(more):,} token{'s' * (abs(more) != 1)} {'more' if more > 0 else 'fewer'}."
    yield from _likelihood(one["perplexity"], right["perplexity"])
    yield from _replies(one["reply"], right["reply"])


def _likelihood(here: float | None, there: float | None) -> Iterator[str]:
    if here is None or there is None:
        return
    ratio = here / there
    if 0.99 <= ratio <= 1.01:
        yield "The model finds the last answer as likely."
    else:
        word = "less" if ratio > 1 else "more"
        yield f"The model finds the last answer {word} likely: its perplexity is {ratio:.3g} times as high."


def _replies(here: Read | None, there: Read | None) -> Iterator[str]:
    if here is None or there is None:
        return
    same = next(
        (i for i, pair in enumerate(zip(here["ids"], there["ids"], strict=False)) if pair[0] != pair[1]),
        min(len(here["ids"]), len(there["ids"])),
    )
    if here["ids"] == there["ids"]:
        yield "It goes on with the same words."
    elif same == 0:
        yield "It goes on differently from the first token."
    else:
        yield f"It goes on with the same {same} token{'s' * (same > 1)} and then differently."
