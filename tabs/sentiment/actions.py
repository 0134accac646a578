"""What the Sentiment lab's events do: each takes plain values, asks the services, and returns values for widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from core.catalog.catalog import Choice
from core.catalog.datasets import bundled_dataset, dataset_choices
from core.errors import Busy, LabError, NotFound
from core.labs.finetuning.request import FinetuningRequest
from core.labs.sentiment.request import PROBE, SentimentRequest
from core.refusals import titles_of
from core.runtime.labelling import label_choices
from core.runtime.runs import Parent, RunLog, owner_of
from core.runtime.translate import translate
from core.runtime.tuned import PREFIX, TunedModels
from core.runtime.uploads import PREFIX as UPLOAD
from tabs.widgets.access import Reader
from tabs.widgets.lab_actions import LabActions, Shown

LAB, TRAINING = "sentiment", "finetuning"
TASK = "classification"
Choices = list[tuple[str, str]]


class Actions(LabActions[SentimentRequest]):
    """The lab's actions for one page's services. Every method may raise ``LabError``."""

    lab = LAB
    requests = SentimentRequest
    note = "the same run in plain transformers"

    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run; its files and the training it led to are for its owner only."""
        stream: dict[str, Any] = reader.stream(log)
        if reader.owns(log):
            stream |= {**reader.files(log), "trained": self.trained(reader, log.id)}
        return Shown(log.id, stream)

    # --- what the form offers -------------------------------------------------------------------------------------

    def models(self, visitor: str = "") -> Choices:
        """Models that label texts, the visitor's own among them."""
        return [(f"{choice.title} · {choice.note}", choice.name) for choice in self._models(visitor)]

    def compared(self, visitor: str = "") -> Choices:
        """The same by their titles alone, and the linear probe."""
        return [*((choice.title, choice.name) for choice in self._models(visitor)), ("Linear probe", PROBE)]

    def _models(self, visitor: str) -> list[Choice]:
        owner = owner_of(visitor) if visitor else ""
        return label_choices(self._services.catalog, self._services.settings, TASK, owner)

    def data(self, visitor: str = "") -> Choices:
        """What can be read: the text, bundled sets, the visitor's files."""
        sets = [one for one in dataset_choices(self._services.settings) if one.task == TASK]
        own = self.uploads(visitor) if visitor else []
        bundled = [(f"{one.title} · {one.note}", one.name) for one in sets]
        return [("The typed text, or the check set", ""), *own, *bundled]

    def columns(self, data: str, visitor: str) -> list[str]:
        """The columns of a file or a bundled set; none where they are not known before the run."""
        from core.training.datafiles import read_table  # reads with what it imports

        uploads, owner = self._services.uploads, owner_of(visitor)
        try:
            if data.startswith(UPLOAD):
                return read_table(*uploads.open(data, owner)).names
            bundled = bundled_dataset(self._services.settings, data) if data else None
            return read_table(bundled).names if bundled else []
        except LabError:
            return []  # the run says what is wrong with it

    # --- a row ----------------------------------------------------------------------------------------------------

    def why(self, reader: Reader, run: str, row: int, hub_token: str) -> dict[str, Any]:
        """One row of a run explained; where that cannot be, the sentence that says why."""
        from core.labs.sentiment.material import Reader as RowReader

        log, services, owner = reader.open(run), self._services, owner_of(reader.visitor)
        rows = RowReader(services.settings, partial(services.uploads.open, owner=owner), hub_token or None)
        try:
            answer: Mapping[str, Any] = services.lab(LAB).explain_row(
                log, row, services.pool, rows, visitor=reader.visitor, owner=owner
            )
        except LabError as error:
            return {"row": row, "error": str(error)}
        return {"row": row, **answer}

    # --- the loop -------------------------------------------------------------------------------------------------

    def train(
        self, visitor: str, run: str, corrections: Sequence[tuple[int, int | None]], hub_token: str
    ) -> dict[str, Any] | None:
        """Train again on a run's rows with the visitor's corrections: a job of the Fine-tuning lab."""
        services, owner = self._services, owner_of(visitor)
        log = services.store.open(run, visitor)
        asked = services.lab(LAB).retrain_request(log, dict(corrections), services.uploads, owner, hub_token or None)
        try:
            request = FinetuningRequest.model_validate(asked)
        except ValidationError as error:
            raise translate(error, titles_of(FinetuningRequest)) from None
        parent = Parent(run=run, column=0, index=0, token="")  # what leads back here after a reload
        services.start(TRAINING, request, visitor, parent=parent, secret=hub_token or None)
        return self.trained(self.reader(visitor, None), run)

    def trained(self, reader: Reader, run: str) -> dict[str, Any] | None:
        """The newest training that began from a run's rows: its state, and where it is followed while it goes on."""
        metas = self._services.store.list(reader.visitor, TRAINING)
        made = [meta for meta in metas if meta.parent is not None and meta.parent.run == run]
        newest = max(made, key=lambda meta: meta.created, default=None)
        if newest is None:
            return None
        log = reader.open(newest.id)
        told = {"run": newest.id, "status": newest.status}
        return told if log.finished else {**told, "url": reader.stream(log)["url"]}

    def versus(self, visitor: str, run: str, trained: str) -> SentimentRequest:
        """Both models on the same rows: what the run measured, and what was trained from it."""
        name = f"{PREFIX}{trained}"
        try:
            TunedModels(self._services.settings).open(name, owner_of(visitor))
        except NotFound:
            raise Busy("The training is not over yet.", "Compare when it has finished.") from None
        from core.labs.sentiment.relabel import versus_request  # imports what reads data

        return SentimentRequest.model_validate(versus_request(self._services.store.open(run, visitor), name))
