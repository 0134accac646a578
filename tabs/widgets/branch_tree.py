"""The branches of a run as a small tree to return to; nothing where there are none.

Its value is ``None``, or ``{"root": run id, "current": run id, "nodes": [{"run", "parent": run id or None, "label":
"Sampling · “ Max” at 7", "title": "", "status": "finished"}]}``. Event: ``open`` ``{run}``.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "branch_tree")


def branch_tree(value: dict[str, Any] | None = None, *, elem_id: str = "branches") -> gr.HTML:
    """The component."""
    return widget("branches", SCRIPT, value, elem_id)
