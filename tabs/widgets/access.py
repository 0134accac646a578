"""Opening a run for whoever looks at the page: its owner, or somebody with a share link. Nobody else gets a log."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import LabError, NotFound

if TYPE_CHECKING:
    from core.runtime.runs import RunLog
    from core.services import Services


FILES = "files"
"""A part of the addresses of runs' files (``tabs.routes``), and of their tickets."""


@contextmanager
def readable_errors() -> Iterator[None]:
    """A ``LabError`` inside becomes the page's one sentence, without a traceback in the server's output."""
    try:
        yield
    except LabError as error:
        raise gr.Error(html.escape(str(error), quote=False), title="That did not work", print_exception=False) from None


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: a visitor's token, and the share token of the link that the page was opened with, if any."""

    services: Services
    visitor: str
    share: str | None = None

    def open(self, run_id: str) -> RunLog:
        """The log of a run that this reader may see. Raises ``NotFound``."""
        if self.share:
            log = self.services.store.open_shared(self.share)
            if log.id == run_id:
                return log
        return self.services.store.open(run_id, self.visitor)

    def stream(self, log: RunLog) -> dict[str, Any]:
        """What a run view is given: the run, and where its events can be followed."""
        ticket = self.services.identity.ticket(log.id)
        return {"run": log.id, "url": f"runs/{log.id}/events?ticket={ticket}"}

    def files(self, log: RunLog) -> dict[str, str]:
        """Where the run's files are, and the ticket that opens them."""
        return {"files": f"runs/{log.id}/{FILES}/", "ticket": self.services.identity.ticket(f"{log.id}/{FILES}")}

    def owns(self, log: RunLog) -> bool:
        """Whether this reader may stop, share or go on with the run."""
        try:
            self.services.store.open(log.id, self.visitor)
        except NotFound:
            return False
        return True
