"""The run view: a run's columns of tokens, drawn while they arrive.

Its value is ``None`` (nothing was run), ``{"run": id, "url": "runs/<id>/events?ticket=…"}`` (follow that run's event
stream; the address is relative to the app's root), or ``{"run": id, "model": {...}}`` (draw a finished view model, as
``tabs.widgets.view_ops`` builds it, without a stream). An optional ``"selected": {"column", "index"}`` outlines a
token.

Promises: one EventSource per component, closed at the run's end; after a broken connection it asks for what came after
the last record it has, and says that it is reconnecting. Tokens are appended, never drawn anew. Setting the same run
again changes nothing; another run starts from an empty view.

Events: ``pick`` ``{column, index, run}`` when a token is clicked or Enter is pressed on it; by hand also ``next`` and
``run_on``, both with ``{}``. Attach them with ``trigger_mode="multiple"``, or quick clicks are lost.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "view_ops", "run_stream", "beam_tree", "run_view")


def beams_here() -> gr.HTML:
    """Where on the page the beam trees of the run view stand; without it, at its end. Build it after the run view."""
    return gr.HTML(
        None, html_template="<div class='bv-view bv-beams-here'></div>", container=False, padding=False,
        apply_default_css=False, elem_classes=["bv-widget"],
    )  # fmt: skip


def run_view(value: dict[str, Any] | None = None, *, elem_id: str = "run-view") -> gr.HTML:
    """The component; one per lab."""
    return widget("run", SCRIPT, value, elem_id)
