"""Inputs in the address: what is restored, what is refused, and that a form and its link agree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from pydantic import BaseModel

from core.errors import NotFound
from core.generation.parameters import Strategy
from core.labs.decoding.request import DecodingRequest
from tabs.widgets import link as module
from tabs.widgets.form import Form, form
from tabs.widgets.link import link, restored


@pytest.fixture(scope="module")
def built() -> Form[DecodingRequest]:
    with gr.Blocks(analytics_enabled=False):
        return form(DecodingRequest)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(module.gr, "Warning", lambda text, **_: said.append(text))
    return said


def test_an_address_restores_its_inputs(built: Form[DecodingRequest], warnings: list[str]) -> None:
    query = {
        "tab": "decoding",
        "prompt": "A & B=ü ${x}",
        "temperature": "0.5",
        "ignore_eos": "true",
        "strategies": "beam,greedy",
        "stop_strings": "one\ntwo words",
        "__theme": "dark",
    }
    assert restored(built, "decoding", query) == DecodingRequest(
        prompt="A & B=ü ${x}",
        temperature=0.5,
        ignore_eos=True,
        strategies=(Strategy.BEAM, Strategy.GREEDY),
        stop_strings=("one", "two words"),
    )
    assert warnings == []


@pytest.mark.parametrize(
    "query", [{}, {"tab": "decoding"}, {"tab": "system", "temperature": "1"}, {"temperature": "1"}]
)
def test_an_address_that_asks_nothing_of_this_lab_leaves_the_form(built: Form[DecodingRequest], query: dict) -> None:
    assert restored(built, "decoding", query) is None


def test_a_bad_link_gives_one_notice_without_what_it_held(built: Form[DecodingRequest], warnings: list[str]) -> None:
    query = {"tab": "decoding", "temperature": "<img src=x>", "top_k": "9999"}
    assert restored(built, "decoding", query) is None
    assert len(warnings) == 1
    assert "Temperature must be a number." in warnings[0]
    assert "<" not in warnings[0]


def test_hidden_fields_are_no_business_of_an_address(built: Form[DecodingRequest], warnings: list[str]) -> None:
    assert restored(built, "decoding", {"tab": "decoding", "forced_ids": "1,2"}) is None
    assert warnings == []


def test_a_run_gives_its_inputs_and_the_address_may_change_some(built: Form[DecodingRequest]) -> None:
    asked: list[str] = []

    def opened(run: str) -> DecodingRequest:
        asked.append(run)
        return DecodingRequest(prompt="long " * 500, seed=3, forced_ids=(1,))

    query = {"tab": "decoding", "run": "id.token", "seed": "4"}
    assert restored(built, "decoding", query, opened) == DecodingRequest(prompt="long " * 500, seed=4, forced_ids=(1,))
    assert asked == ["id.token"]


def test_a_run_that_cannot_be_opened_leaves_the_form(built: Form[DecodingRequest]) -> None:
    def opened(run: str) -> DecodingRequest:
        raise NotFound("This link opens no run.")

    assert restored(built, "decoding", {"tab": "decoding", "run": "x"}, opened) is None


def test_json_objects_are_read_from_an_address(warnings: list[str]) -> None:
    class Turn(BaseModel):
        content: str

    class Chat(BaseModel):
        turns: tuple[Turn, ...] = ()

    with gr.Blocks(analytics_enabled=False):
        edited = form(Chat, builders={"turns": lambda field: gr.HTML([], html_template="")})
    asked = {"tab": "chat", "turns": '[{"content": "a, b ${x}"}]'}
    assert restored(edited, "chat", asked) == Chat(turns=(Turn(content="a, b ${x}"),))
    assert warnings == []
    assert restored(edited, "chat", {"tab": "chat", "turns": "[{"}) is None
    assert len(warnings) == 1


def test_every_input_that_is_seen_is_in_the_address_and_no_other() -> None:
    ready: list[Any] = []

    def loaded(fn: Any, inputs: list[Any], outputs: list[Any]) -> Any:
        ready.append(outputs)
        return demo.load(lambda: None, None, None)

    visitor = SimpleNamespace(ready=loaded)
    with gr.Blocks(analytics_enabled=False) as demo:
        whole = form(DecodingRequest)
        link(whole, "decoding", visitor)  # type: ignore[arg-type]
    sync = next(fn for fn in demo.fns.values() if fn.js and "benchtop.sync" in fn.js)
    seen = [component for name, component in whole.components.items() if not whole.fields[name].hidden]
    assert sync.inputs == seen
    assert whole["forced_ids"] not in sync.inputs
    assert {target for target, _ in sync.targets} == {component._id for component in seen}
    assert ready == [whole.outputs]
