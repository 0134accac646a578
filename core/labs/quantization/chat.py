"""Chat format: what a model really reads of a conversation, in its own format and in others, and what each does to it.

Promises
- Each format's tokens are this model's own tokenizer's, and are what the reply and the likelihood are measured on.
- Turns' token counts add up to the total, what belongs to no turn (the generation prompt) left out.
- What a format cannot hold is refused in its own words; the other formats go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from core.errors import BadInput, LabError
from core.events import Done, Event, Progress, Step
from core.events import Warning as Notice
from core.generation.engine import generate
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.scoring import score_tokens
from core.generation.text_stream import token_text
from core.labs.quantization.chat_reading import Encoded, encoded, marks, smuggled
from core.labs.quantization.choices import FORMAT_TITLES, Format
from core.labs.quantization.comparing import model_values
from core.labs.quantization.conclusions import conclusions
from core.labs.quantization.request import QuantizationRequest
from core.quantization.chat_formats import (
    FORMATS,
    PLAIN,
    RefusedConversation,
    Rendered,
    refusing,
    rendered,
    renderer,
    taken_apart,
)
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext

REPLY_TOKENS = 24
SCORED_TOKENS = 256
"""Of the last answer, at most: a token's reading takes a row of the whole vocabulary."""
RESULT = ("format", "text", "total", "per_turn", "special_as_one", "reply", "perplexity", "note")
"""What an API caller gets of each format."""
SHOWN_TOKENS, SHOWN_CHARACTERS = 2000, 20_000
_NO_TEMPLATE = "This model has no chat template of its own. The turns stand one below the other instead, without marks."


def render(request: QuantizationRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one conversation in each format, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    yield Progress(done=0, note=f"Getting {request.model} ready")
    spec = ModelSpec(base=request.model)
    with pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner) as loaded:
        _refuse_unsuitable(loaded)
        messages = [{"role": turn.role.value, "content": turn.content} for turn in request.conversation]
        has_own = bool(getattr(loaded.tokenizer, "chat_template", None))
        yield _start(request, loaded, has_own)
        yield from (Notice(text=text) for text in smuggled(loaded.tokenizer, messages, request.formats))
        found: dict[str, dict[str, Any]] = {}
        for index, name in enumerate(request.formats):
            if context.cancelled():
                break
            yield Progress(done=index, total=len(request.formats), unit="formats", note=FORMAT_TITLES[name])
            values = _format(name, messages, request.generation_prompt, loaded, context)
            found[name.value] = values
            yield Step(name="format", index=index, values={k: v for k, v in values.items() if k != "perplexity"})
        told = conclusions(list(found.values()), has_own)
        if told["lines"] or told["perplexity"]:
            yield Step(name="wrong", index=0, values=told)
    yield Done(
        reason="stopped" if context.cancelled() else "finished",
        result={"formats": [{key: one[key] for key in RESULT} for one in found.values()]},
    )


def _refuse_unsuitable(loaded: LoadedModel) -> None:
    if loaded.facts.kind != "causal" or loaded.spec.head is not None:
        raise BadInput(f"{loaded.facts.title} writes no text of its own.", "Choose a causal language model.")
    if not getattr(loaded.tokenizer, "is_fast", False):
        raise BadInput(
            f"The tokenizer of {loaded.facts.title} cannot say which characters a token came from.",
            "Choose a model with a tokenizer.json.",
        )


def _start(request: QuantizationRequest, loaded: LoadedModel, has_own: bool) -> Step:
    return Step(
        name="start",
        index=0,
        values={
            "mode": request.mode.value,
            "model": {**model_values(request, loaded), "context": loaded.facts.context, "template": has_own},
            "formats": [{"format": one.value, "title": FORMAT_TITLES[one]} for one in request.formats],
            "turns": len(request.conversation),
            "generation_prompt": request.generation_prompt,
        },
    )


