"""Widgets from a request model and back: bounds, kinds, sentences."""

from __future__ import annotations

from enum import StrEnum

import gradio as gr
import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.refusals import sentences, titles_of
from tabs.widgets.form import Form, describe, form


class Way(StrEnum):
    GREEDY = "greedy"
    BEAM = "beam_search"


class Turn(BaseModel):
    role: str
    content: str


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str = Field("story-lm", title="Model", min_length=1)
    prompt: str = Field("Once", title="Prompt", description="What goes on.", json_schema_extra={"lines": 3})
    ways: tuple[Way, ...] = Field((Way.GREEDY,), title="Ways", min_length=1, max_length=2)
    temperature: float = Field(0.8, title="Temperature", gt=0, le=2, json_schema_extra={"minimum": 0.05, "step": 0.05})
    top_k: int = Field(40, title="top-k", ge=0, lt=200)
    seed: int = Field(7, title="Seed", ge=0, lt=2**31)
    stops: tuple[str, ...] = Field((), title="Stops")
    chat: bool = Field(False, title="Chat")
    forced: tuple[int, ...] = Field((), title="Forced", json_schema_extra={"widget": "hidden"})

    @field_validator("prompt")
    @classmethod
    def _prompt(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty: type something for the model to continue")
        return text


@pytest.fixture(scope="module")
def built() -> Form[Ask]:
    with gr.Blocks(analytics_enabled=False):
        return form(Ask, groups={"More": ("stops", "chat")}, choices={"model": ["story-lm", "gpt2"]})


def values(built: Form[Ask], **changes: object) -> dict:
    held = {name: component.value for name, component in built.components.items()} | changes
    return {built[name]: value for name, value in held.items()}


def test_each_field_gets_its_widget(built: Form[Ask]) -> None:
    kinds = {name: type(component) for name, component in built.components.items()}
    assert kinds == {
        "model": gr.Dropdown,
        "prompt": gr.Textbox,
        "ways": gr.Dropdown,
        "temperature": gr.Slider,
        "top_k": gr.Slider,
        "seed": gr.Number,
        "forced": gr.HTML,
        "stops": gr.Textbox,
        "chat": gr.Checkbox,
    }


def test_a_widget_takes_everything_from_its_field(built: Form[Ask]) -> None:
    temperature, top_k, prompt, ways = (built[name] for name in ("temperature", "top_k", "prompt", "ways"))
    assert (temperature.minimum, temperature.maximum, temperature.step) == (0.05, 2, 0.05)
    assert (top_k.minimum, top_k.maximum, top_k.step) == (0, 199, 1)
    assert (prompt.label, prompt.info, prompt.lines, prompt.value) == ("Prompt", "What goes on.", 3, "Once")
    assert ways.choices == [("Greedy", "greedy"), ("Beam search", "beam_search")]
    assert (ways.multiselect, ways.max_choices, ways.value) == (True, 2, ["greedy"])
    assert built["model"].allow_custom_value
    assert built["forced"].visible is False


def test_the_untouched_form_reads_as_the_default_request(built: Form[Ask]) -> None:
    assert built.read(values(built)) == Ask()


def test_what_is_written_reads_back(built: Form[Ask]) -> None:
    request = Ask(
        prompt="a <b>\nc", ways=(Way.BEAM, Way.GREEDY), temperature=1.5, stops=("x", "y z"), chat=True, forced=(3, 4)
    )
    written = dict(zip(built.outputs, built.write(request), strict=True))
    assert built.read(written) == request
    assert written[built["stops"]] == "x\ny z"


def test_other_components_are_passed_over_and_given_fields_win(built: Form[Ask]) -> None:
    assert built.read({**values(built), "somebody else": 1}, forced=(9,)) == Ask(forced=(9,))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompt": "  "}, "Prompt is empty: type something for the model to continue."),
        ({"temperature": 0}, "Temperature must be more than 0."),
        ({"temperature": 3}, "Temperature must be at most 2."),
        ({"temperature": float("nan")}, "Temperature must be an ordinary number."),
        ({"seed": None}, "Seed must be a whole number."),
        ({"seed": 1.5}, "Seed must be a whole number."),
        ({"seed": 2**31}, "Seed must be less than 2,147,483,648."),
        ({"ways": []}, "Ways needs at least 1: choose one more."),
        ({"ways": ["<b>"]}, "Ways must be one of 'greedy' or 'beam_search'."),
        ({"model": ""}, "Model is empty: type something."),
        (
            {"prompt": "", "temperature": 9},
            "Prompt is empty: type something for the model to continue. Temperature must",
        ),
    ],
)
def test_a_bad_field_gets_one_sentence_by_its_title(built: Form[Ask], changes: dict, sentence: str) -> None:
    with pytest.raises(gr.Error) as caught:
        built.read(values(built, **changes))
    assert caught.value.message.startswith(sentence)
    assert "<b>" not in caught.value.message
    assert caught.value.print_exception is False


