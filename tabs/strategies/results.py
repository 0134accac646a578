"""The results of a strategies run, drawn in the browser from the view model that ``tabs.strategies.view`` makes.

Its value is ``None`` or ``{"run": id, "url": where its events can be followed}``. Curves and noise are figures; the
decision boundaries, the tables and the way of the data are the page's own. Everything on the figures' switches (axis,
set, smoothing, logarithms) happens in the browser, so it asks nothing of the server.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script(
    "common",
    "view_ops",
    "run_stream",
    "results_frame",
    "strategies_curves",
    "strategies_toy",
    "strategies_tables",
    "strategies",
)


def results(value: dict[str, Any] | None = None, *, elem_id: str = "strategies-view") -> gr.HTML:
    """The component."""
    return widget("strategies", SCRIPT, value, elem_id)
