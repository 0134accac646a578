"""Widgets from a request model, and a request from widgets: the model's fields are the only list of inputs there is.

A field gives its widget everything: the label is its title, the hint its description, a slider's ends its bounds.
``json_schema_extra`` may add what a type cannot say:

    minimum, step   a slider's lowest value (for ``gt``) and its step
    lines           rows of a text box
    labels          {value: words} for the members of an enum
    widget          "hidden": kept, but not shown; "checkboxes": all choices in view; "number": no slider

``Form.read`` turns what the widgets hold into a checked request, or raises one ``gr.Error`` with a sentence for each
bad field. ``Form.write`` is the way back, for presets, links and reopened runs. It does not know what a request is
for.
"""

from __future__ import annotations

import html
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
import gradio as gr
from gradio.components import Component
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from core.refusals import sentences, titles_of
from tabs.widgets.held import held

M = TypeVar("M", bound=BaseModel)
SLIDER_STEPS = 2000  # a wider whole-number range (a seed) cannot be aimed at with a slider

Kind = Literal["text", "lines", "names", "number", "whole", "switch", "choice", "choices", "records", "plain"]


@dataclass(frozen=True, slots=True)
class Field:
    """What a widget needs to know of one field."""

    name: str
    kind: Kind
    title: str
    hint: str
    default: Any
    extra: Mapping[str, Any]
    members: tuple[tuple[str, str], ...] = ()
    low: float | None = None
    high: float | None = None
    above: bool = False
    most: int | None = None

    @property
    def hidden(self) -> bool:
        return self.extra.get("widget") == "hidden" or self.kind == "plain"

    def shown(self, value: Any) -> Any:
        """A request's value as the widget holds it."""
        if self.hidden or value is None:
            return _plain(value)
        if self.kind == "lines":
            return "\n".join(str(v) for v in value)
        return _plain(value)

    def given(self, value: Any) -> Any:
        """A widget's value as the request takes it. An emptied number box is None, which the request refuses."""
        if self.hidden:
            return value
        if self.kind == "lines":
            return tuple(line for line in (value or "").splitlines() if line)
        if self.kind in ("choices", "names"):
            return tuple(value or ())
        return "" if value is None and self.kind == "text" else value


Builder = Callable[[Field], Component]


@dataclass(frozen=True, slots=True)
class Form(Generic[M]):
    """The widgets of one request model, by field name, in the order in which they stand."""

    model: type[M]
    fields: Mapping[str, Field]
    components: Mapping[str, Component]

    @property
    def inputs(self) -> set[Component]:
        """For an event's ``inputs``: the handler then gets one dict, which ``read`` takes."""
        return set(self.components.values())

    @property
    def outputs(self) -> list[Component]:
        """For an event's ``outputs``: the order of the list that ``write`` gives."""
        return list(self.components.values())

    def read(self, values: Mapping[Any, Any], **given: Any) -> M:
        """The checked request. ``values`` may hold other components too; ``given`` overrides fields by name.

        Raises ``gr.Error`` with a sentence for each bad field.
        """
        names = {component: name for name, component in self.components.items()}
        data = {names[c]: self.fields[names[c]].given(v) for c, v in values.items() if c in names}
        try:
            return self.model.model_validate({**data, **given})
        except ValidationError as error:
            text = html.escape(sentences(error, titles_of(self.model)), quote=False)  # a toast shows HTML
            raise gr.Error(text, title="Check the inputs", print_exception=False) from None

    def write(self, request: M) -> list[Any]:
        """What every widget shows for this request, in the order of ``outputs``."""
        return [self.fields[name].shown(getattr(request, name)) for name in self.components]

    def __getitem__(self, name: str) -> Component:
        return self.components[name]


def form(
    model: type[M],
    *,
    fields: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    choices: Mapping[str, Sequence[Any]] | None = None,
    builders: Mapping[str, Builder] | None = None,
) -> Form[M]:
    """Build the widgets here and now, in the surrounding Blocks.

    ``fields``: only these, in this order (others keep their defaults); all in the model's order when omitted.
    ``groups``: folded sections, title to field names, after the fields that are in none.
    ``choices``: offered values of a text field, or of one of several texts, which may still be typed freely (a model's
    name).
    ``builders``: a field's widget made by other hands; that of several models (a conversation's turns) holds a list of
    JSON objects.
    """
    built_elsewhere = builders or {}
    known = {
        name: _offered(field, name in (choices or {}), name in built_elsewhere)
        for name, field in describe(model).items()
    }
    names = list(fields or known)
    grouped = {name for section in (groups or {}).values() for name in section}
    built: dict[str, Component] = {}

    def build(name: str) -> None:
        field = known[name]
        builder = built_elsewhere.get(name)
        built[name] = builder(field) if builder else _widget(field, (choices or {}).get(name))

    with gr.Column(elem_classes=["bt-form"]):
        for name in names:
            if name not in grouped:
                build(name)
        for title, section in (groups or {}).items():
            named = f"bt-more-{title.lower().replace(' ', '-')}"
            with gr.Accordion(title, open=False, elem_classes=["bt-more", named]):
                for name in section:
                    build(name)
    ordered = {name: built[name] for name in (*names, *grouped) if name in built}
    return Form(model, known, ordered)


