"""What the labs' tabs share: presets as chips, Run and Stop, a token's field, Code, Link and Lesson, and their wiring.

A lab's tab derives from ``LabTab``. Its ``__init__`` calls this one's, builds its widgets in their order on the page
with ``chips``, ``token_field``, ``run_buttons`` and ``below``, having set ``form`` and ``view``, and ends with
``wire``. What only that lab does it wires itself. ``shown`` are the outputs of everything that puts a run on show, and
``values`` gives theirs: a lab whose view has further parts extends both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import gradio as gr

from core.labs.base import Request
from tabs import Frame
from tabs.widgets.access import Reader, readable_errors
from tabs.widgets.code_panel import code_panel
from tabs.widgets.form import Form
from tabs.widgets.held import held
from tabs.widgets.lab_actions import LabActions, Shown
from tabs.widgets.lesson import Steps, lesson
from tabs.widgets.link import NEW_RUN, link

R = TypeVar("R", bound=Request)
R_co = TypeVar("R_co", bound=Request, covariant=True)

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
CLICKS: dict[str, Any] = {**QUIET, "trigger_mode": "multiple"}
"""For events that come in quick succession: none is dropped."""


def fit_controls(controls: str, **told: str) -> str:
    """What a change of the form tells its column ``controls``, by which the lab's CSS leaves fields out.

    ``told`` names data attributes and gives each a JavaScript expression over ``values``, the inputs of the event.
    """
    attributes = " ".join(f"controls.dataset.{name} = {expression};" for name, expression in told.items())
    return f"""(...values) => {{
  const controls = document.getElementById("{controls}");
  if (controls) {{ {attributes} }}
  return [];
}}"""


class Preset(Protocol[R_co]):
    """A chip: its words and what it fills the form with."""

    @property
    def title(self) -> str: ...
    @property
    def request(self) -> R_co: ...


class Experiment(Preset[R_co], Protocol[R_co]):
    """A step of the lesson: where to look, and what it shows."""

    @property
    def look(self) -> str: ...
    @property
    def lesson(self) -> str: ...


class LabTab(Generic[R]):
    """One lab's widgets, and one method for each thing that a visitor can do in every lab."""

    actions: LabActions[R]
    form: Form[R]
    view: gr.HTML

    def __init__(self, frame: Frame, actions: LabActions[R]) -> None:
        self.who, self.actions = frame.visitor, actions
        self.run, self.share = held(), held()
        self.hub_token: gr.Textbox | None = None
        self._chips: list[tuple[gr.Button, R]] = []

    @property
    def shown(self) -> list[Any]:
        """The outputs of everything that puts a run on show."""
        return [self.run, self.share, self.view]

    def values(self, shown: Shown, share: str | None = None) -> list[Any]:
        """For ``shown``: a run that is put on show."""
        return [shown.run, share, shown.stream]

    @property
    def described(self) -> list[Any]:
        """The outputs of ``describe``, asked once a run is on show; none where the lab asks at another time."""
        return [self.code]

    # --- building, in the order of the page -----------------------------------------------------------------------

    def chips(self, presets: Sequence[Preset[R]]) -> None:
        """The presets in a row."""
        with gr.Row(elem_classes=["bt-chips"]):
            for preset in presets:
                self._chips.append((gr.Button(preset.title, elem_classes=["bt-chip"], size="sm"), preset.request))

    def token_field(self, title: str = "A model or data that needs a token") -> None:
        """Where a visitor's own Hub token is typed, folded in under ``title``."""
        with gr.Accordion(title, open=False, elem_classes=["bt-more"]), gr.Column(elem_classes=["bt-form"]):
            self.hub_token = gr.Textbox(
                label="Your Hugging Face token",
                type="password",
                info="Used for your downloads only; never stored, logged or put into a link.",
            )

    def run_buttons(self, words: str = "Run") -> gr.Row:
        """Run and Stop, in sight whatever the length of the form; the row, for a lab that has more of them."""
        with gr.Row(elem_classes=["bt-actions"]) as row:
            self.run_button = gr.Button(words, variant="primary", elem_id=f"{self.actions.lab}-run")
            self.stop_button = gr.Button("Stop", variant="secondary", elem_id=f"{self.actions.lab}-stop")
        return row

    def below(self, experiments: Sequence[Experiment[R]], note: str) -> None:
        """Code, Link and Lesson, under the results."""
        self.code = code_panel({"code": "", "note": self.actions.note}, elem_id=f"{self.actions.lab}-code")
        self.link = link(self.form, self.actions.lab, self.who, self.request_of)
        told = [{"title": e.title, "look": e.look, "lesson": e.lesson} for e in experiments]
        steps = Steps("Lesson", note, told)
        lesson(steps, lambda i: self.form.write(experiments[i].request), self.form.outputs)

    def wire(self) -> None:
        """What every lab's widgets do."""
        mine, seen = [self.who.state, self.run], [self.who.state, self.share, self.run]
        asked = {*self.form.inputs, *mine, *([self.hub_token] if self.hub_token else [])}
        self.started = self.run_button.click(None, None, None, js=NEW_RUN).then(self.start, asked, self.shown, **QUIET)
        self.stop_button.click(self.stop, mine, None, queue=False, **QUIET)
        self.link.shared_by(self.make_link, mine)
        reopened = self.who.ready(self.reopen, [], self.shown)
        if self.described:
            for put_on_show in (self.started, reopened):
                put_on_show.then(self.describe, seen, self.described, **QUIET)
        for chip, chosen in self._chips:
            chip.click(lambda request=chosen: self.form.write(request), None, self.form.outputs, **QUIET)

    # --- what a visitor can do ------------------------------------------------------------------------------------

    def start(self, values: Mapping[Any, Any]) -> list[Any]:
        """Run: check the inputs, start, show."""
        visitor, request = self.who.token(values[self.who.state]), self.form.read(values)
        with readable_errors():
            return self.values(
                self.actions.start(request, visitor, replacing=values[self.run], hub_token=self.secret(values))
            )

    def secret(self, values: Mapping[Any, Any]) -> str:
        """The visitor's Hub token among an event's values."""
        return str(values.get(self.hub_token) or "")

    def stop(self, visitor: str, run: str | None) -> None:
        """Stop: at the next step."""
        with readable_errors():
            self.actions.stop(self.who.token(visitor), run)

    def reopen(self, visitor: str, request: gr.Request) -> list[Any]:
        """The page was loaded: show the run that its address names, or the visitor's last one."""
        lab = self.actions.lab
        asked = request.query_params.get("run") if request.query_params.get("tab") == lab else None
        share = asked if asked and "." in asked else None
        with readable_errors():
            last = self.who.last_run(visitor, lab)
            shown = self.actions.reopen(self.reader(visitor, share), asked or (last.id if last else None))
        return self.values(shown, share) if shown else [gr.skip()] * len(self.shown)

    async def describe(self, visitor: str, share: str | None, run: str | None) -> Any:
        """The run's script."""
        if not run:
            return gr.skip()
        with readable_errors():
            return await self.actions.code(self.reader(visitor, share), run)

    def make_link(self, visitor: str, run: str | None) -> str | None:
        """A share token for the run on show."""
        with readable_errors():
            return self.actions.share(self.who.token(visitor), run)

    def reader(self, visitor: str, share: str | None = None) -> Reader:
        """Who looks at the page."""
        return self.actions.reader(self.who.token(visitor), share)

    def request_of(self, run: str, visitor: str) -> R:
        """The inputs of the run that an address names: a shared one's token, or the id of one of the visitor's own."""
        return self.actions.request(self.reader(visitor, run if "." in run else None), run.partition(".")[0])
