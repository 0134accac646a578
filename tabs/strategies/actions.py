"""What the Strategies lab's events do: each takes plain values, asks the services, and returns values for widgets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from core.labs.strategies.request import StrategiesRequest
from core.runtime.runs import RunLog
from tabs.widgets.access import Reader
from tabs.widgets.run_actions import RunActions

LAB = "strategies"
CODE_NOTE = "the same run in plain PyTorch and scikit-learn"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the lab shows of one run: its id, and where its events can be followed."""

    run: str
    stream: dict[str, Any]


class Actions(RunActions[Shown]):
    """The lab's actions for one page's services. Every method may raise ``LabError``."""

    def start(self, request: StrategiesRequest, visitor: str, *, replacing: str | None) -> Shown:
        """Start a run, and stop the one that the page showed until now if it is this visitor's and still going."""
        self.stop_replaced(visitor, replacing)
        return self.show(self.reader(visitor, None), self._services.start(LAB, request, visitor))

    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run."""
        return Shown(log.id, reader.stream(log))

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
