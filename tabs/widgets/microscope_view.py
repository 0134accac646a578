"""The microscope: the candidates of one decoding step, and what each sampling stage makes of them.

Its value is ``None``, or::

    {"title": "Token 7 of Sampling: “ Finn”", "run": id, "column": 1, "index": 6, "summary": "p 0.21 → 0.31 · rank 1",
     "stages": [{"name": "raw", "label": "raw", "left": 4096, "movable": False},
                {"name": "temperature", "label": "temperature 0.8", "left": 4096, "movable": True, "neutral": False}],
     "rows": [{"id": 5, "text": " Finn", "chosen": True, "p": [0.21, 0.26], "cut_by": None}],
     "orders": {"default": [names], "now": [names]}, "order_note": "" or a sentence,
     "changes": None or {"kept": [texts], "cut": [texts], "tv": 0.03}}

``p`` has one share per stage, None from the stage on that cut the candidate (``cut_by``). A ``neutral`` stage is off. A
row may name its ``piece``, shown where its text is empty.

Events: ``reorder`` ``{order, column, index, run}`` with every stage of ``orders.now`` in the new order (a column was
dragged, or moved with the arrow keys), ``branch`` ``{id, column, index, run}``, ``close`` ``{}``. While a token is on
show, the run view outlines it.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "microscope_view")


def microscope_view(value: dict[str, Any] | None = None, *, elem_id: str = "microscope") -> gr.HTML:
    """The component, empty until a token is chosen."""
    return widget("microscope", SCRIPT, value, elem_id)
