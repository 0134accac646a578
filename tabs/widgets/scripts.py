"""The scripts of the page's own widgets: read once, put together, given to ``gr.HTML`` as ``js_on_load``.

A widget's template is static text of ours. Everything that comes from a model or a document reaches the page through
the script, as text content: a template would be evaluated as JavaScript.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

FOLDER = Path(__file__).parent / "js"


def script(*names: str) -> str:
    """The scripts with these names, in this order, as one."""
    return "\n".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in names)


def widget(view: str, source: str, value: Any, elem_id: str) -> gr.HTML:
    """A ``gr.HTML`` that is one empty element of class ``bv-<view>`` and the script that fills it."""
    return gr.HTML(
        value,
        html_template=f"<div class='bv-view bv-{view}'></div>",
        js_on_load=source,
        apply_default_css=False,
        container=False,
        padding=False,
        elem_id=elem_id,
        elem_classes=["bv-widget"],
    )
