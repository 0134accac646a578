"""The bundled language model as the app loads it, and the library decoding with it, for the decoding benches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from core.catalog.catalog import Catalog
from core.generation.parameters import SamplingParameters
from core.runtime.devices import detect_devices
from core.runtime.lanes import Lane
from core.runtime.loading import LoadedModel, load
from core.runtime.placement import Policy, place
from core.settings import Settings

MODEL = "story-lm"
PROMPTS = (
    "Once upon a time, there",
    "The little bird said,",
    "One day, a girl named Lily found a key in the garden. She",
    "It was raining, and Tom wanted to go",
)


def borrow() -> LoadedModel:
    """The model on this machine's best device, with a lane of its own."""
    located = Catalog(Settings(offline=True)).locate(MODEL)
    placement = place(located.facts, detect_devices(), Policy())
    return load(located, placement, lane=Lane(placement.device))


def library_generate(
    loaded: LoadedModel, prompt: Sequence[int], row: SamplingParameters, tokens: int, streamer: Any = None
) -> list[int]:
    """``model.generate`` with a row's settings, its seed, and no end token; the new ids."""
    settings: dict[str, Any] = {"max_new_tokens": tokens, "do_sample": row.do_sample, "pad_token_id": 0}
    if row.do_sample:
        settings |= {name: getattr(row, name) for name in ("temperature", "top_k", "top_p", "min_p")}
    loaded.model.generation_config = GenerationConfig()  # its end token would end a run early
    ids = torch.tensor([list(prompt)], device=loaded.device)
    torch.manual_seed(row.seed)
    everything = torch.ones_like(ids)  # left to itself, the library takes the start token for padding
    output = loaded.model.generate(
        ids, attention_mask=everything, generation_config=GenerationConfig(**settings), streamer=streamer
    )
    new: list[int] = output[0, len(prompt) :].tolist()
    return new


def best_of(turns: int, clock: Callable[[], float], *sides: Callable[[], object]) -> list[float]:
    """The shortest time of each side, the sides taking turns, so that a busy machine slows them alike."""
    best = [float("inf")] * len(sides)
    for _ in range(turns):
        for index, side in enumerate(sides):
            begin = clock()
            side()
            best[index] = min(best[index], clock() - begin)
    return best
