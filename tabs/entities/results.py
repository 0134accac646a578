"""The results of an entities run, drawn in the browser from the view model that ``tabs.entities.view`` makes.

Its value is ``None`` or ``{"run": id, "url": where its events can be followed}``; for the run's owner also ``files``
and ``ticket`` (where its files are) and ``data`` (what to train on). Documents are text, never markup.
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
    "entities_marks",
    "entities_documents",
    "entities_graph",
    "entities_subwords",
    "entities_scores",
    "entities",
)


def results(value: dict[str, Any] | None = None, *, elem_id: str = "entities-view") -> gr.HTML:
    """The component."""
    return widget("entities", SCRIPT, value, elem_id)
