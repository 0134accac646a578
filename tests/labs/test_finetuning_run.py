"""A fine-tuning run from request to model, without a worker: data, lease, training, resuming, refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import BadInput, NotFound
from core.events import Event, Step
from core.events import Warning as Note
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.run import run
from core.runtime.run_context import RunContext
from core.services import Services
from core.settings import Settings
from core.training.parameters import Method, Task
from tests.training.tiny_models import folder_of

SHORT = {"max_steps": 4, "batch_size": 4, "eval_steps": 2, "save_steps": 2, "max_length": 64}
ROWS = [
    {"text": f"the {size} {animal} slept", "label": animal}
    for size in ("big", "small", "red") * 5
    for animal in ("cat", "dog")
]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny models, which the environment names as a root."""
    root = tmp_path / "models"
    for family in ("llama", "bert"):
        shutil.copytree(folder_of(family), root / family)
    monkeypatch.setenv("BENCHTOP_MODEL_ROOTS", str(root))
    monkeypatch.setenv("BENCHTOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCHTOP_OFFLINE", "true")
    return root


@pytest.fixture
def services(models: Path) -> Iterator[Services]:
    services = Services(Settings.from_environment())
    yield services
    services.close()


def train(services: Services, request: FinetuningRequest, visitor: str = "anna") -> tuple[str, list[Event]]:
    """Run a request to its end on a thread of the runner, as a worker does in its process."""

    def body(context: RunContext) -> Iterator[Event]:
        for event in run(request, services.pool, context):
            events.append(event)
            yield event

    events: list[Event] = []
    log = services.runner.start("finetuning", visitor, request, body, kind="job")
    assert log.wait_finished(120)
    last = log.last
    assert last is not None
    if last["kind"] == "failed":
        raise AssertionError(f"{last['error']}: {last['what']} {last['todo']}")
    return log.id, events


def test_the_bundled_model_learns_from_the_bundled_rows(services: Services) -> None:
    run_id, events = train(services, FinetuningRequest(**SHORT))
    start = next(event for event in events if isinstance(event, Step) and event.name == "start").values
    assert (start["model"], start["data"], start["method"]) == ("story-lm", "pirate-stories", "lora")
    assert start["title"] == "LoRA · story-lm · pirate-stories"
    assert start["plan"]["weights"] > 0
    losses = [event.values["loss"] for event in events if isinstance(event, Step) and event.name == "train"]
    assert len(losses) == 4
    card = json.loads((services.settings.home / "runs" / run_id / "model" / "benchtop.json").read_text())
    assert card["base"] == "story-lm"


def test_a_visitors_own_file_trains_an_encoder(services: Services, models: Path, tmp_path: Path) -> None:
    from core.runtime.runs import owner_of

    file = tmp_path / "animals.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    name = services.uploads.add(file, owner_of("anna"))
    request = FinetuningRequest(
        task=Task.CLASSIFICATION, method=Method.PROBE, model=str(models / "bert"), data=name, **SHORT
    )
    _, events = train(services, request)
    start = next(event for event in events if isinstance(event, Step) and event.name == "start").values
    assert start["labels"] == ["cat", "dog"]
    assert start["parameters_trained"] == 2 * 32 + 2
    with pytest.raises(AssertionError, match="NotFound"):
        train(services, request, "somebody else")


CONLL = (
    b"-DOCSTART- -X- O\r\n\r\n# text = the cat saw the sea\r\n" + b"the DT O\r\ncat NN I-ANIMAL\r\nsaw\tVB\tO\r\n"
    b"the DT O\r\nsea NN I-PLACE\r\n  \r\nna\xefve JJ O\r\ndog NN I-ANIMAL\r\ncat NN B-ANIMAL\r\n\r\n"
) * 6


def test_a_visitors_own_file_of_tagged_words_trains_an_encoder(
    services: Services, models: Path, tmp_path: Path
) -> None:
    from core.runtime.runs import owner_of

    file = tmp_path / "words.iob2"
    file.write_bytes(CONLL)
    name = services.uploads.add(file, owner_of("anna"))
    request = FinetuningRequest(task=Task.TOKENS, label_all_tokens=True, model=str(models / "bert"), data=name, **SHORT)
    _, events = train(services, request)
    start = next(event for event in events if isinstance(event, Step) and event.name == "start").values
    assert start["labels"] == ["O", "B-ANIMAL", "B-PLACE"]
    said = " ".join(event.text for event in events if isinstance(event, Note))
    assert "6 lines are not UTF-8 and read as Windows-1252, first line 10" in said
    assert "6 lines part their columns by tabs and 42 by spaces" in said
    assert "The tags are IOB1, where an entity begins with I-: 18 of them became B-" in said


def test_a_run_goes_on_from_an_earlier_one_of_the_same_visitor(services: Services, models: Path) -> None:
    request = FinetuningRequest(model=str(models / "llama"), **SHORT)
    earlier, _ = train(services, request)
    longer = request.model_copy(update={"max_steps": 7, "resume": earlier})
    _, events = train(services, longer)
    start = next(event for event in events if isinstance(event, Step) and event.name == "start").values
    assert start["resumed"] == {"run": earlier, "step": 4}
    steps = [event.index for event in events if isinstance(event, Step) and event.name == "train"]
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(AssertionError, match="NotFound"):
        train(services, longer, "somebody else")
    with pytest.raises(AssertionError, match="Rank r is not what the run was started with"):
        train(services, longer.model_copy(update={"r": 4}))


@pytest.mark.parametrize(
    ("family", "given", "sentence"),
    [
        ("bert", {}, "is an encoder: it reads text and writes none"),
        ("llama", {"packing": True, "max_length": 512}, "reads at most 128 tokens"),
        ("llama", {"target_modules": ("query",)}, "no module named query"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    family: str, given: dict[str, object], sentence: str, services: Services, models: Path
) -> None:
    request = FinetuningRequest(**{**SHORT, "model": str(models / family), **given})
    context = RunContext("0123456789abcdef", "anna", services.settings.home / "none")
    with pytest.raises(BadInput, match=sentence):
        list(run(request, services.pool, context))


def test_uploads_of_nobody_are_not_found(services: Services) -> None:
    context = RunContext("0123456789abcdef", "anna", services.settings.home / "none")
    with pytest.raises(NotFound):
        list(run(FinetuningRequest(data="upload:0123456789abcdef"), services.pool, context))


def test_the_module_loads_nothing_heavy() -> None:
    script = (
        "import sys, core.labs.finetuning.run\n"
        "sys.exit(str({'torch', 'transformers', 'trl', 'peft', 'datasets', 'pandas'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
