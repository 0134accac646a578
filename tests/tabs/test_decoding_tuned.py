"""The decoding tab and fine-tuned models: what its picker offers whom, and what a stranger sees of a shared run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.labs.decoding.request import DecodingRequest
from core.runtime.runs import follow, owner_of
from core.services import Services
from tabs.decoding.actions import LAB, Actions
from tests.fakes_tuned import VISITOR, Home, lora


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


@pytest.fixture
def services(home: Home) -> Iterator[Services]:
    made = Services(home.settings)
    yield made
    made.close()


def test_the_picker_names_the_visitors_own_models_after_those_for_all(home: Home, services: Services) -> None:
    name = home.tuned(lora())
    offered = Actions(services).models(VISITOR)
    assert offered[-1] == ("Pirates · LoRA on tiny · yours", name)
    assert "tiny" in [value for _, value in offered]
    assert name not in [value for _, value in Actions(services).models("a stranger")]


def test_a_shared_run_with_a_tuned_model_stays_readable(home: Home, services: Services) -> None:
    name, actions = home.tuned(lora()), Actions(services)
    request = DecodingRequest(model=name, prompt="the cat", max_new_tokens=2, strategies=("greedy",))
    log = services.start(LAB, request, VISITOR)
    assert [record["kind"] for record in follow(log)][-1] == "done"
    facts, code = asyncio.run(actions.described(actions.reader(VISITOR, None), log.id))
    assert facts is not None
    assert code is not None
    assert "PeftModel.from_pretrained" in code
    stranger = actions.reader("a stranger", services.store.share(log.id, VISITOR))
    facts, code = asyncio.run(actions.described(stranger, log.id))
    assert facts is not None
    assert facts["title"] == "Pirates"
    assert code == "# There is no such fine-tuned model among yours.\n# Choose one from the list, or train one first.\n"
    assert str(home.settings.home) not in code
    assert owner_of(VISITOR) not in code
