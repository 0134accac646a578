"""The Decoding lab's tab: its widgets and what is wired to what. What happens then is in ``tabs.decoding.actions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from core.labs.decoding.presets import LESSON, PRESETS
from core.labs.decoding.request import PROMPT_LOOKUP, DecodingRequest
from tabs import Frame
from tabs.decoding.actions import LAB, Actions, Shown
from tabs.decoding.view import reduce
from tabs.widgets.access import readable_errors
from tabs.widgets.branch_tree import branch_tree
from tabs.widgets.code_panel import code_panel
from tabs.widgets.facts_view import facts_view
from tabs.widgets.form import Form, form
from tabs.widgets.heading import heading
from tabs.widgets.held import held
from tabs.widgets.lesson import Steps, lesson
from tabs.widgets.link import NEW_RUN, link
from tabs.widgets.microscope_view import microscope_view
from tabs.widgets.run_view import beams_here, run_view

__all__ = ["build", "reduce"]

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
CLICKS: dict[str, Any] = {**QUIET, "trigger_mode": "multiple"}
GROUPS = {
    "More sampling": ("min_p", "typical_p", "no_repeat_ngram_size", "stage_order"),
    "Search and speculation": (
        "num_beams",
        "length_penalty",
        "penalty_alpha",
        "contrastive_k",
        "draft",
        "draft_tokens",
    ),
    "Chat and endings": ("chat", "system_prompt", "stop_strings", "ignore_eos"),
    "Study": ("by_hand", "check", "reference"),
}


def build(frame: Frame) -> None:
    """Put the lab into the open tab."""
    heading(frame.lab.title, frame.lab.sentence)
    Tab(frame)


class Tab:
    """The lab's widgets, and one method for each thing that a visitor can do."""

    def __init__(self, frame: Frame) -> None:
        self.who, self.actions, self.tab = frame.visitor, Actions(frame.services), frame.tab
        self.run, self.share = held(), held()
        with gr.Row(elem_classes=["bt-chips"]):
            chips = [gr.Button(preset.title, elem_classes=["bt-chip"], size="sm") for preset in PRESETS]
        with gr.Row(elem_classes=["bt-two"]):
            with gr.Column(elem_classes=["bt-controls"], min_width=280):
                self.form = self._controls(frame)
            with gr.Column(elem_classes=["bt-results"], min_width=320):
                self.view, self.microscope, self.tree = run_view(), microscope_view(), branch_tree()
                beams_here()
                self.facts, self.code = facts_view(), code_panel()
                self.link = link(self.form, LAB, frame.visitor, self._request_of)
                self._lesson()
        self.shown = [self.run, self.share, self.view, self.tree, self.microscope]
        for chip, preset in zip(chips, PRESETS, strict=True):
            chip.click(lambda chosen=preset.request: self.form.write(chosen), None, self.form.outputs, **QUIET)
        self._wire()

    def _controls(self, frame: Frame) -> Form[DecodingRequest]:
        catalog = frame.services.catalog
        models = [(f"{c.title} · {c.note}", c.name) for c in catalog.choices(("causal", "seq2seq"))]
        drafts = [(PROMPT_LOOKUP, PROMPT_LOOKUP), *models]
        inputs = form(DecodingRequest, groups=GROUPS, choices={"model": models, "draft": drafts})
        token_section = gr.Accordion("A model that needs a token", open=False, elem_classes=["bt-more"])
        with token_section, gr.Column(elem_classes=["bt-form"]):
            self.hub_token = gr.Textbox(
                label="Your Hugging Face token",
                type="password",
                info="Used for your downloads only; never stored, logged or put into a link.",
            )
        with gr.Row(elem_classes=["bt-actions"]):
            self.run_button = gr.Button("Run", variant="primary", elem_id="decoding-run")
            self.stop_button = gr.Button("Stop", variant="secondary", elem_id="decoding-stop")
        return inputs

    def _lesson(self) -> None:
        told = [{"title": e.title, "look": e.look, "lesson": e.lesson} for e in LESSON]
        steps = Steps("Lesson", "five experiments, five minutes", told)
        lesson(steps, lambda i: self.form.write(LESSON[i].request), self.form.outputs)

    def _wire(self) -> None:
        seen = [self.who.state, self.share, self.hub_token]
        mine = [self.who.state, self.run]
        asked = {*self.form.inputs, self.who.state, self.run, self.hub_token}
        described = ([self.who.state, self.share, self.run], [self.facts, self.code])
        started = self.run_button.click(None, None, None, js=NEW_RUN).then(self.start, asked, self.shown, **QUIET)
        started.then(self.describe, *described, **QUIET)
        self.stop_button.click(self.stop, mine, None, queue=False, **QUIET)
        self.view.next(self.next, mine, None, **CLICKS)
        self.view.run_on(self.run_on, mine, None, **CLICKS)
        self.view.pick(self.pick, seen, self.microscope, **CLICKS)
        self.microscope.reorder(self.pick, seen, self.microscope, **CLICKS)
        self.microscope.close(lambda: None, None, self.microscope, **QUIET)
        branched = self.microscope.branch(self.branch, [*seen, self.microscope], self.shown, **CLICKS)
        branched.then(self.describe, *described, **QUIET)
        opened = self.tree.open(self.open, [self.who.state, self.share], self.shown, **CLICKS)
        opened.then(self.describe, *described, **QUIET)
        self.link.shared_by(self.make_link, mine)
        self.who.ready(self.reopen, [], self.shown).then(self.describe, *described, **QUIET)
        self.tab.select(self.offer, self.who.state, self.form["model"], **QUIET)
        self.who.ready(self.offer, [], [self.form["model"]])

    def start(self, values: Mapping[Any, Any]) -> list[Any]:
        """Run: check the inputs, start, show."""
        visitor, request = self.who.token(values[self.who.state]), self.form.read(values)
        secret = values[self.hub_token] or ""
        with readable_errors():
            return _values(self.actions.start(request, visitor, replacing=values[self.run], hub_token=secret))

    def offer(self, visitor: str | None) -> Any:
        """The tab is looked at: models that were tuned meanwhile are offered too. What is chosen stays."""
        if visitor is None:
            return gr.skip()  # a first visit, whose token is on its way; ``ready`` asks again
        return gr.update(choices=self.actions.models(self.who.token(visitor)))

    def stop(self, visitor: str, run: str | None) -> None:
        """Stop: at the next token."""
        with readable_errors():
            self.actions.stop(self.who.token(visitor), run)

    def next(self, visitor: str, run: str) -> None:
        """By hand: one more token in each column."""
        with readable_errors():
            self.actions.advance(self.who.token(visitor), run, 1)

    def run_on(self, visitor: str, run: str) -> None:
        """By hand no longer: all the rest."""
        with readable_errors():
            self.actions.advance(self.who.token(visitor), run, None)

    def pick(self, visitor: str, share: str | None, secret: str, event: gr.EventData) -> dict[str, Any]:
        """A token was clicked, or the stages were put into another order."""
        place, reader = event._data, self.actions.reader(self.who.token(visitor), share)
        with readable_errors():
            return self.actions.microscope(
                reader, place["run"], place["column"], place["index"], place.get("order"), secret
            )

    def branch(
        self, visitor: str, share: str | None, secret: str, lens: dict[str, Any], event: gr.EventData
    ) -> list[Any]:
        """Go on from another candidate."""
        place, reader = event._data, self.actions.reader(self.who.token(visitor), share)
        text = next((row["text"] for row in lens["rows"] if row["id"] == place["id"]), "")
        with readable_errors():
            shown = self.actions.branch(
                reader, place["run"], place["column"], place["index"], place["id"], text, secret
            )
        return _values(shown)

    def open(self, visitor: str, share: str | None, event: gr.EventData) -> list[Any]:
        """Return to another run of this tree."""
        reader = self.actions.reader(self.who.token(visitor), share)
        with readable_errors():
            return _values(self.actions.show(reader, reader.open(event._data["run"])))

    def reopen(self, visitor: str, request: gr.Request) -> list[Any]:
        """The page was loaded: show the run that its address names, or the visitor's last one."""
        asked = request.query_params.get("run") if request.query_params.get("tab") == LAB else None
        share = asked if asked and "." in asked else None
        with readable_errors():
            last = self.who.last_run(visitor, LAB)
            own = asked or (last.id if last else None)
            shown = self.actions.reopen(self.actions.reader(visitor, share), own)
        return _values(shown, share) if shown else [gr.skip()] * len(self.shown)

    async def describe(self, visitor: str, share: str | None, run: str | None) -> list[Any]:
        """Facts of the model and the run's script, as soon as the model is there."""
        if not run:
            return [gr.skip(), gr.skip()]
        with readable_errors():
            return list(await self.actions.described(self.actions.reader(self.who.token(visitor), share), run))

    def make_link(self, visitor: str, run: str | None) -> str | None:
        """A share token for the run on show."""
        with readable_errors():
            return self.actions.share(self.who.token(visitor), run)

    def _request_of(self, run: str, visitor: str) -> DecodingRequest:
        """The inputs of the run that an address names: a shared one's token, or the id of one of the visitor's own."""
        log = self.actions.reader(self.who.token(visitor), run if "." in run else None).open(run.partition(".")[0])
        return DecodingRequest.model_validate(log.meta.request)


def _values(shown: Shown, share: str | None = None) -> list[Any]:
    """For ``Tab.shown``: a new run on show closes the microscope."""
    return [shown.run, share, shown.stream, shown.tree, None]
