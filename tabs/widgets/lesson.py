"""A lab's lesson: a few small experiments, each one click. Text of ours, shown as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "lesson")


@dataclass(frozen=True, slots=True)
class Steps:
    """What the widget shows: a title, and for each experiment its title, what to look at, and what it shows."""

    title: str
    note: str
    experiments: Sequence[dict[str, str]]


def lesson(steps: Steps, choose: Callable[[int], Any], outputs: Sequence[Any]) -> gr.HTML:
    """Build the card. ``choose(i)`` gives the values of ``outputs`` for experiment i when its button is pressed."""
    value = {"title": steps.title, "note": steps.note, "steps": list(steps.experiments)}
    card = widget("lesson", SCRIPT, value, "lesson")

    def chosen(event: gr.EventData) -> Any:
        return choose(int(event._data["index"]))

    card.choose(chosen, None, list(outputs), api_visibility="private", show_progress="hidden", concurrency_limit=None)
    return card
