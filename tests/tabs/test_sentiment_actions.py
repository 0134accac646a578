"""The Sentiment lab's actions: what the form offers, who may correct rows, and the way from errors back to training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import Busy, LabError, NotFound
from core.labs.finetuning.request import FinetuningRequest
from core.labs.sentiment.request import CHECK_SET, PROBE, SentimentRequest
from core.runtime.runs import Parent
from core.services import Services
from core.settings import Settings
from tabs.sentiment.actions import LAB, TRAINING, Actions

REQUEST = SentimentRequest(mode="evaluate", data=CHECK_SET)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    built = Services(settings)
    yield built
    built.close()


@pytest.fixture
def actions(services: Services) -> Actions:
    return Actions(services)


@pytest.fixture
def visitor(services: Services) -> str:
    return services.identity.new_visitor()


def run_of(services: Services, visitor: str) -> str:
    return services.store.create(LAB, visitor, REQUEST.model_dump(mode="json")).id


def test_the_form_offers_bundled_heads_sets_and_the_visitors_own_files(
    actions: Actions, visitor: str, tmp_path: Path
) -> None:
    assert SentimentRequest().model in [name for _, name in actions.models()]
    assert actions.compared()[-1] == ("Linear probe", PROBE)
    assert {*SentimentRequest().models} <= {name for _, name in actions.compared()}
    file = tmp_path / "mine.csv"
    file.write_text("opinion,stars\ngood,1\n", encoding="utf-8")
    name = actions.upload(str(file), visitor)
    assert ("mine.csv · yours", name) in actions.data(visitor)
    assert name not in [value for _, value in actions.data()]
    assert "feelings" in [value for _, value in actions.data()]
    assert "pirate-stories" not in [value for _, value in actions.data()]


def test_columns_are_those_of_the_file_and_nobody_elses(
    actions: Actions, services: Services, visitor: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("opinion,stars\ngood,1\n", encoding="utf-8")
    name = actions.upload(str(file), visitor)
    assert actions.columns(name, visitor) == ["opinion", "stars"]
    assert actions.columns(name, services.identity.new_visitor()) == []
    assert actions.columns("feelings", visitor) == ["text", "label"]
    assert actions.columns("", visitor) == []
    assert actions.columns("somebody/of-the-hub", visitor) == []


def test_files_and_the_training_are_shown_to_the_owner_alone(
    actions: Actions, services: Services, visitor: str
) -> None:
    run = run_of(services, visitor)
    own = actions.reader(visitor, None)
    shown = actions.show(own, own.open(run))
    assert shown.stream["files"] == f"runs/{run}/files/"
    assert services.identity.check_ticket(f"{run}/files", shown.stream["ticket"])
    assert shown.stream["trained"] is None
    shared = actions.reader(services.identity.new_visitor(), services.store.share(run, visitor))
    assert set(actions.show(shared, shared.open(run)).stream) == {"run", "url"}


def test_a_row_that_cannot_be_explained_says_why(
    actions: Actions, services: Services, visitor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(services, visitor)

    def explain_row(log: Any, row: int, pool: Any, reader: Any, **who: Any) -> dict[str, Any]:
        if row:
            raise NotFound("The run has no row 2.", "Choose a row of its table.")
        return {"text": "so good", "methods": []}

    monkeypatch.setattr(services, "lab", lambda name: SimpleNamespace(explain_row=explain_row))
    monkeypatch.setitem(services.__dict__, "pool", None)
    reader = actions.reader(visitor, None)
    assert actions.why(reader, run, 0, "") == {"row": 0, "text": "so good", "methods": []}
    refused = {"row": 1, "error": "The run has no row 2. Choose a row of its table."}
    assert actions.why(reader, run, 1, "") == refused
    with pytest.raises(NotFound):
        actions.why(actions.reader(services.identity.new_visitor(), None), run, 0, "")


def test_corrections_become_a_training_that_leads_back_to_the_run(
    actions: Actions, services: Services, visitor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, started = run_of(services, visitor), []

    def retrain_request(log: Any, corrections: dict[int, Any], *_: Any) -> dict[str, Any]:
        assert corrections == {3: 1, 5: None}
        return {"model": "all-MiniLM-L6-v2", "data": "upload:0123456789abcdef", "task": "classification"}

    def start(lab: str, request: FinetuningRequest, who: str, *, parent: Parent, secret: str | None) -> Any:
        started.append(request)
        return services.store.create(lab, who, request.model_dump(mode="json"), parent, kind="job")

    monkeypatch.setattr(services, "lab", lambda name: SimpleNamespace(retrain_request=retrain_request))
    monkeypatch.setattr(services, "start", start)
    trained = actions.train(visitor, run, [(3, 1), (5, None)], "")
    assert trained is not None
    assert started[0].task == "classification"
    training = services.store.open(trained["run"], visitor)
    assert training.meta.lab == TRAINING
    assert trained["url"].startswith(f"runs/{training.id}/events?ticket=")
    own = actions.reader(visitor, None)
    assert actions.show(own, own.open(run)).stream["trained"]["run"] == training.id
    with pytest.raises(Busy):
        actions.versus(visitor, run, training.id)
    with pytest.raises(LabError):
        actions.train(services.identity.new_visitor(), run, [(3, 1)], "")