def describe(model: type[BaseModel]) -> dict[str, Field]:
    """Every field of a request model in the model's order."""
    return {name: _describe(name, info) for name, info in model.model_fields.items()}


def _offered(field: Field, offered: bool, built: bool) -> Field:
    """The field as it stands in a form: with values to choose from several texts are names rather than lines, and what
    no widget of ours can hold is held by the one that was built for it."""
    if built and field.kind == "plain":
        return replace(field, kind="records")
    return replace(field, kind="names") if offered and field.kind == "lines" else field


def _describe(name: str, info: FieldInfo) -> Field:
    kind, members = _kind(_without_none(info.annotation))
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    labels = extra.get("labels") or {}
    bounds: dict[str, Any] = {}
    for rule in info.metadata:
        if isinstance(rule, annotated_types.Ge):
            bounds["low"] = rule.ge
        elif isinstance(rule, annotated_types.Gt):
            bounds |= {"low": rule.gt, "above": True}
        elif isinstance(rule, annotated_types.Le):
            bounds["high"] = rule.le
        elif isinstance(rule, annotated_types.Lt):
            bounds["high"] = rule.lt - 1 if kind == "whole" else rule.lt
        elif isinstance(rule, annotated_types.MaxLen):
            bounds["most"] = rule.max_length
    return Field(
        name=name,
        kind=kind,
        title=info.title or name.replace("_", " ").capitalize(),
        hint=info.description or "",
        default=info.get_default(call_default_factory=True, validated_data={}),
        extra=extra,
        members=tuple((labels.get(m, m.replace("_", " ").capitalize()), m) for m in members),
        **bounds,
    )


def _kind(annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    if get_origin(annotation) in (tuple, list, set, frozenset):
        inner, members = _kind(get_args(annotation)[0])
        return {"choice": ("choices", members), "text": ("lines", ())}.get(inner, ("plain", ()))  # type: ignore[return-value]
    if get_origin(annotation) is Literal:
        return "choice", tuple(str(a) for a in get_args(annotation))
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return "choice", tuple(str(m.value) for m in annotation)
        for base, kind in ((bool, "switch"), (int, "whole"), (float, "number"), (str, "text")):
            if issubclass(annotation, base):
                return kind, ()  # type: ignore[return-value]
    return "plain", ()


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not type(None)]
        return rest[0] if len(rest) == 1 else None
    return annotation


def _widget(field: Field, choices: Sequence[Any] | None) -> Component:
    if field.hidden:
        return held(field.shown(field.default))
    common: dict[str, Any] = {
        "label": field.title,
        "value": field.shown(field.default),
        "interactive": True,
        "elem_id": None,
        "elem_classes": [f"bt-{field.name.replace('_', '-')}"],
    }
    if field.hint:
        common["info"] = field.hint
    if field.kind == "switch":
        return gr.Checkbox(**common)
    if field.kind in ("number", "whole"):
        return _number(field, common)
    if field.kind == "choices" and field.extra.get("widget") == "checkboxes":
        return gr.CheckboxGroup(list(field.members), **common)
    if field.kind == "choices":
        return gr.Dropdown(list(field.members), multiselect=True, max_choices=field.most, **common)
    if field.kind == "choice":
        return gr.Dropdown(list(field.members), **common)
    if field.kind == "names":
        names = list(choices or ())
        return gr.Dropdown(names, multiselect=True, max_choices=field.most, allow_custom_value=True, **common)
    if choices is not None:
        return gr.Dropdown(list(choices), allow_custom_value=True, **common)
    lines = int(field.extra.get("lines", 2 if field.kind == "lines" else 1))
    return gr.Textbox(lines=lines, max_lines=max(lines, 12), **common)


def _number(field: Field, common: dict[str, Any]) -> Component:
    step = field.extra.get("step", 1 if field.kind == "whole" else 0.01)
    low, high = field.low, field.high
    if low is None or high is None or (high - low) / step > SLIDER_STEPS or field.extra.get("widget") == "number":
        common["elem_classes"] = [*common["elem_classes"], "bt-number"]
        return gr.Number(step=step, **common)
    low = field.extra.get("minimum", low + step if field.above else low)
    return gr.Slider(low, high, step=step, buttons=[], **common)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (tuple, list, set, frozenset)):
        return [_plain(v) for v in value]
    return value
