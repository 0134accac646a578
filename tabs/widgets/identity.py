"""Who the visitor is: a random token that the browser keeps, made on the first visit, handed to every handler.

``Visitor.state`` is an input like any other; a handler that gets it calls ``Visitor.token`` before it trusts it. What
has to wait for the token (reopening a visitor's last run) hangs on ``Visitor.ready``. Two browsers never have one
token; a browser that keeps nothing has one until its page is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import Dependency

if TYPE_CHECKING:
    from core.services import Services

STORAGE_KEY = "benchtop-visitor"


@dataclass(frozen=True, slots=True)
class Visitor:
    """The page's one identity widget."""

    services: Services
    state: gr.BrowserState
    loaded: Dependency

    def token(self, given: Any) -> str:
        """The token if it is one of ours; raises ``gr.Error`` otherwise."""
        if isinstance(given, str) and self.services.identity.valid(given):
            return given
        raise gr.Error("This page has lost track of you: reload it.", title="Reload the page", print_exception=False)

    def ready(self, fn: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Dependency:
        """Call ``fn(token, *inputs)`` on each page load, once the browser has its token."""
        return self.loaded.then(
            fn,
            [self.state, *inputs],
            list(outputs),
            api_visibility="private",
            show_progress="hidden",
            concurrency_limit=None,
        )

    def last_run(self, token: str, lab: str) -> Any | None:
        """The newest run (``RunMeta``) of this visitor in a lab, or None: what a reloaded page reopens."""
        runs = self.services.store.list(self.token(token), lab)
        return max(runs, key=lambda meta: meta.created, default=None)


def visitor(services: Services, demo: gr.Blocks) -> Visitor:
    """Build the identity widget of this page."""

    def ensure(token: str | None) -> str:
        known = isinstance(token, str) and services.identity.valid(token)
        return token if known else services.identity.new_visitor()

    state = gr.BrowserState(None, storage_key=STORAGE_KEY, secret=services.identity.browser_secret)
    loaded = demo.load(
        ensure, state, state, api_visibility="private", show_progress="hidden", concurrency_limit=None, queue=False
    )
    return Visitor(services, state, loaded)
