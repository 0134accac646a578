"""Afterwards: merge, zip, ONNX, TensorBoard and a push to the Hub, each a run of its own with files and certificate.

Its value is ``None`` (no trained model on show: the card is not there), or ``{"run": training run, "model":
"tuned:<id>", "decodes": bool, "merges": bool, "exports": [{"kind", "run", "files", "ticket", "records" or "url"}]}``:
an export that is over brings its records, one that goes on is followed; files and ticket make the links to its files.
Event: ``export`` ``{kind, repo, private, token}``; the token's field is emptied as it is sent.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "view_ops", "run_stream", "exports_view")


def exports_view(value: dict[str, Any] | None = None, *, elem_id: str = "exports-view") -> gr.HTML:
    """The component."""
    return widget("exports", SCRIPT, value, elem_id)
