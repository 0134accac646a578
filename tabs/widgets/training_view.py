"""The training view: a training run's state, its curves, what they say, and the same rows before and after.

Its value is ``None`` (nothing was run), ``{"run": id, "url": "runs/<id>/events?ticket=…", "title": "…"}`` (follow that
run's event stream; the address is relative to the app's root), or ``{"run": id, "model": {...}}`` (draw a finished view
model of ``tabs.finetuning.view``).

Event: ``ended`` ``{run}``, once a followed run is over, or was already when it was opened.

Promises: axes, smoothing and log scale are the page's own affair and ask nothing of the server; figures grow within a
second of the step that made the point; a follower who joins late sees the whole curve. Text of models and data stays
text.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "view_ops", "run_stream", "training_view")


def training_view(value: dict[str, Any] | None = None, *, elem_id: str = "training-view") -> gr.HTML:
    """The component; one per lab."""
    return widget("training", SCRIPT, value, elem_id)
