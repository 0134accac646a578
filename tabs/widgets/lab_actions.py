"""What most labs' events do, without widgets: start a run, show it, write its script, keep a file that was uploaded.

A lab's ``Actions`` derives from ``LabActions``, names its lab, its request and its script, and adds what only it does.
Every method may raise ``LabError``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from core.errors import LabError
from core.labs.base import Request
from core.runtime.runs import RunLog, owner_of
from tabs.widgets.access import Reader
from tabs.widgets.run_actions import RunActions

R = TypeVar("R", bound=Request)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a lab shows of one run: its id, and where its events can be followed."""

    run: str
    stream: dict[str, Any]


class LabActions(RunActions[Shown], Generic[R]):
    """The actions of one page's services for one lab."""

    lab: ClassVar[str]
    """The lab's path, which is the name that its runs carry."""
    requests: type[R]
    """What a run of the lab is asked for."""
    note: ClassVar[str]
    """What the script is, beside the word Code."""

    def start(self, request: R, visitor: str, *, replacing: str | None, hub_token: str = "") -> Shown:
        """Start a run, and stop the one that the page showed until now if it is this visitor's and still going."""
        self.stop_replaced(visitor, replacing)
        log = self._services.start(self.lab, request, visitor, secret=hub_token or None)
        return self.show(self.reader(visitor, None), log)

    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run."""
        return Shown(log.id, reader.stream(log))

    def request(self, reader: Reader, run: str) -> R:
        """The inputs of a run."""
        return self.requests.model_validate(reader.open(run).meta.request)

    async def code(self, reader: Reader, run: str) -> dict[str, str]:
        """The run's script for the code panel; where this reader cannot have one, lines that say why."""
        request, owner, services = self.request(reader, run), owner_of(reader.visitor), self._services

        def write() -> str:
            try:
                text: str = services.lab(self.lab).script(request, services.pool, services.catalog, owner=owner)
            except LabError as error:  # somebody else's model or file, or one that is deleted
                return f"# {error.what}\n# {error.todo}\n"
            return text

        return {"code": await asyncio.to_thread(write), "filename": f"{self.lab}.py", "note": self.note}

    def upload(self, path: str, visitor: str) -> str:
        """Keep a file of the visitor's; the name that a request has for it."""
        return self._services.uploads.add(Path(path), owner_of(visitor))

    def uploads(self, visitor: str) -> list[tuple[str, str]]:
        """The visitor's files, for a picker."""
        return [(f"{title} · yours", name) for name, title in self._services.uploads.owned(owner_of(visitor))]
