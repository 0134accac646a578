"""What the Strategies lab's events do: each takes plain values, asks the services, and returns values for widgets."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from core.errors import NotFound
from core.labs.strategies.request import StrategiesRequest
from core.runtime.runs import RunLog
from core.services import Services
from tabs.widgets.access import Reader

LAB = "strategies"
CODE_NOTE = "the same run in plain PyTorch and scikit-learn"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the lab shows of one run: its id, and where its events can be followed."""

    run: str
    stream: dict[str, Any]


class Actions:
    """The lab's actions for one page's services. Every method may raise ``LabError``."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def reader(self, visitor: str, share: str | None) -> Reader:
        return Reader(self._services, visitor, share)

    def start(self, request: StrategiesRequest, visitor: str, *, replacing: str | None) -> Shown:
        """Start a run, and stop the one that the page showed until now if it is this visitor's and still going."""
        with suppress(NotFound):  # a shared run, or one that is gone
            self.stop(visitor, replacing)
        return self.show(self.reader(visitor, None), self._services.start(LAB, request, visitor))

    def stop(self, visitor: str, run: str | None) -> None:
        """Stop a run of the visitor's at its next step."""
        if run:
            self._services.stop(run, visitor)

    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run."""
        return Shown(log.id, reader.stream(log))

    def reopen(self, reader: Reader, run: str | None) -> Shown | None:
        """The run that a reloaded page shows: the shared one, else ``run``; None if there is none any more."""
        if reader.share:
            return self.show(reader, self._services.store.open_shared(reader.share))
        return self.show(reader, reader.open(run)) if run else None

    def share(self, visitor: str, run: str | None) -> str | None:
        """A read-only token for the run that is shown; None when nothing is."""
        return self._services.store.share(run, visitor) if run else None

    def request(self, reader: Reader, run: str) -> StrategiesRequest:
        """The inputs of a run."""
        return StrategiesRequest.model_validate(reader.open(run).meta.request)

    async def code(self, reader: Reader, run: str) -> dict[str, str]:
        """The run's script, for the code panel."""
        request = self.request(reader, run)
        services = self._services

        def write() -> str:
            text: str = services.lab(LAB).script(request, services.pool, services.catalog)
            return text

        return {"code": await asyncio.to_thread(write), "filename": "strategies.py", "note": CODE_NOTE}
