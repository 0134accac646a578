"""Before the start: rows as tokens with their loss mask, lengths, labels, duplicates, memory, modules, steps and time.

Its value is ``None`` (not asked for yet), ``{"error": "one sentence"}``, or the preview of
``core.labs.finetuning.preview`` as plain JSON; what is missing in it is not drawn. Events: ``preview`` and ``measure``,
both with ``{}``, when their buttons are pressed (the card waits until a new value comes), and ``targets`` ``{names}``
when target modules are ticked (an empty list is all of them).
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "data_preview")


def data_preview(value: dict[str, Any] | None = None, *, elem_id: str = "data-preview") -> gr.HTML:
    """The component."""
    return widget("preview", SCRIPT, value, elem_id)
