"""The Strategies lab's tab: its widgets and their wiring. What happens then is in ``tabs.strategies.actions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from core.labs.strategies.presets import LESSON, PRESETS
from core.labs.strategies.request import StrategiesRequest
from tabs import Frame
from tabs.strategies.actions import CODE_NOTE, LAB, Actions, Shown
from tabs.strategies.results import results
from tabs.strategies.view import reduce
from tabs.widgets.access import readable_errors
from tabs.widgets.code_panel import code_panel
from tabs.widgets.form import Form, form
from tabs.widgets.heading import heading
from tabs.widgets.held import held
from tabs.widgets.lesson import Steps, lesson
from tabs.widgets.link import NEW_RUN, link

__all__ = ["build", "reduce"]

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
GROUPS = {
    "Optimizer and schedule": ("momentum", "schedule", "warmup", "scaling"),
    "Regularization and stopping": ("weight_decay", "l1", "dropout", "patience"),
    "Data and sampling": ("examples", "noise", "label_noise", "sampling", "padding", "texts"),
    "Model sizes and seed": ("hidden", "layers", "embedding", "seed"),
}


def build(frame: Frame) -> None:
    """Put the lab into the open tab."""
    heading(frame.lab.title, frame.lab.sentence)
    Tab(frame)


class Tab:
    """The lab's widgets, and one method for each thing that a visitor can do."""

    def __init__(self, frame: Frame) -> None:
        self.who, self.actions = frame.visitor, Actions(frame.services)
        self.run, self.share = held(), held()
        with gr.Row(elem_classes=["bt-chips"]):
            chips = [gr.Button(preset.title, elem_classes=["bt-chip"], size="sm") for preset in PRESETS]
        with gr.Row(elem_classes=["bt-two"]):
            with gr.Column(elem_classes=["bt-controls"], min_width=280):
                self.form = self._controls()
            with gr.Column(elem_classes=["bt-results"], min_width=320):
                self.view = results()
                self.code = code_panel({"code": "", "note": CODE_NOTE}, elem_id="strategies-code")
                self.link = link(self.form, LAB, frame.visitor, self._request_of)
                self._lesson()
        self.shown = [self.run, self.share, self.view]
        for chip, preset in zip(chips, PRESETS, strict=True):
            chip.click(lambda chosen=preset.request: self.form.write(chosen), None, self.form.outputs, **QUIET)
        self._wire()

    def _controls(self) -> Form[StrategiesRequest]:
        inputs = form(StrategiesRequest, groups=GROUPS)
        with gr.Row(elem_classes=["bt-actions"]):
            self.run_button = gr.Button("Run", variant="primary", elem_id="strategies-run")
            self.stop_button = gr.Button("Stop", variant="secondary", elem_id="strategies-stop")
        return inputs

    def _lesson(self) -> None:
        told = [{"title": e.title, "look": e.look, "lesson": e.lesson} for e in LESSON]
        steps = Steps("Lesson", "five experiments, ten minutes", told)
        lesson(steps, lambda i: self.form.write(LESSON[i].request), self.form.outputs)

    def _wire(self) -> None:
        mine = [self.who.state, self.run]
        described = ([self.who.state, self.share, self.run], self.code)
        asked = {*self.form.inputs, self.who.state, self.run}
        started = self.run_button.click(None, None, None, js=NEW_RUN).then(self.start, asked, self.shown, **QUIET)
        started.then(self.describe, *described, **QUIET)
        self.stop_button.click(self.stop, mine, None, queue=False, **QUIET)
        self.link.shared_by(self.make_link, mine)
        self.who.ready(self.reopen, [], self.shown).then(self.describe, *described, **QUIET)

    def start(self, values: Mapping[Any, Any]) -> list[Any]:
        """Run: check the inputs, start, show."""
        visitor, request = self.who.token(values[self.who.state]), self.form.read(values)
        with readable_errors():
            return _values(self.actions.start(request, visitor, replacing=values[self.run]))

    def stop(self, visitor: str, run: str | None) -> None:
        """Stop: at the next step."""
        with readable_errors():
            self.actions.stop(self.who.token(visitor), run)

    def reopen(self, visitor: str, request: gr.Request) -> list[Any]:
        """The page was loaded: show the run that its address names, or the visitor's last one."""
        asked = request.query_params.get("run") if request.query_params.get("tab") == LAB else None
        share = asked if asked and "." in asked else None
        with readable_errors():
            last = self.who.last_run(visitor, LAB)
            own = asked or (last.id if last else None)
            shown = self.actions.reopen(self.actions.reader(visitor, share), own)
        return _values(shown, share) if shown else [gr.skip()] * len(self.shown)

    async def describe(self, visitor: str, share: str | None, run: str | None) -> Any:
        """The run's script."""
        if not run:
            return gr.skip()
        with readable_errors():
            return await self.actions.code(self.actions.reader(self.who.token(visitor), share), run)

    def make_link(self, visitor: str, run: str | None) -> str | None:
        """A share token for the run on show."""
        with readable_errors():
            return self.actions.share(self.who.token(visitor), run)

    def _request_of(self, run: str, visitor: str) -> StrategiesRequest:
        """The inputs of the run that an address names: a shared one's token, or the id of one of the visitor's own."""
        reader = self.actions.reader(self.who.token(visitor), run if "." in run else None)
        return self.actions.request(reader, run.partition(".")[0])


def _values(shown: Shown, share: str | None = None) -> list[Any]:
    """For ``Tab.shown``."""
    return [shown.run, share, shown.stream]
