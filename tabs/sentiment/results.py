"""The results of a sentiment run, drawn in the browser from the view model that ``tabs.sentiment.view`` makes.

Its value is ``None``, or ``{"run": id, "url": where its events can be followed}``; ``"model"`` in place of the url is a
finished view model. Beside them may stand

    files, ticket   where the run's files are, for its owner, who alone may correct rows
    why             the newest answer about a row: its ``row``, and an attribution or an ``error``
    trained         the training on corrected rows: ``run``, ``status``, and a ``url`` while it goes on

Events, each with the ``run``: ``why`` ``{row}``, ``train`` ``{corrections: [[row, label or None]]}``, ``versus``
``{trained}``. What the threshold makes of the scores, and which cell is open, is the browser's.
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
    "sentiment_parts",
    "sentiment_words",
    "sentiment_rows",
    "sentiment_evaluate",
    "sentiment_examples",
    "sentiment_compare",
    "sentiment",
)


def results(value: dict[str, Any] | None = None, *, elem_id: str = "sentiment-view") -> gr.HTML:
    """The component."""
    return widget("sentiment", SCRIPT, value, elem_id)
