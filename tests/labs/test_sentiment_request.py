"""What a sentiment request accepts and refuses; presets and lesson are requests that the lab can run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from pydantic import ValidationError

from core.catalog.datasets import bundled_dataset
from core.labs.sentiment.choices import Axis, Mode, Swap
from core.labs.sentiment.presets import LESSON, PRESETS
from core.labs.sentiment.request import CHECK_SET, MOST_CHARACTERS, PROBE, SentimentRequest
from core.runtime.bundled_heads import bundled_head
from core.settings import Settings
from core.text.bias import AXES
from core.text.counterfactuals import KINDS

REQUESTS = {one.title: one.request for one in (*PRESETS, *LESSON)}


@pytest.mark.parametrize("title", REQUESTS)
def test_each_names_what_is_bundled(title: str) -> None:
    request, settings = REQUESTS[title], Settings(offline=True)
    for name in request.models if request.mode is Mode.COMPARE else (request.model,):
        head = bundled_head(settings, name) if name != PROBE else None
        assert name == PROBE or (head is not None and head.head == "classification")
    assert not request.data or bundled_dataset(settings, request.data)
    assert SentimentRequest.model_validate_json(request.model_dump_json()) == request


def test_they_cover_the_modes_and_tell_apart() -> None:
    assert {preset.request.mode for preset in PRESETS} == set(Mode)
    assert len({preset.title for preset in PRESETS}) == len({preset.request for preset in PRESETS}) == len(PRESETS) == 8
    assert len({step.title for step in LESSON}) == len(LESSON) == 5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": " \n "}, "write something to read"),
        ({"text": "a\0b"}, "NUL"),
        ({"text": "half \ud83d"}, "valid string"),
        ({"text": "x" * (MOST_CHARACTERS + 1)}, "at most 1000000"),
        ({"text": "a\n" * 20_001}, "20,001 lines"),
        ({"text": "one\ntwo", "pair": "three"}, "2 texts and 1 second"),
        ({"mode": "whatif", "text": ""}, "that is to be changed"),
        ({"mode": "bias", "templates": ("nobody is here",)}, "line 1 has no {name}"),
        ({"mode": "bias", "templates": ("{name} " + "x" * 1000,)}, "more than 1,000"),
        ({"mode": "compare", "models": ("a",)}, "at least 2"),
        ({"mode": "compare", "models": ("a", " ")}, "fewer than two"),
        ({"mode": "compare", "models": ("a", "a")}, "one twice"),
        ({"swaps": ("name", "name")}, "one twice"),
        ({"rows": 0}, "greater than or equal to 1"),
        ({"steps": 3}, "greater than or equal to 4"),
        ({"labels": "x"}, "Extra inputs"),
    ],
)
def test_what_cannot_be_used_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        SentimentRequest.model_validate(fields)
    assert said in str(refusal.value)


def test_lines_are_texts_unless_they_are_one() -> None:
    text = "One.\n\n  Two. \n"
    assert SentimentRequest(text=text).texts() == ["One.", "Two."]
    assert SentimentRequest(text=text, lines=False).texts() == ["One.\n\n  Two."]
    assert SentimentRequest(text="<b>\u05e9\u05dc\u05d5\u05dd</b>\n\U0001f600").texts() == ["<b>שלום</b>", "\U0001f600"]
    assert SentimentRequest(text="a\nb", pair="c\nd").pairs() == ["c", "d"]
    assert SentimentRequest(text="", data="reviews-check").labelled == CHECK_SET
    assert SentimentRequest(mode=Mode.COMPARE).summary() == "Compare models · minilm-sentiment, probe"


def test_the_check_set_is_as_its_card_says() -> None:
    path = bundled_dataset(Settings(), CHECK_SET)
    assert path is not None
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["text"] for row in rows}) == len(rows) == 140
    assert Counter(row["label"] for row in rows) == {"positive": 70, "negative": 70}
    assert Counter(row["kind"] for row in rows) == {"review": 52, "tweet": 36, "news": 26, "message": 26}


def test_every_axis_and_swap_is_known_to_the_engine() -> None:
    assert {axis.value for axis in Axis} == set(AXES)
    assert {swap.value for swap in Swap} == set(KINDS)


def test_requests_and_presets_are_light() -> None:
    heavy = ["torch", "transformers", "sklearn", "pandas", "numpy", "captum"]
    code = f"import sys, core.labs.sentiment.presets; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
