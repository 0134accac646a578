"""Where a text begins for a model, and how much room its context leaves: asked by everything that generates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import BadInput
from core.generation.stepping import Stepper
from core.runtime.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class Beginning:
    """``source`` is what the model reads first, ``start`` the ids that new ones follow, ``room`` how many may.

    Source and start are one for a causal model: prompt and prefix. An encoder-decoder encodes the prompt, and has begun
    to write its decoder start token and the prefix.
    """

    source: tuple[int, ...]
    start: tuple[int, ...]
    room: int


def begin(loaded: LoadedModel, prompt_ids: Sequence[int], prefix_ids: Sequence[int] = ()) -> Beginning:
    """Raises ``BadInput`` when the prompt is empty or leaves no room for a token."""
    if not prompt_ids:
        raise BadInput("The prompt has no tokens.", "Type something for the model to continue.")
    context, encodes = loaded.facts.context, loaded.facts.kind == "seq2seq"
    source = tuple(prompt_ids) if encodes else (*prompt_ids, *prefix_ids)
    room = context - (len(prefix_ids) if encodes else len(source))
    if len(source) > context or room < 1:
        raise BadInput(
            f"The prompt has {len(source):,} tokens; this model reads {context:,} at most, the answer included.",
            "Shorten the prompt or choose a model with a longer context.",
        )
    start = (*Stepper(loaded).decoder_start()[0].tolist(), *prefix_ids) if encodes else source
    return Beginning(source, start, room)
