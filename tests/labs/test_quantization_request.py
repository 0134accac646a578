"""What a quantization request accepts and refuses; presets and lesson are requests that the lab can run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from core.catalog.known import is_known
from core.labs.quantization.choices import (
    MODE_TITLES,
    QUANTIZED_TITLES,
    SCHEME_TITLES,
    Mode,
    SchemeName,
)
from core.labs.quantization.presets import LESSON, PRESETS
from core.labs.quantization.request import DEFAULT_MODEL, MOST_CHARACTERS, MOST_TURNS, QuantizationRequest
from core.runtime.schemes import SCHEMES

REQUESTS = {one.title: one.request for one in (*PRESETS, *LESSON)}


@pytest.mark.parametrize("title", REQUESTS)
def test_each_names_a_model_that_is_there(title: str) -> None:
    request = REQUESTS[title]
    assert request.model == DEFAULT_MODEL or (request.mode is Mode.PLAN and is_known(request.model))
    assert QuantizationRequest.model_validate_json(request.model_dump_json()) == request


def test_they_cover_the_modes_and_tell_apart() -> None:
    assert {preset.request.mode for preset in PRESETS} == set(Mode) == set(MODE_TITLES)
    assert 8 <= len(PRESETS) <= 10
    assert len({preset.title for preset in PRESETS}) == len({preset.request for preset in PRESETS}) == len(PRESETS)
    assert len({step.title for step in LESSON}) == len(LESSON) == 5


def test_the_schemes_are_those_of_the_runtime() -> None:
    assert {name.value for name in SchemeName} == set(SCHEMES) == {name.value for name in SCHEME_TITLES}
    assert {name.value for name in QUANTIZED_TITLES} == {name for name, one in SCHEMES.items() if one.library}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": " \n"}, "write something to go on from"),
        ({"prompt": "a\0b"}, "NUL"),
        ({"prompt": "half \ud83d"}, "valid string"),
        ({"prompt": "x" * (MOST_CHARACTERS + 1)}, "at most 20000"),
        ({"schemes": ()}, "at least 1"),
        ({"schemes": ("nf4", "nf4")}, "one twice"),
        ({"schemes": ("int3",)}, "Input should be"),
        ({"scheme": "bfloat16"}, "is not quantized"),
        ({"new_tokens": 513}, "less than or equal to 512"),
        ({"scored_tokens": 63}, "greater than or equal to 64"),
        ({"temperature": float("nan")}, "finite number"),
        ({"repeats": 0}, "greater than or equal to 1"),
        ({"context": 1_000_001}, "less than or equal to 1000000"),
        ({"batch": 257}, "less than or equal to 256"),
        ({"use": ()}, "at least 1"),
        ({"rank": 0}, "greater than or equal to 1"),
        ({"bits": 9}, "less than or equal to 8"),
        ({"sparsity": 0.96}, "less than or equal to 0.95"),
        ({"mode": "lens", "method": "n_m", "n": 4, "m": 4}, "prunes nothing"),
        ({"mode": "chat", "conversation": ()}, "at least 1"),
        ({"mode": "chat", "conversation": ({"role": "user", "content": " "},)}, "what somebody says"),
        ({"conversation": ({"role": "user", "content": "x"},) * (MOST_TURNS + 1)}, "at most 40"),
        ({"conversation": ({"role": "tool", "content": "x"},)}, "Input should be"),
        ({"conversation": ({"role": "user", "content": "a\0b"},)}, "NUL"),
        ({"formats": ("llama3", "llama3")}, "one twice"),
        ({"model": ""}, "at least 1"),
        ({"quantization": "nf4"}, "Extra inputs"),
    ],
)
def test_what_cannot_be_used_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        QuantizationRequest.model_validate(fields)
    assert said in str(refusal.value)


def test_a_prompt_is_needed_by_what_reads_it_only() -> None:
    assert QuantizationRequest(mode=Mode.LENS, prompt="").prompt == ""
    assert QuantizationRequest(mode=Mode.SAVE).summary() == "Save a checkpoint · story-lm"


def test_requests_and_presets_import_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "bitsandbytes", "torchao", "sklearn", "pandas")
    code = (
        "import sys\nimport core.labs.quantization.request, core.labs.quantization.presets, "
        f"core.labs.quantization.run\nassert not set({heavy!r}) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