def in_format(name: Format, messages: Sequence[dict[str, str]], generation_prompt: bool, tokenizer: Any) -> Rendered:
    """The conversation in a format, the model's own included. Raises ``RefusedConversation``."""
    if name is not Format.MODEL:
        return rendered(name.value, messages, generation_prompt)
    special = [*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]
    if not tokenizer.chat_template:
        found = taken_apart(renderer(PLAIN), messages, generation_prompt, special)
        return Rendered(found.text, found.pieces, _NO_TEMPLATE, found.omitted)

    def own(given: Any, prompted: bool) -> str:
        return str(tokenizer.apply_chat_template(list(given), tokenize=False, add_generation_prompt=prompted))

    return taken_apart(refusing(own), messages, generation_prompt, special)


def _format(
    name: Format, messages: Sequence[dict[str, str]], prompted: bool, loaded: LoadedModel, context: RunContext
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "format": name.value, "title": FORMAT_TITLES[name], "text": "", "pieces": [], "tokens": [], "total": 0,
        "per_turn": [], "special_as_one": None, "note": "", "reply": None, "perplexity": None,
    }  # fmt: skip
    try:
        found = in_format(name, messages, prompted, loaded.tokenizer)
    except RefusedConversation as error:
        return {**values, "note": f"This format refuses the conversation: {_shortened(str(error), 300).rstrip('.')}."}
    read = encoded(loaded.tokenizer, found)
    values |= _shown(found, read, len(messages), loaded.tokenizer)
    values["special_as_one"] = marks(loaded.tokenizer, FORMATS[name].special if name in FORMATS else (), found)
    notes = [found.note, *(f"Turn {turn + 1} is left out by the template." for turn in found.omitted)]
    if len(found.text) > SHOWN_CHARACTERS:
        notes.append(f"Only its first {SHOWN_CHARACTERS:,} characters are shown.")
    try:
        values["reply"] = _reply(loaded, read, context)
        values["perplexity"] = _last_answer(loaded, read, messages, context)
    except LabError as error:
        if context.cancelled():
            return {**values, "note": " ".join(filter(None, notes))}
        notes.append(error.what)
    return {**values, "note": " ".join(filter(None, notes))}


def _shown(found: Rendered, read: Encoded, turns: int, tokenizer: Any) -> dict[str, Any]:
    pieces, length = [], 0
    for piece in found.pieces:
        if length >= SHOWN_CHARACTERS:
            break
        text = piece.text[: SHOWN_CHARACTERS - length]
        length += len(text)
        pieces.append({"text": text, "kind": piece.kind, "turn": piece.turn})
    tokens = [
        {"t": token_text(tokenizer, one.id), "piece": one.piece, "special": one.special, "turn": one.turn}
        for one in read.tokens[:SHOWN_TOKENS]
    ]
    return {
        "text": found.text[:SHOWN_CHARACTERS],
        "pieces": pieces,
        "tokens": tokens,
        "total": len(read.tokens),
        "per_turn": [sum(one.turn == turn for one in read.tokens) for turn in range(turns)],
    }


def _reply(loaded: LoadedModel, read: Encoded, context: RunContext) -> dict[str, Any]:
    """What the model goes on with, greedily, until it ends its turn."""
    readings = list(
        generate(
            loaded,
            read.ids,
            SamplingParameters(),
            StopConditions(max_new_tokens=REPLY_TOKENS),
            visitor=context.visitor,
            cancelled=context.cancelled,
        )
    )
    ids = [one.id for one in readings]
    return {"text": loaded.tokenizer.decode(ids, skip_special_tokens=False), "tokens": len(ids), "ids": ids}


def _last_answer(
    loaded: LoadedModel, read: Encoded, messages: Sequence[dict[str, str]], context: RunContext
) -> float | None:
    """The model's perplexity on what the last assistant turn says, or its beginning; None where there is none."""
    turn = max((i for i, one in enumerate(messages) if one["role"] == "assistant"), default=None)
    if turn is None:
        return None
    places = [place for place, one in enumerate(read.tokens) if one.turn == turn and one.content]
    if not places or places[0] == 0:
        return None
    first, end = places[0], min(places[-1] + 1, places[0] + SCORED_TOKENS)
    readings = score_tokens(loaded, read.ids[:first], read.ids[first:end], visitor=context.visitor)
    mean = -sum(one.logprob for one in readings) / len(readings)
    return math.exp(min(mean, 700.0))


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
