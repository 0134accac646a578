"""The strip at the top right of every page: device, memory, models, queue, and whether the labs are ready.

Filled in the browser from the ``status`` route (``tabs.routes``), which answers with ``services.status()``:

    device          "CPU 2 cores", "NVIDIA L4"
    models          models in memory
    bytes, budget   what they take, and may take, of the device's memory; budget is None until it is known
    queue           waiting work
    offline         bool
    state           "warming up", "ready" or "failed": words and a dot, never the colour alone

The theme's button stands beside it, since it is on every page too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

TEMPLATE = (
    "<div class='bt-status' role='status' aria-label='State of the server'>"
    "<span><span data-part='device'>CPU</span> <b data-part='which'></b></span>"
    "<span>models <b data-part='models'>0</b> · <b data-part='used'>0 MB</b> <span data-part='total'></span></span>"
    "<span>queue <b data-part='queue'>0</b></span>"
    "<span class='bt-state' data-part='state' data-state='warming up'><i aria-hidden='true'>●</i> "
    "<span data-part='words'>starting</span></span></div>"
    "<button type='button' class='bt-theme' aria-pressed='false' aria-label='Dark colours' title='Light or dark'>"
    "<svg viewBox='0 0 16 16' width='16' height='16' aria-hidden='true'><circle cx='8' cy='8' r='6' fill='none' "
    "stroke='currentColor' stroke-width='1.5'/><path d='M8 2a6 6 0 0 1 0 12z' fill='currentColor'/></svg></button>"
)
JS = (Path(__file__).parent / "js" / "status.js").read_text(encoding="utf-8")


def status_strip(first: dict[str, Any] | None = None) -> gr.HTML:
    """Build the strip; ``first`` is shown until the first answer."""
    return gr.HTML(first, html_template=TEMPLATE, js_on_load=JS, elem_id="bt-strip", apply_default_css=False)
