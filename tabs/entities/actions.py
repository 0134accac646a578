"""What the Entities lab's events do: each takes plain values, asks the services, and returns values for widgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.catalog.datasets import dataset_choices
from core.errors import BadInput
from core.labs.entities.choices import DOCUMENTS, TEXT, Mode
from core.labs.entities.request import MOST_DOCUMENTS, EntitiesRequest
from core.runtime.labelling import label_choices
from core.runtime.runs import RunLog, owner_of
from tabs.widgets.access import Reader
from tabs.widgets.lab_actions import LabActions, Shown

LAB = "entities"
TASK = "tokens"
Choices = list[tuple[str, str]]


class Actions(LabActions[EntitiesRequest]):
    """The lab's actions for one page's services. Every method may raise ``LabError``."""

    lab = LAB
    requests = EntitiesRequest
    note = "the same labels in plain transformers"

    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run; its files, and its data to train on, are for its owner only."""
        stream: dict[str, Any] = reader.stream(log)
        if reader.owns(log):
            request = self.requests.model_validate(log.meta.request)
            stream |= reader.files(log)
            stream["data"] = request.labelled if request.mode is Mode.EVALUATE else None
        return Shown(log.id, stream)

    def models(self, visitor: str = "") -> Choices:
        """Models that label tokens, the visitor's own among them."""
        owner = owner_of(visitor) if visitor else ""
        found = label_choices(self._services.catalog, self._services.settings, TASK, owner)
        return [(f"{choice.title} · {choice.note}", choice.name) for choice in found]

    def data(self, visitor: str = "") -> Choices:
        """What can be read: the text, bundled sets, the visitor's files."""
        sets = [one for one in dataset_choices(self._services.settings) if one.task == TASK]
        own = self.uploads(visitor) if visitor else []
        bundled = ((f"{one.title} · {one.note}", one.name) for one in sets)
        return [("The typed text, or the check set", TEXT), *bundled, *own]

    def keep(self, paths: Sequence[str], visitor: str) -> tuple[Choices, str, list[str]]:
        """Keep uploaded files: what a picker offers for them, what is chosen, and the documents if they are several."""
        if len(paths) > MOST_DOCUMENTS:
            raise BadInput(
                f"That is {len(paths):,} files; at most {MOST_DOCUMENTS} documents are read at once.", "Bring fewer."
            )
        names = list(dict.fromkeys(self.upload(path, visitor) for path in paths))
        offered = self.data(visitor)
        if len(names) == 1:
            return offered, names[0], []
        return [(f"{len(names)} documents · yours", DOCUMENTS), *offered], DOCUMENTS, names
