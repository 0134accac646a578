"""What the Fine-tuning lab's events do: each takes plain values, asks the services, and returns values for widgets.

Widgets and wiring are in ``tabs.finetuning``; training itself is in ``core.training`` and runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from core.errors import LabError, NotFound
from core.labs.finetuning.compare import ComparedRun, compare
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.sweep import sweep, values_of
from core.refusals import titles_of
from core.runtime.runs import RunLog, RunMeta, owner_of
from core.runtime.translate import translate
from core.runtime.tuned import PREFIX, TunedModels
from tabs.widgets.access import Reader
from tabs.widgets.lab_actions import LabActions, Shown
from tabs.widgets.quantities import age

LAB, EXPORT = "finetuning", "finetuning_export"
MOST_LISTED = 40


class Actions(LabActions[FinetuningRequest]):
    """The lab's actions for one page's services. Every method may raise ``LabError``."""

    lab = LAB
    requests = FinetuningRequest
    note = "the same training in plain trl and peft"

    def resume(self, visitor: str, run: str | None, hub_token: str) -> Shown:
        """Go on from the last checkpoint of a training of the visitor's, as a run with the same curve."""
        if not run:
            raise NotFound("There is no training to go on with.", "Train first, or open a run that was stopped.")
        log = self._services.store.open(run, visitor)
        request = FinetuningRequest.model_validate({**log.meta.request, "resume": log.id})
        return self.start(request, visitor, replacing=None, hub_token=hub_token)

    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run."""
        return Shown(log.id, {**reader.stream(log), "title": log.meta.title})

    def preview(self, request: FinetuningRequest, visitor: str, hub_token: str, measure: bool) -> dict[str, Any]:
        """What the training would read, train and need; with ``measure`` also how long one step takes here."""
        from core.labs.finetuning import preview  # imports what reads data

        services, owner, token = self._services, owner_of(visitor), hub_token or None
        planned = preview.plan_and_preview(request, services.pool, services.catalog, services.uploads, owner, token)
        if measure:
            planned |= preview.measured_step(request, services.pool, services.catalog, services.uploads, owner, token)
        return {**planned, "title": request.summary()}

    async def code(self, reader: Reader, run: str) -> dict[str, str]:
        """The script of a run of the reader's, for the code panel."""
        return {
            "code": await asyncio.to_thread(self._script, reader, run),
            "filename": "finetune.py",
            "note": self.note,
        }

    def _script(self, reader: Reader, run: str) -> str:
        from core.labs.finetuning.script import script  # imports what it runs on

        request, services, owner = self.request(reader, run), self._services, owner_of(reader.visitor)
        upload = partial(services.uploads.open, owner=owner)
        try:
            return script(request, services.pool, services.catalog, upload=upload)
        except LabError as error:  # such as a file that is no longer there: the run itself is shown all the same
            return f"# {error.what}\n# {error.todo}\n"

    def resumable(self, reader: Reader, run: str | None) -> bool:
        """Whether Resume would do something: an own training that ended before its last step."""
        log = reader.open(run) if run else None
        return log is not None and reader.owns(log) and log.finished and log.meta.status in ("stopped", "failed")

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def export(self, visitor: str, run: str, asked: Mapping[str, Any]) -> None:
        """Start a merge, a zip, an ONNX file, TensorBoard files or a push, as a run of its own."""
        from core.labs.finetuning.export_request import ExportRequest

        given = {name: asked[name] for name in ("kind", "repo", "private") if name in asked}
        try:
            request = ExportRequest.model_validate({"run": run, **given})
        except ValidationError as error:
            raise translate(error, titles_of(ExportRequest)) from None
        self._services.start(EXPORT, request, visitor, secret=str(asked.get("token") or "") or None)

    def exports(self, reader: Reader, run: str | None) -> dict[str, Any] | None:
        """What can be made of a run's model, and what was; None while it has none, or it is not the reader's."""
        if not run:
            return None
        services, name = self._services, f"{PREFIX}{run}"
        try:
            tuned = TunedModels(services.settings).open(name, owner_of(reader.visitor))
        except NotFound:
            return None
        made = [meta for meta in services.store.list(reader.visitor, EXPORT) if meta.request.get("run") == run]
        newest = {meta.request["kind"]: meta for meta in reversed(made)}
        return {
            "run": run,
            "model": name,
            "decodes": tuned.card.task == "language",
            "merges": tuned.card.kind == "adapter",
            "exports": [self._export(reader, kind, meta.id) for kind, meta in newest.items()],
        }

    def _export(self, reader: Reader, kind: str, export: str) -> dict[str, Any]:
        log = reader.open(export)
        seen = {"records": log.read()} if log.finished else {"url": reader.stream(log)["url"]}
        return {"kind": kind, "run": export, **seen, **reader.files(log)}

    # --- several runs -------------------------------------------------------------------------------------------------

    def sweep(
        self, request: FinetuningRequest, fields: Sequence[tuple[str | None, str]], visitor: str, hub_token: str
    ) -> tuple[Shown, list[str]]:
        """Queue a grid of runs; the first of them is shown. Fields that are not chosen are left out."""
        given = {name: values_of(name, text) for name, text in fields if name}
        logs = [self._services.start(LAB, one, visitor, secret=hub_token or None) for one in sweep(request, given)]
        return self.show(self.reader(visitor, None), logs[0]), [log.id for log in logs]

    def runs(
        self, reader: Reader, chosen: Sequence[str] = (), axis: str = "step", compared: bool = False
    ) -> dict[str, Any]:
        """The visitor's runs as a list, and the chosen ones side by side."""
        metas = self._services.store.list(reader.visitor, LAB)[:MOST_LISTED]
        known = [run for run in chosen if any(meta.id == run for meta in metas)]
        return {
            "runs": [_line(meta) for meta in metas],
            "chosen": known,
            "open": compared,
            "compared": self._compare(reader, known, axis) if compared and known else None,
        }

    def _compare(self, reader: Reader, runs: Sequence[str], axis: str) -> dict[str, Any]:
        logs = [reader.open(run) for run in runs]
        return compare([ComparedRun(log.id, log.meta.request, log.read()) for log in logs], axis)  # type: ignore[arg-type]


def _line(meta: RunMeta) -> dict[str, Any]:
    return {
        "id": meta.id,
        "title": meta.title,
        "status": meta.status,
        "age": f"{age(max(0.0, time.time() - meta.created))} ago",
        "group": meta.request.get("group") or "",
    }
