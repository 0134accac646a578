"""What the Decoding lab's events do: each takes plain values, asks the services, and returns values for widgets.

Widgets and wiring are in ``tabs.decoding``; decoding itself is in ``core.labs.decoding``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from core.errors import LabError
from core.generation.parameters import Stage
from core.labs.decoding.history import branch_request, microscope_request
from core.labs.decoding.models import tuned_choices
from core.labs.decoding.request import DecodingRequest
from core.runtime.runs import Parent, RunLog, owner_of
from tabs.widgets import lab_actions
from tabs.widgets.access import Reader
from tabs.widgets.lab_actions import LabActions

LAB = "decoding"
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Shown(lab_actions.Shown):
    """What the lab shows of one run: its tree of branches too."""

    tree: dict[str, Any] | None = None


class Actions(LabActions[DecodingRequest]):
    """The lab's actions for one page's services. Every method may raise ``LabError``."""

    lab = LAB
    requests = DecodingRequest
    note = "the same run in plain transformers"

    def advance(self, visitor: str, run: str, steps: int | None) -> None:
        """By hand: one more token, or (None) all the rest."""
        self._services.runner.advance(run, steps, visitor)

    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run."""
        return Shown(log.id, reader.stream(log), self._tree(log))

    def microscope(
        self, reader: Reader, run: str, column: int, index: int, order: list[str] | None, hub_token: str
    ) -> dict[str, Any]:
        """One token's step under the lens, in the run's own order of stages or another."""
        log = reader.open(run)
        request = DecodingRequest.model_validate(log.meta.request)
        stages = tuple(Stage(name) for name in order) if order else None
        asked = microscope_request(request, log.read(), column, index, stages)
        view = self._services.lab(LAB).microscope(
            asked,
            self._services.pool,
            visitor=reader.visitor,
            token=hub_token or None,
            owner=owner_of(reader.visitor),
        )
        return {**view, "run": run, "column": column, "index": index}

    def branch(
        self, reader: Reader, run: str, column: int, index: int, token_id: int, text: str, hub_token: str
    ) -> Shown:
        """Go on from another candidate: a run of its own, whose parent is the one that is shown."""
        log = reader.open(run)
        request = DecodingRequest.model_validate(log.meta.request)
        branch = branch_request(request, log.read(), column, index, token_id)
        parent = Parent(run=run, column=column, index=index, token=text)
        started = self._services.start(LAB, branch, reader.visitor, parent=parent, secret=hub_token or None)
        return self.show(reader, started)

    async def described(self, reader: Reader, run: str) -> tuple[dict[str, Any] | None, str | None]:
        """The model's facts and the run's script, once the model is in memory; nothing if the run ends before."""
        log = reader.open(run)
        while True:
            over = log.finished
            facts = next((r["values"]["facts"] for r in log.read(limit=3) if r.get("name") == "start"), None)
            if facts is not None:
                request = DecodingRequest.model_validate(log.meta.request)
                return facts, await asyncio.to_thread(self._script, request, owner_of(reader.visitor))
            if over:
                return None, None
            await asyncio.sleep(POLL_SECONDS)

    def _script(self, request: DecodingRequest, owner: str) -> str:
        """The run's script; where this reader cannot have one, a line that says why."""
        services = self._services
        try:
            return services.lab(LAB).script(request, services.pool, services.catalog, owner=owner)
        except LabError as error:  # somebody else's fine-tuned model, or one that is deleted
            return f"# {error.what}\n# {error.todo}\n"

    def models(self, visitor: str = "") -> list[tuple[str, str]]:
        """What the model picker offers a visitor: what there is for all, and the models that they have tuned."""
        found = self._services.catalog.choices(("causal", "seq2seq"))
        found += tuned_choices(self._services.settings, owner_of(visitor)) if visitor else []
        return [(f"{choice.title} · {choice.note}", choice.name) for choice in found]

    def _tree(self, log: RunLog) -> dict[str, Any] | None:
        family = self._services.store.family(log)
        if len(family) < 2:
            return None
        nodes = [
            {
                "run": meta.id,
                "parent": meta.parent.run if meta.parent else None,
                "label": f"“{meta.parent.token}” at {meta.parent.index + 1}" if meta.parent else "the first run",
                "title": meta.title,
                "status": meta.status,
            }
            for meta in family
        ]
        return {"root": family[0].id, "current": log.id, "nodes": nodes}
