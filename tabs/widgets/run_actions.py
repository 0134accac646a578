"""What the actions of every lab that makes runs have in common: who reads, stopping, reopening, sharing.

A lab's ``Actions`` derives from it and says in ``show`` what its page shows of a run. Every method may raise
``LabError``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Generic, TypeVar

from core.errors import NotFound
from core.runtime.runs import RunLog
from core.services import Services
from tabs.widgets.access import Reader

Shown = TypeVar("Shown")


class RunActions(ABC, Generic[Shown]):
    """The actions of one page's services."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @abstractmethod
    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run."""

    def reader(self, visitor: str, share: str | None) -> Reader:
        return Reader(self._services, visitor, share)

    def stop(self, visitor: str, run: str | None) -> None:
        """Stop a run of the visitor's at its next step."""
        if run:
            self._services.stop(run, visitor)

    def stop_replaced(self, visitor: str, run: str | None) -> None:
        """Stop the run that the page shows until now; a shared one, or one that is gone, is left alone."""
        with suppress(NotFound):
            self.stop(visitor, run)

    def reopen(self, reader: Reader, run: str | None) -> Shown | None:
        """The run that a reloaded page shows: the shared one, else ``run``; None if there is none any more."""
        if reader.share:
            return self.show(reader, self._services.store.open_shared(reader.share))
        return self.show(reader, reader.open(run)) if run else None

    def share(self, visitor: str, run: str | None) -> str | None:
        """A read-only token for the run that is shown; None when nothing is."""
        return self._services.store.share(run, visitor) if run else None
