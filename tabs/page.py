"""The page: header, navigation and the labs, in one look, light and dark.

``build_page`` makes the Blocks; ``launch_options`` is what ``launch`` needs to show them as drawn. Building touches no
model: every lab's widgets are made from declarations. The tab in view is in the address (``?tab=decoding``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from tabs import LABS, Frame, Lab
from tabs.api import add_endpoints
from tabs.theme import theme, variables
from tabs.widgets import figures, link, view_ops
from tabs.widgets.identity import visitor
from tabs.widgets.status import status_strip
from tabs.widgets.view_ops import Reduce

if TYPE_CHECKING:
    from core.services import Services

JS = Path(__file__).parent / "widgets" / "js"
STYLES = (
    "theme.css",
    "views.css",
    "training.css",
    "strategies.css",
    "sentiment.css",
    "entities.css",
    "quantization.css",
)
WORKERS = 400  # the queue's slots: each event in flight holds one, asynchronous or not

WORDMARK = (
    "<div class='bt-brand'><h1 class='bt-mark'>Bench<span>top</span></h1>"
    "<span class='bt-tagline'>see what a transformer does, on your own input</span></div>"
)
RESTORE_TAB = """() => {
  const asked = window.benchtop.asked();
  const known = %s;
  return known.includes(asked) ? { __type__: "update", selected: asked } : { __type__: "update" };
}"""


def build_page(services: Services, labs: tuple[Lab, ...] = LABS) -> gr.Blocks:
    """The whole page. Each handler on it gets the visitor's token from the one identity widget."""
    with gr.Blocks(title="Benchtop", fill_width=True, analytics_enabled=False) as demo:
        who = visitor(services, demo)
        add_endpoints(services)
        with gr.Row(elem_id="bt-header"):
            gr.HTML(None, html_template=WORDMARK, js_on_load=None, elem_id="bt-wordmark", apply_default_css=False)
            status_strip()
        with gr.Tabs(elem_id="bt-tabs", overflow_behavior="wrap") as tabs:
            for lab in labs:
                named = gr.Tab(lab.title, id=lab.path, elem_id=f"bt-lab-{lab.path}")
                with named as tab, gr.Column(elem_classes=["bt-lab"]):
                    lab.load().build(Frame(services, demo, who, tab, tabs, lab, labs))
        known = [lab.path for lab in labs]
        demo.load(None, None, tabs, js=RESTORE_TAB % known, api_visibility="private", show_progress="hidden")
        tabs.change(None, None, None, js="() => { window.benchtop.tell(); return []; }", api_visibility="private")
    return demo


def reducers(labs: tuple[Lab, ...] = LABS) -> dict[str, Reduce]:
    """The view function of each lab that makes runs, by the lab's path, which is the name that its runs carry."""
    return {lab.path: reduce for lab in labs if (reduce := lab.reduce())}


def head() -> str:
    """What goes into ``<head>``: the colours, and the scripts that the widgets share."""
    scripts = [(JS / "page.js").read_text(encoding="utf-8"), view_ops.JS, link.JS, figures.head_script()]
    return f"<style>{variables()}</style>\n<script>{chr(10).join(scripts)}</script>"


def launch_options(services: Services) -> dict[str, Any]:
    """The keyword arguments of ``demo.launch`` that belong to the look and the load."""
    assets = services.settings.assets
    return {
        "theme": theme(),
        "css_paths": [path for name in STYLES if (path := assets / name).exists()],
        "head": head(),
        "footer_links": [],
        "run_history": False,
        "show_error": True,
        "max_threads": WORKERS,
        "ssr_mode": False,  # the event streams are routes of this server, not of a Node proxy in front of it
        "pwa": False,
        "mcp_server": False,
        "share": False,
        "quiet": True,
        "favicon_path": assets / "favicon.svg",
    }
