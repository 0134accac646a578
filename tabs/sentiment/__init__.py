"""The Sentiment lab's tab: its widgets and their wiring. What happens then is in ``tabs.sentiment.actions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from core.labs.sentiment.presets import LESSON, PRESETS
from core.labs.sentiment.request import SentimentRequest
from tabs import Frame
from tabs.sentiment.actions import Actions
from tabs.sentiment.results import results
from tabs.sentiment.view import reduce
from tabs.widgets.access import readable_errors
from tabs.widgets.form import Form, form
from tabs.widgets.heading import heading
from tabs.widgets.lab_tab import CLICKS, QUIET, LabTab, fit_controls
from tabs.widgets.link import NEW_RUN

__all__ = ["build", "reduce"]

CONTROLS = "sentiment-controls"
COLUMNS = ("text_column", "target_column", "pair_column")
FIRST = (
    "mode",
    "model",
    "models",
    "text",
    "lines",
    "edited",
    "swaps",
    "axis",
    "templates",
    "data",
    "text_column",
    "target_column",
    "target",
    "positive",
)
GROUPS = {"More": ("pair", "pair_column", "rows", "long", "steps", "seed")}
FILES = [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt"]
FIT_CONTROLS = fit_controls(CONTROLS, mode="values[0]", source="values[1] ? 'data' : 'text'")
"""Fields that a mode does not read leave the form (``assets/sentiment.css``)."""


def build(frame: Frame) -> None:
    """Put the lab into the open tab."""
    heading(frame.lab.title, frame.lab.sentence)
    Tab(frame)


class Tab(LabTab[SentimentRequest]):
    """The lab's widgets, and one method for each thing that a visitor can do only here."""

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
        self._wire_form(frame.tab)
        self._wire_rows()

    def _controls(self) -> Form[SentimentRequest]:
        offered = {"model": self.actions.models(), "models": self.actions.compared(), "data": self.actions.data()}
        offered |= {name: [] for name in COLUMNS}
        inputs = form(SentimentRequest, fields=(*FIRST, *GROUPS["More"]), groups=GROUPS, choices=offered)
        self.file = gr.UploadButton(
            "Upload CSV, JSONL or Parquet", file_types=FILES, size="sm", elem_id="sentiment-upload"
        )
        self.token_field()
        self.run_buttons()
        return inputs

    def _wire_form(self, tab: gr.Tab) -> None:
        chosen = [self.form["mode"], self.form["data"]]
        quiet = {"api_visibility": "private", "show_progress": "hidden"}
        gr.on([one.change for one in chosen], None, chosen, None, js=FIT_CONTROLS, **quiet)
        offered = [self.form["model"], self.form["models"], self.form["data"]]
        tab.select(self.offer, self.who.state, offered, **QUIET)
        self.who.ready(self.offer, [], offered)
        columns = [self.form[name] for name in COLUMNS]
        self.form["data"].change(self.columns, [self.who.state, self.form["data"]], columns, **QUIET)
        self.file.upload(self.upload, [self.who.state, self.file], self.form["data"], **QUIET)

    def _wire_rows(self) -> None:
        mine = [self.who.state, self.view, self.hub_token]
        self.view.why(self.why, [*mine, self.share], self.view, **CLICKS)
        self.view.train(self.train, mine, self.view, **CLICKS)
        filled = self.view.versus(self.versus, self.who.state, self.form.outputs, **CLICKS)
        asked = {*self.form.inputs, self.who.state, self.run, self.hub_token}
        started = filled.success(None, None, None, js=NEW_RUN).then(self.start, asked, self.shown, **QUIET)
        started.then(self.describe, [self.who.state, self.share, self.run], self.code, **QUIET)

    def offer(self, visitor: str | None) -> list[Any]:
        """The tab is looked at: models and files that came meanwhile are offered too. What is chosen stays."""
        if visitor is None:
            return [gr.skip()] * 3  # a first visit, whose token is on its way; ``ready`` asks again
        who = self.who.token(visitor)
        found = (self.actions.models(who), self.actions.compared(who), self.actions.data(who))
        return [gr.update(choices=choices) for choices in found]

    def columns(self, visitor: str | None, data: str | None) -> list[Any]:
        """Other data was chosen: its columns are offered. What is chosen stays, for a link or a preset may name it."""
        if visitor is None:
            return [gr.skip()] * len(COLUMNS)
        found = self.actions.columns(data or "", self.who.token(visitor))
        return [gr.update(choices=["", *found] if found else [])] * len(COLUMNS)

    def upload(self, visitor: str, path: str) -> Any:
        """A file came: it is chosen, and offered beside the bundled sets."""
        who = self.who.token(visitor)
        with readable_errors():
            name = self.actions.upload(path, who)
            return gr.update(choices=self.actions.data(who), value=name)

    def why(
        self, visitor: str, view: Mapping[str, Any], secret: str, share: str | None, event: gr.EventData
    ) -> dict[str, Any]:
        """Why a row was given its label."""
        asked = event._data
        with readable_errors():
            answer = self.actions.why(self.reader(visitor, share), asked["run"], int(asked["row"]), secret or "")
        return {**view, "why": answer}

    def train(self, visitor: str, view: Mapping[str, Any], secret: str, event: gr.EventData) -> dict[str, Any]:
        """Train again on the corrected rows."""
        asked = event._data
        corrections = [(int(row), label) for row, label in asked["corrections"]]
        with readable_errors():
            trained = self.actions.train(self.who.token(visitor), asked["run"], corrections, secret or "")
        return {**view, "why": None, "trained": trained}

    def versus(self, visitor: str, event: gr.EventData) -> list[Any]:
        """Compare before and after: the form is filled, and the comparison starts."""
        asked, who = event._data, self.who.token(visitor)
        with readable_errors():
            request = self.actions.versus(who, asked["run"], asked["trained"])
        filled = dict(zip(self.form.components, self.form.write(request), strict=True))
        filled["models"] = gr.update(choices=self.actions.compared(who), value=filled["models"])
        return list(filled.values())
