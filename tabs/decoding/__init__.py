"""The Decoding lab's tab: its widgets and what is wired to what. What happens then is in ``tabs.decoding.actions``."""

from __future__ import annotations

from typing import Any

import gradio as gr

from core.labs.decoding.presets import LESSON, PRESETS
from core.labs.decoding.request import PROMPT_LOOKUP, DecodingRequest
from tabs import Frame
from tabs.decoding.actions import Actions, Shown
from tabs.decoding.view import reduce
from tabs.widgets.access import readable_errors
from tabs.widgets.branch_tree import branch_tree
from tabs.widgets.facts_view import facts_view
from tabs.widgets.form import Form, form
from tabs.widgets.heading import heading
from tabs.widgets.lab_tab import CLICKS, QUIET, LabTab
from tabs.widgets.microscope_view import microscope_view
from tabs.widgets.run_view import beams_here, run_view

__all__ = ["build", "reduce"]

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


class Tab(LabTab[DecodingRequest]):
    """The lab's widgets, and what a visitor can do in this lab only."""

    actions: Actions

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, Actions(frame.services))
        self.chips(PRESETS)
        with gr.Row(elem_classes=["bt-two"]):
            with gr.Column(elem_classes=["bt-controls"], min_width=280):
                self.form = self._controls()
            with gr.Column(elem_classes=["bt-results"], min_width=320):
                self.view, self.microscope, self.tree = run_view(), microscope_view(), branch_tree()
                beams_here()
                self.facts = facts_view()
                self.below(LESSON, "five experiments, five minutes")
        self.wire()
        self._wire_view()
        frame.tab.select(self.offer, self.who.state, self.form["model"], **QUIET)
        self.who.ready(self.offer, [], [self.form["model"]])

    def _controls(self) -> Form[DecodingRequest]:
        models = self.actions.models()
        drafts = [(PROMPT_LOOKUP, PROMPT_LOOKUP), *models]
        inputs = form(DecodingRequest, groups=GROUPS, choices={"model": models, "draft": drafts})
        self.token_field("A model that needs a token")
        self.run_buttons()
        return inputs

    def _wire_view(self) -> None:
        seen, mine = [self.who.state, self.share, self.hub_token], [self.who.state, self.run]
        described = ([self.who.state, self.share, self.run], self.described)
        self.view.next(self.next, mine, None, **CLICKS)
        self.view.run_on(self.run_on, mine, None, **CLICKS)
        self.view.pick(self.pick, seen, self.microscope, **CLICKS)
        self.microscope.reorder(self.pick, seen, self.microscope, **CLICKS)
        self.microscope.close(lambda: None, None, self.microscope, **QUIET)
        branched = self.microscope.branch(self.branch, [*seen, self.microscope], self.shown, **CLICKS)
        branched.then(self.describe, *described, **QUIET)
        opened = self.tree.open(self.open, [self.who.state, self.share], self.shown, **CLICKS)
        opened.then(self.describe, *described, **QUIET)

    @property
    def shown(self) -> list[Any]:
        """A run on show has its tree; the microscope closes."""
        return [*super().shown, self.tree, self.microscope]

    def values(self, shown: Shown, share: str | None = None) -> list[Any]:
        """For ``shown``."""
        return [*super().values(shown, share), shown.tree, None]

    @property
    def described(self) -> list[Any]:
        """The model's facts beside the script."""
        return [self.facts, self.code]

    def offer(self, visitor: str | None) -> Any:
        """The tab is looked at: models that were tuned meanwhile are offered too. What is chosen stays."""
        if visitor is None:
            return gr.skip()  # a first visit, whose token is on its way; ``ready`` asks again
        return gr.update(choices=self.actions.models(self.who.token(visitor)))

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
        place, reader = event._data, self.reader(visitor, share)
        with readable_errors():
            return self.actions.microscope(
                reader, place["run"], place["column"], place["index"], place.get("order"), secret
            )

    def branch(
        self, visitor: str, share: str | None, secret: str, lens: dict[str, Any], event: gr.EventData
    ) -> list[Any]:
        """Go on from another candidate."""
        place, reader = event._data, self.reader(visitor, share)
        text = next((row["text"] for row in lens["rows"] if row["id"] == place["id"]), "")
        with readable_errors():
            shown = self.actions.branch(
                reader, place["run"], place["column"], place["index"], place["id"], text, secret
            )
        return self.values(shown)

    def open(self, visitor: str, share: str | None, event: gr.EventData) -> list[Any]:
        """Return to another run of this tree."""
        reader = self.reader(visitor, share)
        with readable_errors():
            return self.values(self.actions.show(reader, reader.open(event._data["run"])))

    async def describe(self, visitor: str, share: str | None, run: str | None) -> list[Any]:
        """Facts of the model and the run's script, as soon as the model is there."""
        if not run:
            return [gr.skip(), gr.skip()]
        with readable_errors():
            return list(await self.actions.described(self.reader(visitor, share), run))
