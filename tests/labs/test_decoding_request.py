"""What a decoding request accepts, refuses, and says to its columns."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from core.generation.parameters import DEFAULT_ORDER, Stage, Strategy
from core.labs.decoding.presets import LESSON, PRESETS
from core.labs.decoding.request import PROMPT_CHARACTERS, DecodingRequest


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"prompt": ""}, "is empty"),
        ({"prompt": " \n\t"}, "is empty"),
        ({"prompt": "a\0b"}, "NUL"),
        ({"prompt": "a\ud800b"}, "lone surrogate"),
        ({"prompt": "x" * (PROMPT_CHARACTERS + 1)}, "shorten it"),
        ({"temperature": 0}, "greater than 0"),
        ({"temperature": math.nan}, "finite"),
        ({"top_p": math.inf}, "finite"),
        ({"strategies": ()}, "at least 1"),
        ({"strategies": ("greedy", "greedy")}, "each can be chosen once"),
        ({"strategies": ("greedy", "sampling", "beam", "contrastive", "speculative")}, "at most 4"),
        ({"stage_order": ("top_k",)}, "exactly once"),
        ({"stop_strings": ("\ud800",)}, "lone surrogate"),
        ({"max_tokens": 5}, "Extra inputs"),
    ],
)
def test_bad_input_is_refused_with_a_reason(bad: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        DecodingRequest(**bad)


def test_only_sampling_columns_have_stages() -> None:
    request = DecodingRequest(temperature=0.5, top_k=3, top_p=0.4, min_p=0.2, repetition_penalty=1.3)
    greedy = request.sampling(Strategy.GREEDY)
    assert (greedy.do_sample, greedy.temperature, greedy.top_k, greedy.repetition_penalty) == (False, 1.0, 0, 1.3)
    every = request.sampling(Strategy.SAMPLING)
    assert (every.temperature, every.top_k, every.top_p, every.min_p) == (0.5, 3, 0.4, 0.2)
    nucleus = request.sampling(Strategy.TOP_P)
    assert (nucleus.temperature, nucleus.top_k, nucleus.top_p, nucleus.min_p) == (0.5, 0, 0.4, 0.0)


def test_a_request_survives_json_unchanged() -> None:
    order = (Stage.TEMPERATURE, *(s for s in DEFAULT_ORDER if s is not Stage.TEMPERATURE))
    request = DecodingRequest(prompt="A & B=ü ${x}", stage_order=order, stop_strings=("\n\n", "end"))
    assert DecodingRequest.model_validate_json(request.model_dump_json()) == request


def test_presets_and_lesson_have_names_of_their_own() -> None:
    assert len({p.title for p in PRESETS}) == len(PRESETS) == 5
    assert len({e.title for e in LESSON}) == len(LESSON) == 5
