"""What is said before a training: counts that the trainer confirms, a measured step that leaves no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import BadInput, NotFound
from core.labs.finetuning.preview import measured_step, plan_and_preview
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.run import model_spec
from core.runtime.runs import owner_of
from core.services import Services
from core.settings import Settings
from core.training.methods import adapter_config, choose_trained, counts
from core.training.parameters import Method, Task
from tests.training.tiny_models import folder_of

OWNER = owner_of("somebody")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    root = tmp_path_factory.mktemp("models")
    families: tuple[Any, ...] = ("llama", "gpt2", "bert")
    for family in families:
        shutil.copytree(folder_of(family), root / family)
    made = Services(Settings(home=tmp_path_factory.mktemp("home"), model_roots=(root,), offline=True))
    yield made
    made.close()


def asked(**fields: Any) -> FinetuningRequest:
    return FinetuningRequest(**{"model": "llama", "r": 2, "batch_size": 2, "max_length": 24, **fields})


def planned(services: Services, request: FinetuningRequest, owner: str = OWNER) -> dict[str, Any]:
    return plan_and_preview(request, services.pool, services.catalog, services.uploads, owner)


def measured(services: Services, request: FinetuningRequest) -> dict[str, Any]:
    return measured_step(request, services.pool, services.catalog, services.uploads, OWNER)


LABELS: dict[str, Any] = {"data": "feelings", "task": Task.CLASSIFICATION}


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"method": Method.DORA, "model": "gpt2"}, {"method": Method.PROMPT, "virtual_tokens": 5},
        {"method": Method.FULL}, {"method": Method.QLORA}, {"bias": "all", "model": "gpt2"},
        {"target_modules": ("q_proj", "down_proj"), "rank_pattern": ("q_proj=1",)},
        {**LABELS, "model": "bert"}, {**LABELS, "model": "bert", "method": Method.PROBE},
        {**LABELS, "method": Method.FULL},
    ],
)  # fmt: skip
def test_the_counts_are_those_of_the_model(services: Services, fields: dict[str, Any]) -> None:
    request = asked(**fields)
    found = planned(services, request)
    labels = tuple(found["labels"])
    located = services.catalog.locate(request.model)
    with services.pool.lease(model_spec(request, located, labels)) as loaded:
        model = loaded.model
        choose_trained(model, request)
        config = adapter_config(request, model)
        if config is not None:
            from peft import get_peft_model

            model = get_peft_model(model, config)
        trained, _ = counts(model)
    services.pool.drop_idle()
    assert found["parameters_trained"] == trained
    assert found["parameters_total"] >= trained
    json.dumps(found, allow_nan=False)


def test_what_the_page_draws(services: Services) -> None:
    found = planned(services, asked(max_steps=7))
    assert (found["steps"], found["train_rows"], found["validation_rows"]) == (7, 180, 20)
    assert len(found["rows"]) == 8
    assert found["memory"]["total"] >= found["memory"]["weights"] > 0
    assert found["fits"]
    assert found["free"] > 0
    names = [module["name"] for module in found["modules"]]
    assert {"q_proj", "v_proj", "down_proj"} <= set(names)
    assert sum(module["trained"] for module in found["modules"]) == found["parameters_trained"]
    assert planned(services, asked(method=Method.FULL))["modules"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"method": Method.FULL}, {"method": Method.QLORA}, {"method": Method.PROMPT, "virtual_tokens": 3},
        {"gradient_accumulation": 2, "activation_checkpointing": True, "model": "gpt2"},
        {**LABELS, "model": "bert"}, {**LABELS, "model": "bert", "method": Method.PROBE},
    ],
)  # fmt: skip
def test_a_measured_step_leaves_no_trace(services: Services, fields: dict[str, Any]) -> None:
    request = asked(**fields, max_steps=10)
    labels = tuple(planned(services, request)["labels"])
    spec = model_spec(request, services.catalog.locate(request.model), labels)
    with services.pool.lease(spec) as loaded:
        names = [name for name, _ in loaded.model.named_modules()]
        before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
        lender: Any = SimpleNamespace(settings=services.settings, lease=lambda *asked: nullcontext(loaded))
        found = measured_step(request, lender, services.catalog, services.uploads, OWNER)
        assert [name for name, _ in loaded.model.named_modules()] == names
        after = loaded.model.state_dict()
        assert all((before[name] == tensor).all() for name, tensor in after.items())
        assert all(p.grad is None and not p.requires_grad for p in loaded.model.parameters())
        assert not loaded.model.training
    assert found["step_seconds"] > 0
    assert found["seconds"] == pytest.approx(10 * found["step_seconds"])


def test_a_step_is_measured_on_a_model_of_the_pool(services: Services) -> None:
    assert measured(services, asked())["step_seconds"] > 0


def test_a_strangers_upload_is_not_found(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("text\nhello\nthe cat\na dog\n", encoding="utf-8")
    name = services.uploads.add(file, OWNER)
    assert planned(services, asked(data=name))["train_rows"] == 2
    with pytest.raises(NotFound):
        planned(services, asked(data=name), owner_of("somebody else"))


def test_models_that_cannot_do_the_task(services: Services) -> None:
    with pytest.raises(BadInput, match="writes none"):
        planned(services, asked(model="bert"))
    with pytest.raises(BadInput, match="writes none"):
        measured(services, asked(model="bert"))


def test_what_does_not_fit_is_said(services: Services) -> None:
    small = Services(services.settings.model_copy(update={"memory_budget": 1000}))
    try:
        found = planned(small, asked())
    finally:
        small.close()
    assert (found["memory"], found["fits"]) == (None, False)
    assert "needs" in found["why"]
