"""How a conversation becomes the one text that a model reads: well-known formats, and what in a text came from where.

Promises
- Templates are rendered by transformers' own sandboxed renderer; those below are written from the formats' published
  descriptions (ChatML of OpenAI, Meta's Llama 3 model card, Mistral's notes on its tokenizer V3, Zephyr's model card).
- ``Rendered.pieces`` joined give ``Rendered.text``: each is a turn's content, a special token, a role, the generation
  prompt or space, with the turn that it belongs to.
- A conversation that a format cannot hold is refused in its own words, never bent in silence: ``note`` says what was
  done.

Does not tokenize and does not know any model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["special", "role", "content", "generation", "space"]
Message = Mapping[str, str]
Renderer = Callable[[Sequence[Message], bool], str]
"""Messages and whether to end with a generation prompt, to the text."""

_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: what stands for a turn's content while its place is looked for
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A format: its Jinja template, and the strings that are single tokens to models that were trained on it."""

    name: str
    title: str
    template: str
    special: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a rendered text. ``turn`` is None for the generation prompt and what belongs to no turn."""

    text: str
    kind: Kind
    turn: int | None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation in a format. ``omitted`` are turns whose content the text does not hold as it was written."""

    text: str
    pieces: tuple[Piece, ...]
    note: str = ""
    omitted: tuple[int, ...] = ()


class RefusedConversation(ValueError):
    """The format has no way to write this conversation; the message says why, in the template's words."""


_CHATML = """\
{% for turn in messages %}
{{ '<|im_start|>' + turn.role + '\\n' + turn.content + '<|im_end|>\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{%- endif %}"""
_LLAMA3 = """\
{{ '<|begin_of_text|>' }}
{%- for turn in messages %}
{{- '<|start_header_id|>' + turn.role + '<|end_header_id|>\\n\\n' + turn.content | trim + '<|eot_id|>' }}
{%- endfor %}
{% if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""
_MISTRAL = """\
{% set system = namespace(text='', last=-1) %}
{% set said = messages %}
{% if messages[0].role == 'system' %}
{% set system.text = messages[0].content + '\\n\\n' %}
{% set said = messages[1:] %}
{% endif %}
{% for turn in said %}
{% if turn.role == 'system' %}
{{ raise_exception('only the first turn may be a system turn') }}
{% endif %}
{% if (turn.role == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('after the system turn, user and assistant have to take turns, the user first') }}
{% endif %}
{% if turn.role == 'user' %}
{% set system.last = loop.index0 %}
{% endif %}
{% endfor %}
{% if system.last < 0 %}
{{ raise_exception('there has to be a user turn') }}
{% endif %}
{{ '<s>' }}
{%- for turn in said %}
{% if turn.role == 'user' %}
{{- '[INST] ' + (system.text if loop.index0 == system.last else '') + turn.content + '[/INST]' }}
{%- else %}
{{- ' ' + turn.content + '</s>' }}
{%- endif %}
{% endfor %}"""
_ZEPHYR = """\
{% for turn in messages %}
{{ '<|' + turn.role + '|>\\n' + turn.content + '</s>\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\\n' }}
{%- endif %}"""
PLAIN = "{% for turn in messages %}{{ turn.content + '\\n' }}{% endfor %}"
"""What is read by a model that has no template: the turns one below the other."""

FORMATS: dict[str, ChatFormat] = {
    one.name: one
    for one in (
        ChatFormat("chatml", "ChatML", _CHATML, ("<|im_start|>", "<|im_end|>")),
        ChatFormat(
            "llama3", "Llama 3", _LLAMA3,
            ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ),
        ChatFormat("mistral", "Mistral", _MISTRAL, ("<s>", "[INST]", "[/INST]", "</s>")),
        ChatFormat("zephyr", "Zephyr", _ZEPHYR, ("<|system|>", "<|user|>", "<|assistant|>", "</s>")),
    )
}  # fmt: skip


def renderer(template: str) -> Renderer:
    """The sandboxed renderer of a Jinja template. It raises ``RefusedConversation`` in the template's own words."""

    def render(messages: Sequence[Message], generation_prompt: bool) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        plain = [dict(message) for message in messages]
        made: Any = render_jinja_template([plain], chat_template=template, add_generation_prompt=generation_prompt)
        return str(made[0][0])

    return refusing(render)


