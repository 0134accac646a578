"""The results of a quantization run, drawn in the browser from the view model that ``tabs.quantization.view`` makes.

Its value is ``None``, or ``{"run": id, "url": where its events can be followed}``; ``"model"`` in place of the url is a
finished view model. Beside them may stand

    files, ticket   where the run's files are, for its owner
    again           true where a control was moved: what is shown stays until the new answer is there
    back            the sweep from which the layer under the lens was opened

Events: ``layer`` ``{layer, run}`` opens a layer under the lens, ``back`` ``{run}`` returns to the sweep. The axes of
the figure, its front, and what the bars of a sweep show are the browser's.
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
    "quantization_parts",
    "quantization_compare",
    "quantization_front",
    "quantization_plan",
    "quantization_lens",
    "quantization_sweep",
    "quantization_chat",
    "quantization_save",
    "quantization",
)
EDITOR = script("common", "quantization_turns")


def results(value: dict[str, Any] | None = None, *, elem_id: str = "quantization-view") -> gr.HTML:
    """The component."""
    return widget("quantization", SCRIPT, value, elem_id)


def conversation(value: list[dict[str, str]], *, elem_id: str = "quantization-turns") -> gr.HTML:
    """The editor of a conversation; its value is a list of ``{"role", "content"}``, an input like any other."""
    return widget("turns", EDITOR, value, elem_id)
