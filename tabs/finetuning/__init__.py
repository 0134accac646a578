"""The Fine-tuning lab's tab: its widgets and what is wired to what. What happens is in ``tabs.finetuning.actions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from core.catalog.datasets import dataset_choices
from core.errors import LabError
from core.labs.finetuning.presets import LESSON, PRESETS
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.sweep import SWEPT
from tabs import Frame
from tabs.finetuning.actions import Actions
from tabs.finetuning.view import reduce
from tabs.widgets.access import readable_errors
from tabs.widgets.data_preview import data_preview
from tabs.widgets.exports_view import exports_view
from tabs.widgets.form import Form, form
from tabs.widgets.heading import heading
from tabs.widgets.lab_actions import Shown
from tabs.widgets.lab_tab import CLICKS, QUIET, LabTab, fit_controls
from tabs.widgets.link import NEW_RUN
from tabs.widgets.runs_table import runs_table
from tabs.widgets.training_view import training_view

__all__ = ["build", "reduce"]

FIRST = ("model", "data", "task", "method", "r", "virtual_tokens", "learning_rate", "epochs", "batch_size")
GROUPS = {
    "Data": (
        *("text_column", "target_column", "validation_share", "max_length"),
        *("packing", "completion_only_loss", "label_all_tokens"),
    ),
    "Method": ("lora_alpha", "lora_dropout", "target_modules", "bias", "rank_pattern"),
    "Steps and rates": ("scheduler", "warmup_ratio", "max_steps", "weight_decay", "early_stopping", "seed"),
    "Memory": ("gradient_accumulation", "activation_checkpointing", "precision"),
    "Watch": ("eval_steps", "save_steps", "prompts"),
}
FILES = [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", ".conll", ".conllu", ".iob2", ".iob", ".bio"]
CONTROLS = "finetuning-controls"
FIT_CONTROLS = fit_controls(CONTROLS, method="values[0]", task="values[1]")
"""Fields that say nothing for this method or task leave the form (``assets/training.css``)."""


def build(frame: Frame) -> None:
    """Put the lab into the open tab."""
    heading(frame.lab.title, frame.lab.sentence)
    Tab(frame)


class Tab(LabTab[FinetuningRequest]):
    """The lab's widgets, and what a visitor can do in this lab only."""

    actions: Actions

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, Actions(frame.services))
        self.sets = dataset_choices(frame.services.settings)
        self.chips(PRESETS)
        with gr.Row(elem_classes=["bt-two"]):
            with gr.Column(elem_classes=["bt-controls"], min_width=280, elem_id=CONTROLS):
                self.form = self._controls(frame)
            with gr.Column(elem_classes=["bt-results"], min_width=320):
                self.preview, self.view = data_preview(), training_view()
                self.exports, self.runs = exports_view(), runs_table()
                self.below(LESSON, "five experiments, ten minutes")
        self.wire()
        self._wire_runs()
        self._wire_form()

    @property
    def shown(self) -> list[Any]:
        """Another run on show has nothing yet of what follows its end."""
        return [*super().shown, self.exports, self.code, self.resume_button]

    def values(self, shown: Shown, share: str | None = None) -> list[Any]:
        """For ``shown``."""
        return [*super().values(shown, share), None, None, gr.update(interactive=False)]

    @property
    def described(self) -> list[Any]:
        """Nothing: the script is written once the training is over, since it may read the data."""
        return []

    def _controls(self, frame: Frame) -> Form[FinetuningRequest]:
        models = [(f"{c.title} · {c.note}", c.name) for c in frame.services.catalog.choices(("causal", "encoder"))]
        grouped = [name for names in GROUPS.values() for name in names]
        inputs = form(
            FinetuningRequest,
            fields=(*FIRST, *grouped, "resume", "group"),
            groups=GROUPS,
            choices={"model": models, "data": self._bundled()},
        )
        with gr.Accordion("Your own data", open=False, elem_classes=["bt-more"]), gr.Column(elem_classes=["bt-form"]):
            self.file = gr.UploadButton(
                "Upload CSV, JSONL, Parquet or CoNLL", file_types=FILES, size="sm", elem_id="finetuning-upload"
            )
        with gr.Accordion("Sweep", open=False, elem_classes=["bt-more"]), gr.Column(elem_classes=["bt-form"]):
            self.swept = self._sweep_fields()
            self.sweep_button = gr.Button("Queue the sweep", size="sm", elem_id="finetuning-sweep")
        self.token_field()
        with self.run_buttons("Train"):
            self.resume_button = gr.Button("Resume", elem_id="finetuning-resume", interactive=False)
        return inputs

    def _sweep_fields(self) -> list[Any]:
        """Two pairs: which number, and its values."""
        titles = [(FinetuningRequest.model_fields[name].title or name, name) for name in SWEPT]
        built: list[Any] = []
        for which, field, values in (("First", "r", "2, 8, 32"), ("Second", None, "")):
            info = "Separated by commas; a sweep is a run for each combination, twelve at most."
            offered = titles if field else [("none", None), *titles]
            built.append(gr.Dropdown(offered, value=field, label=f"{which} number"))
            built.append(gr.Textbox(value=values, label="Its values", info=info, lines=1))
        return built

    def _bundled(self) -> list[tuple[str, str]]:
        return [(f"{one.title} · {one.note}", one.name) for one in self.sets]

    def _wire_runs(self) -> None:
        mine, seen = [self.who.state, self.run], [self.who.state, self.share, self.run]
        listed = [self.runs, self.form["data"]]
        self.started.success(self.listed, self.who.state, listed, **QUIET)
        forget: dict[str, Any] = {"fn": None, "js": NEW_RUN, "api_visibility": "private"}  # a linked run
        self.resume_button.click(**forget).then(self.resume, [*mine, self.hub_token], self.shown, **QUIET)
        swept = {*self.form.inputs, self.who.state, self.hub_token, *self.swept}
        self.sweep_button.click(**forget).then(self.sweep, swept, [*self.shown, self.runs], **QUIET)
        after = [self.exports, self.runs, self.resume_button]
        ended = self.view.ended(self.after, [*seen, self.runs], after, **CLICKS)
        ended.then(self.describe, seen, self.code, **QUIET)
        self.exports.export(self.export, mine, self.exports, **CLICKS)
        self.runs.refresh(self.compare, [self.who.state], self.runs, **CLICKS)
        self.runs.compare(self.compare, [self.who.state], self.runs, **CLICKS)
        self.runs.open(self.open, [self.who.state], self.shown, **CLICKS)
        self.who.ready(self.listed, [], listed)

    def _wire_form(self) -> None:
        asked = {*self.form.inputs, self.who.state, self.hub_token}
        chosen = [self.form["method"], self.form["task"]]
        quiet = {"api_visibility": "private", "show_progress": "hidden"}
        gr.on([one.change for one in chosen], None, chosen, None, js=FIT_CONTROLS, **quiet)
        tasks = {one.name: one.task for one in self.sets}
        self.form["data"].input(lambda name: tasks.get(name, gr.skip()), self.form["data"], self.form["task"], **QUIET)
        self.file.upload(self.upload, [self.who.state, self.file], self.form["data"], **QUIET)
        self.preview.preview(self.look, asked, self.preview, **QUIET)
        self.preview.measure(self.measure, asked, self.preview, **QUIET)
        self.preview.targets(self.targets, None, self.form["target_modules"], **CLICKS)

    def start(self, values: Mapping[Any, Any]) -> list[Any]:
        """Train: check the inputs, queue, show. What trains already goes on."""
        visitor, request = self.who.token(values[self.who.state]), self.form.read(values, resume="", group="")
        with readable_errors():
            return self.values(self.actions.start(request, visitor, replacing=None, hub_token=self.secret(values)))

    def resume(self, visitor: str, run: str | None, secret: str) -> list[Any]:
        """Resume: from the last checkpoint, with the curve so far."""
        with readable_errors():
            return self.values(self.actions.resume(self.who.token(visitor), run, secret or ""))

    def sweep(self, values: Mapping[Any, Any]) -> list[Any]:
        """Queue a grid of runs; show the first, and list them all."""
        visitor, request = self.who.token(values[self.who.state]), self.form.read(values, resume="", group="")
        first, its, second, others = (values[one] for one in self.swept)
        fields = [(first, its or ""), (second, others or "")]
        with readable_errors():
            shown, runs = self.actions.sweep(request, fields, visitor, values[self.hub_token] or "")
            return [*self.values(shown), self.actions.runs(self.reader(visitor), runs, compared=True)]

    def look(self, values: Mapping[Any, Any]) -> Any:
        """Preview: rows, memory, modules, steps."""
        return self._previewed(values, measure=False)

    def measure(self, values: Mapping[Any, Any]) -> Any:
        """Preview with a measured step."""
        return self._previewed(values, measure=True)

    def _previewed(self, values: Mapping[Any, Any], measure: bool) -> dict[str, Any]:
        visitor, request = self.who.token(values[self.who.state]), self.form.read(values, resume="", group="")
        try:
            return self.actions.preview(request, visitor, values[self.hub_token] or "", measure)
        except LabError as error:
            return {"error": str(error)}

    def targets(self, event: gr.EventData) -> str:
        """Target modules were ticked."""
        return "\n".join(str(name) for name in event._data["names"])

    def upload(self, visitor: str, path: str) -> Any:
        """A file came: it is chosen, and offered beside the bundled sets."""
        with readable_errors():
            name = self.actions.upload(path, self.who.token(visitor))
        return gr.update(choices=self._sets(visitor), value=name)

    def _sets(self, visitor: str) -> list[tuple[str, str]]:
        """What the data picker offers a visitor."""
        return [*self.actions.uploads(self.who.token(visitor)), *self._bundled()]

    def after(self, visitor: str, share: str | None, run: str | None, table: Mapping[str, Any] | None) -> list[Any]:
        """A training ended: what can be made of it, the list of runs, and whether it can go on."""
        reader = self.reader(visitor, share)
        chosen = (table or {}).get("chosen") or []
        with readable_errors():
            ended = gr.update(interactive=self.actions.resumable(reader, run))
            return [self.actions.exports(reader, run), self.actions.runs(reader, chosen, compared=bool(chosen)), ended]

    def export(self, visitor: str, run: str, event: gr.EventData) -> dict[str, Any] | None:
        """Merge, zip, ONNX, TensorBoard or push."""
        visitor = self.who.token(visitor)
        with readable_errors():
            self.actions.export(visitor, run, event._data)
            return self.actions.exports(self.reader(visitor), run)

    def listed(self, visitor: str) -> list[Any]:
        """The visitor's runs and files."""
        with readable_errors():
            return [self.actions.runs(self.reader(visitor)), gr.update(choices=self._sets(visitor))]

    def compare(self, visitor: str, event: gr.EventData) -> dict[str, Any]:
        """Runs side by side, or the list anew."""
        asked = event._data
        with readable_errors():
            return self.actions.runs(self.reader(visitor), asked["runs"], asked["axis"], asked.get("compared", True))

    def open(self, visitor: str, event: gr.EventData) -> list[Any]:
        """Show another run of the visitor's."""
        reader = self.reader(visitor)
        with readable_errors():
            return self.values(self.actions.show(reader, reader.open(event._data["run"])))