def refusing(render: Renderer) -> Renderer:
    """``render`` with whatever a template raises as ``RefusedConversation``."""

    def guarded(messages: Sequence[Message], generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            return render(messages, generation_prompt)
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise RefusedConversation(str(error)) from error

    return guarded


def rendered(name: str, messages: Sequence[Message], generation_prompt: bool) -> Rendered:
    """The conversation in the format called ``name``. Raises ``RefusedConversation``."""
    known = FORMATS[name]
    found = taken_apart(renderer(known.template), messages, generation_prompt, known.special)
    return Rendered(found.text, found.pieces, _note(name, messages, generation_prompt), found.omitted)


def taken_apart(
    render: Renderer, messages: Sequence[Message], generation_prompt: bool, special: Sequence[str]
) -> Rendered:
    """A rendered conversation with its parts, whatever the template. Raises ``RefusedConversation``.

    The template is rendered a second time with marks in place of the contents: what stands between the marks is the
    template's own. Where it looks into the contents, so that the two do not agree, all of the text is one piece.
    """
    text = render(messages, generation_prompt)
    closed = render(messages, False) if generation_prompt else text
    body = closed if text.startswith(closed) else text
    marked = [{**message, "content": f"{_OPEN}{turn}{_CLOSE}"} for turn, message in enumerate(messages)]
    try:
        frame = render(marked, generation_prompt and body is text)
    except RefusedConversation:
        frame = ""
    parts = _aligned(body, frame, [message["content"] for message in messages])
    pieces = [Piece(body, "content", None)] if parts is None else list(_pieces(parts, special))
    pieces += _literal(text[len(body) :], special, None, "generation")
    held = {piece.turn for piece in pieces if piece.kind == "content"}
    omitted = [turn for turn, message in enumerate(messages) if turn not in held and message["content"].strip()]
    return Rendered(text, tuple(piece for piece in pieces if piece.text), omitted=tuple(omitted))


def _aligned(text: str, frame: str, contents: Sequence[str]) -> list[tuple[str, int | None]] | None:
    """``text`` as the template's own strings (None) and contents (their turn), in order; None if they do not agree.

    Many templates cut the space around a content, so that is tried as well.
    """
    split = _MARK.split(frame)  # own, turn, own, turn, ..., own
    if not text.startswith(split[0]) or len(split) == 1:
        return None
    parts: list[tuple[str, int | None]] = [(split[0], None)]
    at = len(split[0])
    for number, own in zip(split[1::2], split[2::2], strict=True):
        content = contents[int(number)]
        for written in dict.fromkeys((content, content.strip(), content.lstrip(), content.rstrip())):
            if text.startswith(written + own, at):
                parts += [(written, int(number)), (own, None)]
                at += len(written) + len(own)
                break
        else:
            return None
    return parts if at == len(text) else None


def _pieces(parts: Sequence[tuple[str, int | None]], special: Sequence[str]) -> Iterator[Piece]:
    """The parts with kinds. Between two contents, a special token that comes first closes the turn before it."""
    turns = [turn for _, turn in parts if turn is not None]
    seen = -1
    for text, turn in parts:
        if turn is not None:
            seen += 1
            yield Piece(text, "content", turn)
            continue
        former = turns[seen] if seen >= 0 else None
        later = turns[seen + 1] if seen + 1 < len(turns) else None
        closing = len(text) if later is None else 0 if former is None else _closing(text, special)
        yield from _literal(text[:closing], special, former)
        yield from _literal(text[closing:], special, later)


def _closing(text: str, special: Sequence[str]) -> int:
    """How much of what stands between two contents ends the first one's turn."""
    start = len(text) - len(text.lstrip())
    token = max((one for one in special if text.startswith(one, start)), key=len, default="")
    if not token:
        return 0
    end = start + len(token)
    return end + len(text[end:]) - len(text[end:].lstrip("\n"))


def _literal(text: str, special: Sequence[str], turn: int | None, words: Kind = "role") -> list[Piece]:
    """The template's own text as special tokens, words and space."""
    longest = sorted(filter(None, special), key=len, reverse=True)
    split = re.split(f"({'|'.join(map(re.escape, longest))})", text) if longest else [text]
    pieces = []
    for place, one in enumerate(split):
        kind: Kind = "special" if place % 2 else words if one.strip() else "space"
        pieces.append(Piece(one, kind, turn))
    return [piece for piece in pieces if piece.text]


def _note(name: str, messages: Sequence[Message], generation_prompt: bool) -> str:
    """What was done where a format has no place for something."""
    said = []
    if name == "mistral":
        if messages[0]["role"] == "system":
            said.append("It has no system role: the system turn stands before the words of the last user turn.")
        if generation_prompt:
            said.append("It has no generation prompt: the answer follows [/INST].")
    if name == "llama3" and any(one["content"] != one["content"].strip() for one in messages):
        said.append("It cuts the space around each text.")
    if generation_prompt and messages[-1]["role"] == "assistant" and name != "mistral":
        said.append("The last turn is the assistant's, and the generation prompt opens another of its turns.")
    return " ".join(said)
