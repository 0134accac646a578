"""Exports as runs: what they say, what they leave in their folder, and who may make them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, TaskType
from pydantic import ValidationError

from core.errors import BadInput, NotFound, Unreachable
from core.events import Artifact, Done, Event, Metric, Step, Table, dump
from core.labs.finetuning.export import run
from core.labs.finetuning.export_request import ExportKind, ExportRequest
from core.labs.finetuning.request import FinetuningRequest
from core.runtime.pool import ModelSpec
from core.runtime.run_context import RunContext
from tests.fakes_tuned import LABELS, VISITOR, Home, lora, prompt, with_adapter
from tests.hub_server import serving

TOKEN = "hf_writes_here"
STORIES = [f"Once upon a time there was a cat number {i} and a dog." for i in range(20)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.at(tmp_path)
    write_set(made, "stories", "language", [{"text": story} for story in STORIES])
    rows = [{"text": story, "label": LABELS[i % 3]} for i, story in enumerate(STORIES)]
    write_set(made, "moods", "classification", rows)
    return made


def write_set(home: Home, name: str, task: str, rows: list[dict[str, Any]]) -> None:
    folder = home.settings.assets / "datasets" / name
    folder.mkdir(parents=True)
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "README.md").write_text(f"---\ntitle: {name}\ntask: {task}\nlicense: MIT\nsize: {len(rows)}\n---\n")


def trained(home: Home, config: Any, base: str = "tiny", data: str = "stories", **card: Any) -> str:
    asked = FinetuningRequest(model=base, data=data, validation_share=0.3)
    name = home.tuned(config, base=base, run=home.new_run(asked.model_dump(mode="json")), data=data, **card)
    return name.removeprefix("tuned:")


def context(home: Home, visitor: str = VISITOR, secret: str | None = None) -> RunContext:
    writer = home.store.create("finetuning_export", visitor, {})
    writer.close()
    runs = home.settings.home / "runs"
    return RunContext(writer.id, visitor, runs / writer.id, secret=secret, store_folder=runs)


def events_of(home: Home, request: ExportRequest, given: RunContext | None = None) -> list[Event]:
    given = given or context(home)
    events = list(run(request, home.pool, given))
    for event in events:
        json.dumps(dump(event), allow_nan=False)
    assert isinstance(events[-1], Done)
    assert given.folder is not None
    for artifact in (event for event in events if isinstance(event, Artifact)):
        assert (given.folder / artifact.path).stat().st_size == artifact.bytes
    return events


def result_of(events: list[Event]) -> dict[str, Any]:
    last = events[-1]
    assert isinstance(last, Done)
    return last.result


def unpacked(events: list[Event], given: RunContext, target: Path) -> Path:
    artifact = next(event for event in events if isinstance(event, Artifact))
    assert given.folder is not None
    with zipfile.ZipFile(given.folder / artifact.path) as archive:
        archive.extractall(target)
    return target / artifact.name.removesuffix(".zip")


def test_a_download_is_the_model_with_its_card(home: Home, tmp_path: Path) -> None:
    given = context(home)
    events = events_of(home, ExportRequest(run=trained(home, lora()), kind=ExportKind.ZIP), given)
    assert isinstance(events[0], Step)
    assert events[0].values["kind"] == "zip"
    folder = unpacked(events, given, tmp_path / "out")
    assert (folder / "adapter_model.safetensors").is_file()
    card = (folder / "README.md").read_text()
    assert "LoRA on tiny" in card
    assert str(home.settings.home) not in card
    assert result_of(events)["files"][0]["bytes"] > 1000


def test_a_merge_comes_with_a_certificate_that_was_measured(home: Home, tmp_path: Path) -> None:
    given = context(home)
    events = events_of(home, ExportRequest(run=trained(home, lora()), kind=ExportKind.MERGE), given)
    certificate = result_of(events)["certificate"]
    assert certificate["passed"]
    assert certificate["rows"] == 6
    assert certificate["positions"] > 50
    assert 0 <= certificate["relative_delta"] < 1e-3
    assert certificate["metric"] == "perplexity"
    assert certificate["metric_before"] > 1
    table = next(event for event in events if isinstance(event, Table))
    assert table.name == "certificate"
    assert table.rows[0][3] == "pass"
    assert [event.value for event in events if isinstance(event, Metric)] == ["pass"]
    folder = unpacked(events, given, tmp_path / "out")
    assert json.loads((folder / "certificate.json").read_text()) == certificate
    assert "## Certificate" in (folder / "README.md").read_text()
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "adapter_config.json").exists()


def test_a_merge_that_went_wrong_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.training import merging

    def wrong(base: Any, tuned: Any, fresh: Any) -> Any:
        model = right(base, tuned, fresh)
        with torch.no_grad():
            model.model.layers[0].mlp.up_proj.weight.mul_(1.1)
        return model

    right = merging.merged_model
    monkeypatch.setattr(merging, "merged_model", wrong)
    events = events_of(home, ExportRequest(run=trained(home, lora()), kind=ExportKind.MERGE))
    assert not result_of(events)["certificate"]["passed"]
    assert any(event.kind == "warning" and "certificate fails" in event.text for event in events)
    assert [event.value for event in events if isinstance(event, Metric)] == ["fail"]


def test_a_graph_is_run_and_certified(home: Home, tmp_path: Path) -> None:
    given = context(home)
    events = events_of(home, ExportRequest(run=trained(home, prompt(), kind="prompt"), kind=ExportKind.ONNX), given)
    certificate = result_of(events)["certificate"]
    assert certificate["passed"], certificate["faults"]
    assert certificate["positions"] > 50
    folder = unpacked(events, given, tmp_path / "out")
    assert {path.name for path in folder.iterdir()} >= {"model.onnx", "config.json", "tokenizer.json", "README.md"}


def test_a_classifier_is_certified_by_its_accuracy(home: Home) -> None:
    spec = ModelSpec("tiny-bert", head="classification", labels=LABELS)
    asked = FinetuningRequest(model="tiny-bert", data="moods", task="classification", validation_share=0.3)
    with home.pool.lease(spec) as fresh:
        config = LoraConfig(r=4, target_modules=["query", "value"], task_type=TaskType.SEQ_CLS)
        model = with_adapter(fresh.model, config, 0.3, 4)
    card = {"task": "classification", "labels": list(LABELS), "data": "moods"}
    name = home.saved(model, "tiny-bert", run=home.new_run(asked.model_dump(mode="json")), **card)
    request = ExportRequest(run=name.removeprefix("tuned:"), kind=ExportKind.MERGE)
    certificate = result_of(events_of(home, request))["certificate"]
    assert certificate["passed"], certificate["faults"]
    assert certificate["metric"] == "accuracy"
    assert certificate["rows"] == certificate["positions"] > 0


def test_event_files_come_from_the_trainings_own_folder(home: Home) -> None:
    run_id = trained(home, lora())
    request = ExportRequest(run=run_id, kind=ExportKind.TENSORBOARD)
    with pytest.raises(NotFound):
        list(run(request, home.pool, context(home)))
    folder = home.settings.home / "runs" / run_id / "tensorboard"
    folder.mkdir()
    (folder / "events.out.tfevents.1").write_bytes(b"events")
    assert result_of(events_of(home, request))["kind"] == "tensorboard"


def test_what_cannot_be_made_is_refused_in_a_sentence(home: Home) -> None:
    prompted = trained(home, prompt(), kind="prompt")
    with pytest.raises(BadInput, match="cannot be merged"):
        list(run(ExportRequest(run=prompted, kind=ExportKind.MERGE), home.pool, context(home)))
    request = ExportRequest(run=prompted, kind=ExportKind.HUB, repo="ada/pirates")
    with pytest.raises(Unreachable, match="switched off"):
        list(run(request, home.pool, context(home, secret=TOKEN)))


@pytest.mark.parametrize("kind", list(ExportKind))
def test_a_stranger_exports_nothing(home: Home, kind: ExportKind) -> None:
    request = ExportRequest(run=trained(home, lora()), kind=kind, repo="eve/pirates")
    with pytest.raises(NotFound):
        list(run(request, home.pool, context(home, visitor="a stranger", secret=TOKEN)))


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # between the Hub's library and its client
def test_a_push_names_the_repository_and_never_the_token(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: False)
    home.pool.settings = home.settings.model_copy(update={"offline": False})
    request = ExportRequest(run=trained(home, lora()), kind=ExportKind.HUB, repo="ada/pirates")
    given = context(home, secret=TOKEN)
    with serving({}) as server:
        server.accounts[TOKEN] = "ada"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        events = events_of(home, request, given)
        assert result_of(events)["url"] == f"{server.url}/ada/pirates"
        assert server.repositories["ada/pirates"].private
        assert b"benchtop" in server.repositories["ada/pirates"].files["README.md"]
    assert TOKEN not in json.dumps([dump(event) for event in events])
    assert TOKEN not in request.model_dump_json()
    assert given.folder is not None
    assert not any(TOKEN.encode() in path.read_bytes() for path in given.folder.rglob("*") if path.is_file())


def test_a_request_names_a_run_and_for_a_push_a_repository() -> None:
    run_id = "0123456789abcdef"
    assert ExportRequest(run=run_id).kind is ExportKind.ZIP
    assert ExportRequest(run=run_id, kind=ExportKind.HUB, repo=" ada/pirates ").summary().startswith("Push to the Hub")
    for bad in ({"run": "../etc"}, {"run": run_id, "kind": "hub"}, {"run": run_id, "repo": "no repository"}):
        with pytest.raises(ValidationError):
            ExportRequest.model_validate(bad)
