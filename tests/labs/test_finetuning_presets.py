"""The presets and the lesson are runs that the lab accepts, on data and models that are there."""

from __future__ import annotations

import pytest

from core.catalog.catalog import Catalog
from core.catalog.datasets import dataset_choices
from core.labs.finetuning.presets import LESSON, PRESETS
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.script import script
from core.services import Services
from core.settings import Settings
from core.training.datasets import Columns, find_source, open_data
from core.training.parameters import Method
from core.training.preview import steps_of

REQUESTS = {one.title: one.request for one in (*PRESETS, *LESSON)}
MOST_STEPS = 200


@pytest.mark.parametrize("title", REQUESTS)
def test_each_names_what_is_there_and_is_short(title: str) -> None:
    request, settings = REQUESTS[title], Settings(offline=True)
    choices = {choice.name: choice for choice in dataset_choices(settings)}
    assert choices[request.data].task == request.task
    assert request.model in {choice.name for choice in Catalog(settings).choices()}
    prepared = open_data(
        find_source(request.data, settings), Columns(), request.task, request.validation_share, request.seed
    )
    assert len(prepared.train) > len(prepared.validation) / 2
    steps = steps_of(len(prepared.train), request)
    assert request.eval_steps < steps <= MOST_STEPS
    assert FinetuningRequest.model_validate_json(request.model_dump_json()) == request


def test_they_cover_the_methods_and_tell_apart() -> None:
    assert len(LESSON) == 5
    assert len({preset.title for preset in PRESETS}) == len(PRESETS) >= 6
    assert len({preset.request for preset in PRESETS}) == len(PRESETS)
    methods = {one.request.method for one in (*PRESETS, *LESSON)}
    assert {Method.LORA, Method.QLORA, Method.PROBE, Method.FULL} <= methods
    assert all(one.look.endswith(".") and one.lesson.endswith(".") for one in LESSON)


def test_each_has_a_script_that_compiles() -> None:
    services = Services(Settings(offline=True))
    try:
        for title, request in REQUESTS.items():
            text = script(request, services.pool, services.catalog)
            compile(text, title, "exec")
            assert f"assets/datasets/{request.data}/data.jsonl" in text
            assert max(len(line) for line in text.splitlines()) <= 120
    finally:
        services.close()