def test_unknown_inputs_are_named_but_not_repeated_at_length() -> None:
    with pytest.raises(ValidationError) as caught:
        Ask.model_validate({"x" * 500: 1})
    assert sentences(caught.value, titles_of(Ask)) == f"“{'x' * 40}” is not an input of this lab."


def test_fields_can_be_chosen_and_others_keep_their_defaults() -> None:
    with gr.Blocks(analytics_enabled=False):
        small = form(Ask, fields=("prompt", "seed"))
    assert list(small.components) == ["prompt", "seed"]
    assert small.read({small["prompt"]: "Hi", small["seed"]: 3}) == Ask(prompt="Hi", seed=3)


def test_a_field_can_have_a_widget_of_other_hands() -> None:
    with gr.Blocks(analytics_enabled=False):
        other = form(Ask, fields=("model",), builders={"model": lambda field: gr.Radio(["a"], label=field.title)})
    assert isinstance(other["model"], gr.Radio)


def test_several_models_are_json_objects_in_a_widget_of_other_hands() -> None:
    class Chat(BaseModel):
        turns: tuple[Turn, ...] = Field((Turn(role="user", content="Hi"),), title="Conversation")

    with gr.Blocks(analytics_enabled=False):
        alone = form(Chat)
        edited = form(Chat, builders={"turns": lambda field: gr.HTML(field.shown(field.default), html_template="")})
    assert alone.fields["turns"].hidden
    assert not edited.fields["turns"].hidden
    assert edited["turns"].value == [{"role": "user", "content": "Hi"}]
    asked = edited.read({edited["turns"]: [{"role": "system", "content": "Be kind."}]})
    assert asked.turns == (Turn(role="system", content="Be kind."),)
    assert edited.write(asked) == [[{"role": "system", "content": "Be kind."}]]
    with pytest.raises(gr.Error, match="Conversation"):
        edited.read({edited["turns"]: "no turns"})


def test_the_decoding_request_can_be_shown_whole() -> None:
    from core.labs.decoding.request import DecodingRequest

    fields = describe(DecodingRequest)
    assert set(fields) == set(DecodingRequest.model_fields)
    with gr.Blocks(analytics_enabled=False):
        whole = form(DecodingRequest)
    held = {component: component.value for component in whole.outputs}
    assert whole.read(held) == DecodingRequest()


def test_several_texts_with_values_to_choose_from_are_names_that_may_also_be_typed() -> None:
    with gr.Blocks(analytics_enabled=False):
        offered = form(Ask, fields=("stops",), choices={"stops": [("A full stop", "."), "!"]})
    picker = offered["stops"]
    assert isinstance(picker, gr.Dropdown)
    assert picker.multiselect
    assert picker.allow_custom_value
    asked = offered.read({picker: [".", "The End"]})
    assert asked.stops == (".", "The End")
    assert offered.write(asked) == [[".", "The End"]]
    assert offered.read({picker: None}).stops == ()
