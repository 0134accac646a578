"""A title and a sentence under it. Text only: what is given is never read as HTML."""

from __future__ import annotations

import gradio as gr

JS = """
element.querySelector('h2,h3').textContent = props.value.title;
element.querySelector('p').textContent = props.value.sentence;
"""


def heading(title: str, sentence: str, level: int = 2) -> gr.HTML:
    """Build the heading of a lab (``level`` 2) or of a card in it (3)."""
    return gr.HTML(
        {"title": title, "sentence": sentence},
        html_template=f"<h{level}></h{level}><p></p>",
        js_on_load=JS,
        elem_classes=["bt-heading", f"bt-heading-{level}"],
        apply_default_css=False,
    )
