"""The Entities lab's tab: its widgets and their wiring. What happens then is in ``tabs.entities.actions``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from core.labs.entities.choices import DOCUMENTS, TEXT, Mode
from core.labs.entities.presets import LESSON, PRESETS
from core.labs.entities.request import CHECK_SET, EntitiesRequest
from tabs import Frame
from tabs.entities.actions import Actions
from tabs.entities.results import results
from tabs.entities.view import reduce
from tabs.widgets.access import readable_errors
from tabs.widgets.form import Form, form
from tabs.widgets.heading import heading
from tabs.widgets.lab_tab import QUIET, LabTab, fit_controls

__all__ = ["build", "reduce"]

CONTROLS = "entities-controls"
FIRST = (
    "mode", "text", "data", "model", "aggregation", "tags", "tokenizers", "max_length", "label_all_tokens", "documents",
)  # fmt: skip
GROUPS = {"Columns, rows and scores": ("words_column", "tags_column", "minimum_score", "rows", "seed")}
FILES = [".txt", ".md", ".conll", ".iob2", ".tsv", ".csv", ".jsonl", ".json", ".parquet"]
FIT_CONTROLS = fit_controls(CONTROLS, mode="values[0]")
"""Fields that say nothing in this mode leave the form (``assets/entities.css``)."""


def build(frame: Frame) -> None:
    """Put the lab into the open tab."""
    heading(frame.lab.title, frame.lab.sentence)
    Tab(frame)


class Tab(LabTab[EntitiesRequest]):
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

    def _controls(self) -> Form[EntitiesRequest]:
        inputs = form(
            EntitiesRequest,
            fields=(*FIRST, *(name for names in GROUPS.values() for name in names)),
            groups=GROUPS,
            choices={"model": self.actions.models(), "data": self.actions.data()},
        )
        self.files = gr.UploadButton(
            "Upload texts or CoNLL", file_types=FILES, file_count="multiple", size="sm", elem_id="entities-upload"
        )
        self.token_field()
        self.run_buttons()
        return inputs

    def _wire_form(self) -> None:
        mode, data = self.form["mode"], self.form["data"]
        kept = [data, self.form["documents"]]
        quiet = {"api_visibility": "private", "show_progress": "hidden"}
        mode.change(None, mode, None, js=FIT_CONTROLS, **quiet)
        mode.input(_data_for, [mode, data], data, **QUIET)
        self.files.upload(self.keep, [self.who.state, self.files], kept, **QUIET)
        self.who.ready(self.offer, [], [self.form["model"], data])

    def start(self, values: Mapping[Any, Any]) -> list[Any]:
        """Run: check the inputs, start, show. Documents are held on, and read only while they are chosen."""
        visitor, chosen = self.who.token(values[self.who.state]), values[self.form["data"]]
        held = tuple(values[self.form["documents"]] or ()) if chosen == DOCUMENTS else ()
        request = self.form.read(values, documents=held)
        with readable_errors():
            return self.values(
                self.actions.start(request, visitor, replacing=values[self.run], hub_token=self.secret(values))
            )

    def keep(self, visitor: str, paths: Sequence[str]) -> list[Any]:
        """Files came: they are chosen, and offered beside the bundled sets."""
        with readable_errors():
            offered, chosen, documents = self.actions.keep(paths, self.who.token(visitor))
        return [gr.update(choices=offered, value=chosen), documents]

    def offer(self, visitor: str) -> list[Any]:
        """The page was loaded: the visitor's own models and files beside the others."""
        visitor = self.who.token(visitor)
        return [gr.update(choices=self.actions.models(visitor)), gr.update(choices=self.actions.data(visitor))]


def _data_for(mode: str, data: str) -> Any:
    """What the new mode reads, where it is not what the other one read."""
    if mode == Mode.EVALUATE and data == TEXT:
        return CHECK_SET
    return TEXT if mode == Mode.TAG and data == CHECK_SET else gr.skip()
