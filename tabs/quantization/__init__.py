"""The Quantization lab's tab: its widgets and their wiring. What happens then is in ``tabs.quantization.actions``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import gradio as gr

from core.labs.quantization.choices import QUANTIZED_TITLES, Mode
from core.labs.quantization.presets import LESSON, PRESETS
from core.labs.quantization.request import QuantizationRequest
from tabs import Frame
from tabs.quantization.actions import Actions
from tabs.quantization.results import conversation, results
from tabs.quantization.view import reduce
from tabs.widgets.access import readable_errors
from tabs.widgets.form import Field, Form, form
from tabs.widgets.heading import heading
from tabs.widgets.lab_tab import CLICKS, QUIET, LabTab, fit_controls
from tabs.widgets.link import NEW_RUN

__all__ = ["build", "reduce"]

CONTROLS = "quantization-controls"
LENS = (
    "layer", "method", "bits", "symmetric", "granularity", "group_size", "sparsity", "n", "m", "everywhere",
)  # fmt: skip
FIRST = (
    "mode", "model", "prompt", "schemes", *LENS, "context", "batch", "use", "rank", "conversation", "formats",
    "generation_prompt", "scheme", "new_tokens",
)  # fmt: skip
GROUPS = {"Measuring": ("text", "scored_tokens", "temperature", "seed", "repeats")}
FIT_CONTROLS = fit_controls(CONTROLS, mode="values[0]", method="values[1]", granularity="values[2]")
"""Fields that a mode or a method does not read leave the form (``assets/quantization.css``)."""
MOST_PATIENCE = 2.0
"""Seconds after which a control that is moved may ask anew, though the last look goes on."""


def build(frame: Frame) -> None:
    """Put the lab into the open tab."""
    heading(frame.lab.title, frame.lab.sentence)
    Tab(frame)


class Tab(LabTab[QuantizationRequest]):
    """The lab's widgets, and what a visitor can do in this lab only."""

    actions: Actions

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, Actions(frame.services))
        self.chips(PRESETS)
        with gr.Row(elem_classes=["bt-two"]):
            with gr.Column(elem_classes=["bt-controls"], min_width=280, elem_id=CONTROLS):
                self.form = self._controls()
            with gr.Column(elem_classes=["bt-results"], min_width=320):
                self.view = results()
                self.below(LESSON, "five experiments, ten minutes")
        self.wire()
        self._wire_form()
        self._wire_lens()

    def _controls(self) -> Form[QuantizationRequest]:
        inputs = form(
            QuantizationRequest,
            fields=(*FIRST, *GROUPS["Measuring"]),
            groups=GROUPS,
            choices={"model": self.actions.models(), "layer": []},
            builders={"conversation": lambda field: conversation(field.shown(field.default)), "scheme": _saved_as},
        )
        self.token_field("A model that needs a token")
        self.run_buttons()
        return inputs

    def _wire_form(self) -> None:
        mode, model, layer = self.form["mode"], self.form["model"], self.form["layer"]
        chosen = [mode, self.form["method"], self.form["granularity"]]
        quiet = {"api_visibility": "private", "show_progress": "hidden"}
        gr.on([one.change for one in chosen], None, chosen, None, js=FIT_CONTROLS, **quiet)
        mode.change(self.offer, mode, model, **QUIET)
        gr.on([mode.change, model.change], self.offer_layers, [mode, model, layer], layer, **QUIET)

    def _wire_lens(self) -> None:
        mine = [self.who.state, self.run]
        asked = {*self.form.inputs, *mine, self.view, self.hub_token}
        moved = gr.on(
            [self.form[name].input for name in LENS],
            self.look_again, asked, self.shown, **QUIET, trigger_mode="always_last",
        )  # fmt: skip
        seen = [self.who.state, self.share, self.run]
        moved.then(self.describe, seen, self.described, **QUIET)
        opened = self.view.layer(self.put_under, [self.who.state, self.share], self.form.outputs, **CLICKS)
        started = opened.success(None, None, None, js=NEW_RUN).then(self.look_from_sweep, asked, self.shown, **QUIET)
        returned = self.view.back(self.back, [self.who.state, self.share], self.shown, **CLICKS)
        for put_on_show in (started, returned):
            put_on_show.then(self.describe, seen, self.described, **QUIET)

    def offer(self, mode: str) -> Any:
        """Another mode was chosen: a plan needs no weights, so it takes models of every kind. What is chosen stays."""
        return gr.update(choices=self.actions.models(mode))

    def offer_layers(self, mode: str, model: str, layer: str) -> Any:
        """Another model is looked at: its layers are offered, and the chosen one stays if it is among them."""
        if mode != Mode.LENS:
            return gr.skip()
        found = self.actions.layers(model or "")
        gone = bool(layer and found) and layer not in [name for _, name in found]
        typed = {"value": ""} if gone else {}  # else the field is left alone: somebody may be typing by now
        return gr.update(choices=[("The first attention projection", ""), *found], **typed)

    async def look_again(self, values: Mapping[Any, Any]) -> AsyncIterator[list[Any]]:
        """A control of the lens was moved: look again, once there has been a first look.

        It ends when the answer is there, so that a moving control asks as fast as it is answered and no faster.
        """
        visitor, run, view = self.who.token(values[self.who.state]), values[self.run], values[self.view] or {}
        reader = self.reader(visitor)
        if values[self.form["mode"]] != Mode.LENS or not self.actions.is_lens(reader, run):
            yield [gr.skip()] * len(self.shown)
            return
        shown = await asyncio.to_thread(self.start, values)
        yield self._marked(shown, again=True, back=view.get("back"))
        if view.get("again"):
            await asyncio.to_thread(self.actions.drop, reader, run)
        await self.actions.answered(reader, shown[0], MOST_PATIENCE)

    def put_under(self, visitor: str, share: str | None, event: gr.EventData) -> list[Any]:
        """A bar of the sweep was clicked: its layer goes under the lens, changed as the sweep changed it."""
        with readable_errors():
            swept = self.actions.request(self.reader(visitor, share), str(event._data["run"]))
        asked = {"mode": Mode.LENS, "layer": str(event._data["layer"]), "everywhere": False}
        return self.form.write(swept.model_copy(update=asked))

    def look_from_sweep(self, values: Mapping[Any, Any]) -> list[Any]:
        """Look at the layer that was clicked. A sweep that still goes on is not stopped: there is a way back to it."""
        return self._marked(self.start({**values, self.run: None}), again=False, back=values[self.run])

    def back(self, visitor: str, share: str | None, event: gr.EventData) -> list[Any]:
        """Return to the sweep from which a layer was opened."""
        reader = self.reader(visitor, share)
        with readable_errors():
            return self.values(self.actions.show(reader, reader.open(str(event._data["run"]))), share)

    def _marked(self, shown: list[Any], **marks: Any) -> list[Any]:
        at = self.shown.index(self.view)
        return [*shown[:at], {**shown[at], **marks}, *shown[at + 1 :]]


def _saved_as(field: Field) -> gr.Dropdown:
    """What a checkpoint can be saved as: the quantized schemes, not every scheme that can be compared."""
    return gr.Dropdown(
        [(title, name.value) for name, title in QUANTIZED_TITLES.items()],
        value=field.shown(field.default),
        label=field.title,
        info=field.hint,
        interactive=True,
        elem_classes=["bt-scheme"],
    )
