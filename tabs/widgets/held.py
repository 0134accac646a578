"""A value that the page holds for its handlers without showing it: any JSON, per page, kept in the browser.

Used instead of ``gr.State``: one of those on a page makes each open page hold a second connection to the server for a
heartbeat, and a browser opens only six to one host. A visitor can change what is held here, so a handler trusts it as
little as any other input.
"""

from __future__ import annotations

from typing import Any

import gradio as gr


def held(value: Any = None) -> gr.HTML:
    """Build the holder; an input and an output like any other."""
    return gr.HTML(value, html_template="", js_on_load=None, visible=False)
