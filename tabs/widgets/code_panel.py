"""A card that folds open to a run's script, with buttons to copy and to download it (the browser makes the file).

Its value is ``None``, the script, or ``{"code": text, "filename": "decode.py", "note": "beside the title"}``.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "code_panel")


def code_panel(value: dict[str, Any] | str | None = None, *, elem_id: str = "code") -> gr.HTML:
    """The component."""
    return widget("code", SCRIPT, value, elem_id)
