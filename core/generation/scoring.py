"""The model's reading of given tokens: one forward pass over a prompt and what follows it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from core.generation.readings import TokenReading, read_tokens
from core.generation.stepping import Stepper
from core.runtime.loading import LoadedModel


def score_tokens(
    loaded: LoadedModel, prompt_ids: Sequence[int], ids: Sequence[int], *, visitor: str = ""
) -> list[TokenReading]:
    """Readings of ``ids`` as they follow ``prompt_ids``, as if each had just been chosen.

    For an encoder-decoder the prompt is the encoder's and ``ids`` are the decoder's.
    """
    if not ids:
        return []

    def read() -> list[TokenReading]:
        stepper = Stepper(loaded)
        state = stepper.prefill(torch.tensor([list(prompt_ids)]))
        first = state.logits
        later = stepper.score(state, torch.tensor([list(ids)]))[0, :-1]
        return read_tokens(torch.cat([first, later]), ids)

    return loaded.lane.call(read, visitor=visitor)
