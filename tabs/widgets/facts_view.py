"""A card that folds open to a model's facts: its figures, its parts with their parameter counts, and why it is here.

Its value is ``None``, or ``{"title": "Story LM · 4.3M", "lines": [["Context", "512 tokens"], ...], "tree": [{"name",
"parameters", "note": "", "children": [...]}], "why": "one sentence"}``; a part's bar is its share of the whole tree.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "facts_view")


def facts_view(value: dict[str, Any] | None = None, *, elem_id: str = "facts") -> gr.HTML:
    """The component."""
    return widget("facts", SCRIPT, value, elem_id)
