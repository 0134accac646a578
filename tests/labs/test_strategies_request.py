"""The Strategies lab's request: what it refuses, what it computes, and its presets."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from core.labs.strategies.presets import LESSON, PRESETS
from core.labs.strategies.request import Model, Scaling, StrategiesRequest, Strategy

OWN = tuple(f"{label}: text number {i} is {label}" for label in ("good", "bad") for i in range(5))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"models": ()}, "at least 1"),
        ({"models": ("mlp", "mlp")}, "each can be chosen once"),
        ({"budget": 501}, "at most 500 epochs"),
        ({"budget_kind": "seconds", "budget": 31}, "at most 30 seconds"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"texts": ("no label here",)}, 'line 1 is no "label: text"'),
        ({"texts": OWN[:5]}, "1 labels"),
        ({"texts": OWN[:9]}, "“bad” has 4 texts"),
        ({"texts": ("a: \0",)}, "NUL"),
        ({"unheard": 1}, "not permitted"),
    ],
)
def test_what_cannot_be_run_is_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        StrategiesRequest.model_validate(given)


def test_sizes_rates_and_titles() -> None:
    request = StrategiesRequest(batch_size=64, micro_batches=8, scaling=Scaling.LINEAR, learning_rate=0.1)
    assert [request.size(strategy, 500) for strategy in Strategy] == [500, 64, 1, 64]
    assert request.rate(64) == pytest.approx(0.2)
    assert request.title(Model.MLP, Strategy.ACCUMULATED, 64) == "Accumulated 8 × 8"
    assert request.size(Strategy.MINI, 20) == 20
    both = request.model_copy(update={"models": (Model.MLP, Model.BAG)})
    assert both.title(Model.BAG, Strategy.FULL, 500) == "Bag of embeddings, full batch 500"
    texts, labels = StrategiesRequest(texts=OWN).own()
    assert labels == ["good"] * 5 + ["bad"] * 5
    assert texts[0] == "text number 0 is good"


def test_there_are_presets_and_a_lesson_of_five_experiments() -> None:
    assert len(LESSON) == 5
    assert len({preset.title for preset in PRESETS}) == len(PRESETS) >= 5
    for experiment in LESSON:
        assert experiment.look
        assert experiment.lesson
        assert StrategiesRequest.model_validate(experiment.request.model_dump(mode="json")) == experiment.request


def test_every_field_has_a_title_and_a_description() -> None:
    for name, field in StrategiesRequest.model_fields.items():
        assert field.title, name
        assert field.description, name


def test_importing_the_request_and_the_tab_loads_nothing_heavy() -> None:
    code = (
        "import sys, core.labs.strategies.presets, tabs.strategies; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
