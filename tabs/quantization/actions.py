"""What the Quantization lab's events do: each takes plain values, asks the services, and returns values for widgets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from core.errors import Busy, LabError, NotFound
from core.labs.quantization.choices import Mode
from core.labs.quantization.layers import layers_of
from core.labs.quantization.request import QuantizationRequest
from core.runtime.runs import RunLog
from tabs.widgets.access import Reader
from tabs.widgets.lab_actions import LabActions, Shown

Choices = list[tuple[str, str]]
POLL_SECONDS = 0.05
FIRST_RECORDS = 12
"""Among so many the run says that it has begun."""


class Actions(LabActions[QuantizationRequest]):
    """The lab's actions for one page's services. Every method may raise ``LabError``."""

    lab = "quantization"
    requests = QuantizationRequest
    note = "the same run in plain transformers"

    def show(self, reader: Reader, log: RunLog) -> Shown:
        """What the page needs to show a run; its files are for its owner only."""
        stream: dict[str, Any] = reader.stream(log)
        if reader.owns(log):
            stream |= reader.files(log)
        return Shown(log.id, stream)

    async def code(self, reader: Reader, run: str) -> dict[str, str]:
        """The run's script, once its model is there: two threads that import one library get in each other's way."""
        log = reader.open(run)
        while not log.finished and not any(record.get("name") == "start" for record in log.read(limit=FIRST_RECORDS)):
            await asyncio.sleep(POLL_SECONDS)
        return await super().code(reader, run)

    def models(self, mode: str = Mode.COMPARE) -> Choices:
        """Models that write text; for a memory plan every model whose shape is known."""
        kinds = ("causal", "seq2seq", "encoder") if mode == Mode.PLAN else ("causal",)
        return [(f"{choice.title} · {choice.note}", choice.name) for choice in self._services.catalog.choices(kinds)]

    def layers(self, model: str) -> Choices:
        """The layers of a model that the lens can look at, from names alone; none where they are not known yet."""
        try:
            found = layers_of(self._services.catalog.facts(model))
        except LabError:
            return []  # the run says what is wrong with it
        return [(_place(layer), str(layer["name"])) for layer in found]

    def is_lens(self, reader: Reader, run: str | None) -> bool:
        """Whether the run on show is a look at a layer, which a control that is moved replaces."""
        with suppress(NotFound):
            return bool(run) and self.request(reader, str(run)).mode is Mode.LENS
        return False

    async def answered(self, reader: Reader, run: str, patience: float) -> None:
        """Return when a run is over, or after ``patience`` seconds."""
        log = reader.open(run)
        for _ in range(int(patience / POLL_SECONDS)):
            if log.finished:
                return
            await asyncio.sleep(POLL_SECONDS)

    def drop(self, reader: Reader, run: str | None) -> None:
        """A look that only a moving control asked for is not kept, unless somebody has its link."""
        with suppress(NotFound, Busy):
            if run and not reader.open(run).meta.shared:
                self._services.store.delete(run, reader.visitor)


def _place(layer: Mapping[str, Any]) -> str:
    block = "" if layer["depth"] is None else f"block {layer['depth']} · "
    return f"{block}{layer['title']} · {layer['shape'][0]} × {layer['shape'][1]}"
