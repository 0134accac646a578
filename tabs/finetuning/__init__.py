"""The Fine-tuning lab's tab: its widgets and what is wired to what. What happens is in ``tabs.finetuning.actions``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import gradio as gr

from core.catalog.datasets import dataset_choices
from core.errors import LabError
from core.labs.finetuning.presets import LESSON, PRESETS
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.sweep import SWEPT
from tabs import Frame
from tabs.finetuning.actions import LAB, Actions, Shown
from tabs.finetuning.view import reduce
from tabs.widgets.access import Reader, readable_errors
from tabs.widgets.code_panel import code_panel
from tabs.widgets.data_preview import data_preview
from tabs.widgets.exports_view import exports_view
from tabs.widgets.form import Form, form
from tabs.widgets.heading import heading
from tabs.widgets.held import held
from tabs.widgets.lesson import Steps, lesson
from tabs.widgets.link import NEW_RUN, link
from tabs.widgets.runs_table import runs_table
from tabs.widgets.training_view import training_view

__all__ = ["build", "reduce"]

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
CLICKS: dict[str, Any] = {**QUIET, "trigger_mode": "multiple"}
FIRST = ("model", "data", "task", "method", "r", "virtual_tokens", "learning_rate", "epochs", "batch_size")
GROUPS = {
    "Data": ("text_column", "target_column", "validation_share", "max_length", "packing", "completion_only_loss"),
    "Method": ("lora_alpha", "lora_dropout", "target_modules", "bias", "rank_pattern"),
    "Steps and rates": ("scheduler", "warmup_ratio", "max_steps", "weight_decay", "early_stopping", "seed"),
    "Memory": ("gradient_accumulation", "activation_checkpointing", "precision"),
    "Watch": ("eval_steps", "save_steps", "prompts"),
}
FILES = [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", ".conll"]
CONTROLS = "finetuning-controls"
FIT_CONTROLS = f"""(method, task) => {{
  const controls = document.getElementById("{CONTROLS}");
  if (controls) {{ controls.dataset.method = method; controls.dataset.task = task; }}
  return [];
}}"""
"""Fields that say nothing for this method or task leave the form (``assets/training.css``)."""


def build(frame: Frame) -> None:
    """Put the lab into the open tab."""
    heading(frame.lab.title, frame.lab.sentence)
    Tab(frame)


class Tab:
    """The lab's widgets, and one method for each thing that a visitor can do."""

    def __init__(self, frame: Frame) -> None:
        self.who, self.actions = frame.visitor, Actions(frame.services)
        self.run, self.share = held(), held()
        self.sets = dataset_choices(frame.services.settings)
        with gr.Row(elem_classes=["bt-chips"]):
            chips = [gr.Button(preset.title, elem_classes=["bt-chip"], size="sm") for preset in PRESETS]
        with gr.Row(elem_classes=["bt-two"]):
            with gr.Column(elem_classes=["bt-controls"], min_width=280, elem_id=CONTROLS):
                self.form = self._controls(frame)
            with gr.Column(elem_classes=["bt-results"], min_width=320):
                self.preview, self.view = data_preview(), training_view()
                self.exports, self.runs, self.code = exports_view(), runs_table(), code_panel(elem_id="finetuning-code")
                self.link = link(self.form, LAB, frame.visitor, self._request_of)
                self._lesson()
        self.shown = [self.run, self.share, self.view, self.exports, self.code, self.resume_button]
        for chip, preset in zip(chips, PRESETS, strict=True):
            chip.click(lambda chosen=preset.request: self.form.write(chosen), None, self.form.outputs, **QUIET)
        self._wire()
        self._wire_form()

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
                "Upload CSV, JSONL or Parquet", file_types=FILES, size="sm", elem_id="finetuning-upload"
            )
        with gr.Accordion("Sweep", open=False, elem_classes=["bt-more"]), gr.Column(elem_classes=["bt-form"]):
            self.swept = self._sweep_fields()
            self.sweep_button = gr.Button("Queue the sweep", size="sm", elem_id="finetuning-sweep")
        token_section = gr.Accordion("A model or data that needs a token", open=False, elem_classes=["bt-more"])
        with token_section, gr.Column(elem_classes=["bt-form"]):
            self.hub_token = gr.Textbox(
                label="Your Hugging Face token",
                type="password",
                info="Used for your downloads only; never stored, logged or put into a link.",
            )
        with gr.Row(elem_classes=["bt-actions"]):
            self.run_button = gr.Button("Train", variant="primary", elem_id="finetuning-run")
            self.stop_button = gr.Button("Stop", variant="secondary", elem_id="finetuning-stop")
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

    def _lesson(self) -> None:
        told = [{"title": e.title, "look": e.look, "lesson": e.lesson} for e in LESSON]
        steps = Steps("Lesson", "five experiments, ten minutes", told)
        lesson(steps, lambda i: self.form.write(LESSON[i].request), self.form.outputs)

    def _wire(self) -> None:
        mine, seen = [self.who.state, self.run], [self.who.state, self.share, self.run]
        asked = {*self.form.inputs, self.who.state, self.hub_token}
        listed = ([self.who.state], self.runs)
        started = self.run_button.click(None, None, None, js=NEW_RUN).then(self.start, asked, self.shown, **QUIET)
        started.success(self.listed, *listed, **QUIET)
        self.stop_button.click(self.stop, mine, None, queue=False, **QUIET)
        fresh: dict[str, Any] = {
            "fn": None,
            "js": NEW_RUN,
            "api_visibility": "private",
        }  # forgets a linked run
        self.resume_button.click(**fresh).then(self.resume, [*mine, self.hub_token], self.shown, **QUIET)
        swept = {*asked, *self.swept}
        self.sweep_button.click(**fresh).then(self.sweep, swept, [*self.shown, self.runs], **QUIET)
        after = [self.exports, self.runs, self.resume_button]
        self.view.ended(self.after, [*seen, self.runs], after, **CLICKS).then(self.describe, seen, self.code, **QUIET)
        self.exports.export(self.export, mine, self.exports, **CLICKS)
        self.runs.refresh(self.compare, [self.who.state], self.runs, **CLICKS)
        self.runs.compare(self.compare, [self.who.state], self.runs, **CLICKS)
        self.runs.open(self.open, [self.who.state], self.shown, **CLICKS)
        self.link.shared_by(self.make_link, mine)
        self.who.ready(self.reopen, [], self.shown)
        self.who.ready(self.listed, [], [self.runs])

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
        """Train: check the inputs, queue, show."""
        visitor, request = self.who.token(values[self.who.state]), self.form.read(values, resume="", group="")
        with readable_errors():
            return _values(self.actions.start(request, visitor, values[self.hub_token] or ""))

    def stop(self, visitor: str, run: str | None) -> None:
        """Stop: at the next step, with a checkpoint."""
        with readable_errors():
            self.actions.stop(self.who.token(visitor), run)

    def resume(self, visitor: str, run: str | None, secret: str) -> list[Any]:
        """Resume: from the last checkpoint, with the curve so far."""
        with readable_errors():
            return _values(self.actions.resume(self.who.token(visitor), run, secret or ""))

    def sweep(self, values: Mapping[Any, Any]) -> list[Any]:
        """Queue a grid of runs; show the first, and list them all."""
        visitor, request = self.who.token(values[self.who.state]), self.form.read(values, resume="", group="")
        first, its, second, others = (values[one] for one in self.swept)
        fields = [(first, its or ""), (second, others or "")]
        with readable_errors():
            shown, runs = self.actions.sweep(request, fields, visitor, values[self.hub_token] or "")
            return [*_values(shown), self.actions.runs(self._reader(visitor), runs, compared=True)]

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
            name, title = self.actions.upload(path, self.who.token(visitor))
        return gr.update(choices=[(f"{title} · yours", name), *self._bundled()], value=name)

    def after(self, visitor: str, share: str | None, run: str | None, table: Mapping[str, Any] | None) -> list[Any]:
        """A training ended: what can be made of it, the list of runs, and whether it can go on."""
        reader = self._reader(visitor, share)
        chosen = (table or {}).get("chosen") or []
        with readable_errors():
            ended = gr.update(interactive=self.actions.resumable(reader, run))
            return [self.actions.exports(reader, run), self.actions.runs(reader, chosen, compared=bool(chosen)), ended]

    def export(self, visitor: str, run: str, event: gr.EventData) -> dict[str, Any] | None:
        """Merge, zip, ONNX, TensorBoard or push."""
        visitor = self.who.token(visitor)
        with readable_errors():
            self.actions.export(visitor, run, event._data)
            return self.actions.exports(self._reader(visitor), run)

    def listed(self, visitor: str) -> dict[str, Any]:
        """The visitor's runs."""
        with readable_errors():
            return self.actions.runs(self._reader(visitor))

    def compare(self, visitor: str, event: gr.EventData) -> dict[str, Any]:
        """Runs side by side, or the list anew."""
        asked = event._data
        with readable_errors():
            return self.actions.runs(self._reader(visitor), asked["runs"], asked["axis"], asked.get("compared", True))

    def open(self, visitor: str, event: gr.EventData) -> list[Any]:
        """Show another run of the visitor's."""
        reader = self._reader(visitor)
        with readable_errors():
            return _values(self.actions.show(reader, reader.open(event._data["run"])))

    def reopen(self, visitor: str, request: gr.Request) -> list[Any]:
        """The page was loaded: show the run that its address names, or the visitor's last one."""
        asked = request.query_params.get("run") if request.query_params.get("tab") == LAB else None
        share = asked if asked and "." in asked else None
        with readable_errors():
            last = self.who.last_run(visitor, LAB)
            shown = self.actions.reopen(self._reader(visitor, share), asked or (last.id if last else None))
        return _values(shown, share) if shown else [gr.skip()] * len(self.shown)

    async def describe(self, visitor: str, share: str | None, run: str | None) -> Any:
        """The run's script."""
        if not run:
            return gr.skip()
        try:
            code = await asyncio.to_thread(self.actions.script, self._reader(visitor, share), run)
        except LabError:
            return gr.skip()  # such as a file that is no longer there: the run itself is shown all the same
        return {"code": code, "filename": "finetune.py", "note": "the same training in plain trl and peft"}

    def make_link(self, visitor: str, run: str | None) -> str | None:
        """A share token for the run on show."""
        with readable_errors():
            return self.actions.share(self.who.token(visitor), run)

    def _reader(self, visitor: str, share: str | None = None) -> Reader:
        return self.actions.reader(self.who.token(visitor), share)

    def _request_of(self, run: str, visitor: str) -> FinetuningRequest:
        """The inputs of the run that an address names: a shared one's token, or the id of one of the visitor's own."""
        log = self._reader(visitor, run if "." in run else None).open(run.partition(".")[0])
        return FinetuningRequest.model_validate(log.meta.request)


def _values(shown: Shown, share: str | None = None) -> list[Any]:
    """For ``Tab.shown``: another run on show, and nothing yet of what follows its end."""
    return [shown.run, share, shown.stream, None, None, gr.update(interactive=False)]
