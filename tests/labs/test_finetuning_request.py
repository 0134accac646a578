"""The fine-tuning request: what it refuses, and that it and its presets load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from core.labs.finetuning.request import FinetuningRequest
from core.training.parameters import Method, Task, TrainingParameters


def test_the_defaults_are_a_run() -> None:
    request = FinetuningRequest()
    assert (request.method, request.task) == (Method.LORA, Task.LANGUAGE)
    assert request.summary() == "LoRA · story-lm · pirate-stories"
    assert FinetuningRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0), ("learning_rate", float("nan")), ("learning_rate", 1.5), ("r", 0), ("r", 257),
        ("epochs", 0), ("epochs", float("inf")), ("warmup_ratio", 1), ("max_length", 4), ("validation_share", 0.6),
        ("batch_size", 0), ("rank_pattern", ("q_proj",)), ("rank_pattern", ("q_proj=0",)), ("model", ""),
        ("model", "a\0b"), ("prompts", ("a",) * 7), ("prompts", ("\ud800",)), ("bias", "some"), ("seed", -1),
        ("unknown", 1),
    ],
)  # fmt: skip
def test_what_it_refuses(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        FinetuningRequest.model_validate({field: value})


def test_methods_and_tasks_that_do_not_go_together() -> None:
    with pytest.raises(ValidationError, match="linear probe labels texts"):
        FinetuningRequest(method=Method.PROBE)
    with pytest.raises(ValidationError, match="does not label words"):
        FinetuningRequest(method=Method.PROMPT, task=Task.TOKENS)


def test_ranks_of_modules() -> None:
    request = FinetuningRequest(rank_pattern=("q_proj=4", " layers.0.mlp.up_proj = 32 "))
    assert request.ranks == {"q_proj": 4, "layers.0.mlp.up_proj": 32}


def test_empty_prompts_are_left_out() -> None:
    assert FinetuningRequest(prompts=("a", "  ", "b")).prompts == ("a", "b")


def test_every_number_has_a_title_and_a_description() -> None:
    for name, field in TrainingParameters.model_fields.items():
        assert field.title, name
        assert field.description, name


def test_request_presets_sweep_and_compare_load_nothing_heavy() -> None:
    modules = ("request", "presets", "sweep", "compare")
    imports = "; ".join(f"import core.labs.finetuning.{name}" for name in modules)
    heavy = "{'torch', 'transformers', 'trl', 'peft', 'datasets', 'pandas', 'plotly'}"
    code = f"import sys; {imports}; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
