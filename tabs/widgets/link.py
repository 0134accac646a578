"""The inputs in the address bar, and two buttons: one copies a link to the inputs, one a link to the run on show.

Only what differs from the defaults is in the address, under the field's own name, beside ``tab``. Values of more than
``LONGEST`` characters are left out: such inputs are shared as a run (``?tab=decoding&run=<share token>``), for which
the button asks the lab. Opening a link restores the inputs; a bad one gives one notice and the defaults. The
browser's half is in ``js/link.js``.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency
from pydantic import BaseModel, ValidationError

from core.errors import LabError
from core.refusals import sentences, titles_of
from tabs.widgets.form import Field, Form
from tabs.widgets.identity import Visitor

Opened = Callable[[str, str], BaseModel | None]
LONGEST = 1500
FOLDER = Path(__file__).parent / "js"
JS = (FOLDER / "link.js").read_text(encoding="utf-8")
RESTORED = "() => { window.benchtop.restored(%s); return []; }"
"""The form holds what the address asks for, from now on; Run waits for it, and so can whoever drives the page."""
TEMPLATE = (
    "<button type='button' class='bt-chip bt-copy' title='A link to this lab with these inputs'>Copy link</button>"
    "<button type='button' class='bt-chip bt-share' title='Whoever has the link can watch this run, and nothing else'>"
    "Share this run</button>"
    "<input class='bt-link' type='text' readonly hidden aria-label='The link to this lab with these inputs'>"
    "<span class='bt-note' role='status' aria-live='polite'></span>"
)
NEW_RUN = "(...values) => { window.benchtop.forgetRun(); return values; }"


@dataclass(frozen=True, slots=True)
class Link:
    """The link widgets of one lab. ``button`` is the copy button, ``restored`` runs on page load."""

    button: gr.HTML
    restored: Dependency

    def shared_by(self, fn: Callable[..., str | None], inputs: Sequence[Any]) -> Dependency:
        """How to share inputs that are too long for an address: ``fn(*inputs)`` gives a run's share token or None."""

        def share(*values: Any) -> dict[str, Any]:
            return {"run": fn(*values), "at": time.time()}  # a new value each time, or the browser would not see it

        return self.button.make_link(
            share, list(inputs), self.button, api_visibility="private", show_progress="hidden", concurrency_limit=None
        )


def link(form: Form[Any], lab: str, visitor: Visitor, opened: Opened | None = None) -> Link:
    """Tie a form to the address bar and build the copy button here.

    ``opened(run, visitor_token)`` gives the request of the run that an address names: the visitor's own by its id, or a
    shared one by its share token. It raises a ``LabError`` when there is none.
    """
    visible = [(name, c) for name, c in form.components.items() if not form.fields[name].hidden]
    told = {
        "lab": lab,
        "names": [name for name, _ in visible],
        "defaults": [form.fields[name].shown(form.fields[name].default) for name, _ in visible],
        "longest": LONGEST,
    }
    gr.on(
        [component.change for _, component in visible],
        None,
        [component for _, component in visible],
        None,
        js=f"(...values) => {{ window.benchtop.sync({json.dumps(told)}, values); return []; }}",
        api_visibility="private",
        show_progress="hidden",
    )

    def restore(token: str, request: gr.Request) -> list[Any]:
        run = (lambda name: opened(name, token)) if opened else None
        found = restored(form, lab, dict(request.query_params), run)
        return [gr.skip()] * len(form.outputs) if found is None else form.write(found)

    loaded = visitor.ready(restore, [], form.outputs)
    loaded.then(None, None, None, js=RESTORED % json.dumps(lab), api_visibility="private", show_progress="hidden")
    button = gr.HTML(
        None,
        html_template=TEMPLATE,
        js_on_load=f"const LAB = {json.dumps(lab)};\n{(FOLDER / 'copy.js').read_text(encoding='utf-8')}",
        elem_classes=["bt-link-row"],
        apply_default_css=False,
    )
    return Link(button, loaded)


def restored(
    form: Form[Any], lab: str, query: dict[str, str], opened: Callable[[str], BaseModel | None] | None = None
) -> Any | None:
    """The request that an address asks for in this lab, or None when it asks for nothing here."""
    if query.get("tab") != lab:
        return None
    base = _request_of(query.get("run"), opened)
    shown = {name: field for name, field in form.fields.items() if name in form.components and not field.hidden}
    given = {name: parse(shown[name], text) for name, text in query.items() if name in shown}
    if not given:
        return base
    start = base.model_dump() if base else {}
    try:
        return form.model.model_validate({**start, **given})
    except ValidationError as error:
        reason = html.escape(sentences(error, titles_of(form.model)), quote=False)
        gr.Warning(f"The link holds something that this lab cannot use. {reason}", title="Link not restored")
        return base


def _request_of(run: str | None, opened: Callable[[str], BaseModel | None] | None) -> BaseModel | None:
    if not run or opened is None:
        return None
    try:
        return opened(run)
    except LabError:
        return None  # the lab opens the same run to show it, and says why it cannot


def parse(field: Field, text: str) -> Any:
    """A field's value from its text in an address."""
    if field.kind in ("choices", "names"):
        return tuple(part for part in text.split(",") if part)
    if field.kind == "records":
        try:
            return json.loads(text)
        except ValueError:
            return text  # which the request refuses
    return field.given(text)
