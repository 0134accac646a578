"""Strategies runs to their end: equal terms, what each input changes, presets that show what they say, the script."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.events import Done, Event, Step, Table, dump
from core.labs.strategies import presets
from core.labs.strategies.request import Model, StrategiesRequest, Strategy
from core.labs.strategies.run import run
from core.labs.strategies.script import script
from core.runtime.run_context import RunContext
from core.services import Services
from core.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = {
    "glad": ("what a sunny day", "we laughed", "great cake", "she danced with us all the evening", "hooray"),
    "sad": ("I lost my dog", "the letter hurt", "he sat alone", "nobody came to see my grandmother", "farewell"),
}  # fmt: skip
OWN = tuple(f"{label}: {text}" for label, some in WORDS.items() for text in some)
SMALL: dict[str, Any] = {"examples": 60, "budget": 2, "batch_size": 8, "data": "moons"}
TEXTS: dict[str, Any] = {"texts": OWN, "models": ("bag", "cnn"), "strategies": ("mini",), "batch_size": 2, "budget": 4}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    made = Services(Settings(home=tmp_path_factory.mktemp("home"), offline=True))
    yield made
    made.close()


def events_of(services: Services | None, **fields: Any) -> list[Event]:
    request = StrategiesRequest.model_validate(fields)
    pool: Any = services.pool if services else None  # tables need no model
    return list(run(request, pool, RunContext("run", "visitor")))


def steps(events: list[Event], name: str, column: int | None = None) -> list[Step]:
    found = [e for e in events if isinstance(e, Step) and e.name == name]
    return [e for e in found if column is None or e.column == column]


def results(events: list[Event]) -> list[dict[str, Any]]:
    assert isinstance(events[-1], Done)
    columns: list[dict[str, Any]] = events[-1].result["columns"]
    return columns


def told(events: list[Event]) -> Any:
    """Everything that a run says, without the clock."""
    kept = [dump(event) for event in events if event.kind != "progress"]
    text = json.dumps(kept)
    for event in kept:
        for values in (event.get("values"), *(event.get("result") or {}).get("columns", ())):
            if isinstance(values, dict):
                values.pop("seconds", None)
        if event["kind"] == "table":
            place = event["columns"].index("seconds")
            event["rows"] = [[cell for i, cell in enumerate(row) if i != place] for row in event["rows"]]
    assert "NaN" not in text
    return kept


def test_all_strategies_begin_alike_and_spend_the_same() -> None:
    events = events_of(None, **SMALL, models=("logistic", "mlp"), strategies=("full", "mini", "single", "accumulated"))
    start = steps(events, "start")[0].values
    assert [column["batch"] for column in start["columns"][:4]] == [60, 8, 1, 8]
    assert start["data"]["Two moons"]["train"] == 60
    for model in range(2):
        firsts = [steps(events, "point", 4 * model + i)[0].values for i in range(4)]
        assert len({first["loss"] for first in firsts}) == 1
    assert {result["examples"] for result in results(events)} == {120}
    assert [result["steps"] for result in results(events)[:4]] == [2, 16, 120, 16]
    assert {result["reason"] for result in results(events)} == {"budget spent"}
    for column in range(8):
        point = steps(events, "point", column)[-1].values
        assert {"epoch", "examples", "seconds", "loss", "accuracy", "validation_loss"} <= set(point)
        assert steps(events, "noise", column)
        frame = steps(events, "boundary", column)[-1].values
        assert len(frame["grid"]) == start["toy"]["side"] ** 2
    table = next(e for e in events if isinstance(e, Table))
    assert [row[0] for row in table.rows] == [column["title"] for column in start["columns"]]
    for result in results(events):
        assert sum(map(sum, result["confusion"])) == 400
        hits = sum(row[i] for i, row in enumerate(result["confusion"]))
        assert result["test_accuracy"] == pytest.approx(hits / 400, abs=1e-6)


def test_accumulation_is_shown_equal_to_the_large_batch() -> None:
    events = events_of(None, **SMALL, strategies=("mini", "accumulated"), micro_batches=4)
    check = steps(events, "accumulation")[0].values
    assert check["relative"] < 1e-5
    assert check["weights"] < 1e-5
    assert (check["batch"], check["parts"], check["steps"]) == (8, 4, 16)
    mini, accumulated = results(events)
    assert accumulated["test_loss"] == pytest.approx(mini["test_loss"], abs=1e-5)
    assert accumulated["memory"]["activations"] < mini["memory"]["activations"]


def test_a_run_says_the_same_again() -> None:
    fields = {**SMALL, "strategies": ("mini", "single"), "dropout": 0.2, "optimizer": "adam"}
    assert told(events_of(None, **fields)) == told(events_of(None, **fields))


@pytest.mark.parametrize(
    ("field", "value", "base"),
    [
        ("models", ("logistic",), {}),
        ("data", "circles", {}),
        ("strategies", ("single",), {}),
        ("batch_size", 16, {}),
        ("micro_batches", 2, {"strategies": ("accumulated",)}),
        ("budget_kind", "steps", {}),
        ("budget", 3, {}),
        ("optimizer", "rmsprop", {}),
        ("learning_rate", 0.2, {}),
        ("scaling", "sqrt", {}),
        ("momentum", 0.5, {"optimizer": "momentum"}),
        ("schedule", "cosine", {}),
        ("warmup", 0.5, {}),
        ("weight_decay", 0.1, {}),
        ("l1", 0.05, {}),
        ("dropout", 0.5, {}),
        ("patience", 2, {"budget": 60, "learning_rate": 2.0}),
        ("examples", 70, {}),
        ("noise", 0.4, {}),
        ("label_noise", 0.3, {}),
        ("hidden", 8, {}),
        ("layers", 2, {}),
        ("sampling", "replacement", {}),
        ("seed", 8, {}),
    ],
)
def test_every_input_changes_the_run(field: str, value: Any, base: dict[str, Any]) -> None:
    fields = {**SMALL, "strategies": ("mini",), **base}
    assert told(events_of(None, **{**fields, field: value})) != told(events_of(None, **fields))


def test_the_inputs_of_texts_change_the_run_too(services: Services) -> None:
    plain = told(events_of(services, **TEXTS))
    changes: dict[str, Any] = {"embedding": 8, "padding": "grouped", "texts": (*OWN, "glad: one more")}
    for field, value in changes.items():
        assert told(events_of(services, **{**TEXTS, field: value})) != plain, field
    tested = {"models", "data", "strategies", "batch_size", "micro_batches", "budget_kind", "budget", "optimizer"}
    tested |= {
        "learning_rate",
        "scaling",
        "momentum",
        "schedule",
        "warmup",
        "weight_decay",
        "l1",
        "dropout",
        "patience",
    }
    tested |= {"patience", "examples", "noise", "label_noise", "hidden", "layers", "sampling", "seed", *changes}
    assert tested == set(StrategiesRequest.model_fields)


def test_five_models_in_one_run_each_on_its_own_data(services: Services) -> None:
    events = events_of(services, **{**TEXTS, "models": tuple(Model), "data": "digits", "examples": 40})
    start = steps(events, "start")[0].values
    assert [column["model"] for column in start["columns"]] == list(Model)
    assert [len(column["classes"]) for column in start["columns"]] == [10, 10, 2, 2, 2]
    assert set(start["data"]) == {"Handwritten digits", "Your own texts"}
    found = results(events)
    assert [result["padding"] is None for result in found] == [True, True, False, False, True]
    pipeline = steps(events, "pipeline")[0].values
    waste = {entry["name"]: 1 - entry["tokens"] / entry["cells"] for entry in pipeline["waste"]}
    assert found[2]["padding"] == pytest.approx(waste["dynamic"], abs=0.25)  # over several epochs' batches
    assert waste["static"] > waste["dynamic"] >= waste["grouped"]
    assert steps(events, "pixels")[0].values["features"] == 64


def test_the_bundled_feelings_are_learned_best_through_the_encoder(services: Services) -> None:
    events = events_of(services, **presets.TEXTS.model_copy(update={"budget": 6.0}).model_dump(mode="json"))
    bag, cnn, probe = results(events)
    assert probe["test_accuracy"] > 0.5  # four labels: chance is a quarter
    assert probe["test_accuracy"] > max(bag["test_accuracy"], cnn["test_accuracy"])


def test_overfitting_and_underfitting_show_on_their_presets() -> None:
    events = events_of(None, **presets.OVERFITTING.model_dump(mode="json"))
    assert [step.values["name"] for step in steps(events, "reading")] == ["overfitting"]
    losses = [step.values["validation_loss"] for step in steps(events, "point")]
    assert losses[-1] > 1.2 * min(losses)
    assert results(events)[0]["train_accuracy"] > 0.97
    early = events_of(None, **presets.EARLY.model_dump(mode="json"))
    assert results(early)[0]["reason"] == "early stop"
    assert results(early)[0]["test_loss"] < results(events)[0]["test_loss"]
    assert results(early)[0]["best_step"] < results(early)[0]["steps"]

    events = events_of(None, **presets.UNDERFITTING.model_dump(mode="json"))
    said = {step.column: step.values["name"] for step in steps(events, "reading")}
    assert said[0] == "underfitting"
    assert said.get(1) != "underfitting"
    logistic, network = results(events)
    assert logistic["train_accuracy"] < 0.75
    assert network["test_accuracy"] > 0.9


def test_a_rate_that_is_too_large_diverges_in_a_sentence() -> None:
    events = events_of(None, **{**SMALL, "budget": 60, "learning_rate": 10, "strategies": ("mini",), "layers": 3})
    assert results(events)[0]["reason"] == "diverged"
    assert steps(events, "reading")[-1].values["name"] == "diverged"


def test_a_warning_says_where_accumulation_is_not_equal() -> None:
    events = events_of(None, **SMALL, strategies=("mini", "accumulated"), dropout=0.5)
    assert any(event.kind == "warning" and "dropout" in event.text for event in events)


def test_a_stopped_run_keeps_what_it_has() -> None:
    context = RunContext("run", "visitor")
    request = StrategiesRequest.model_validate({**SMALL, "budget": 400})
    seen: list[Event] = []
    for event in run(request, None, context):  # type: ignore[arg-type]
        seen.append(event)
        if len(steps(seen, "point", 2)) == 3:
            context.cancel()
    assert isinstance(seen[-1], Done)
    assert seen[-1].reason == "stopped"
    assert results(seen)[2]["reason"] == "stopped"
    assert 0 < results(seen)[2]["steps"] < 20_000


def test_missing_texts_are_a_sentence(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.errors import NotFound
    from core.labs.strategies import material

    monkeypatch.setattr(material, "FEELINGS", Path("/nowhere/data.jsonl"))
    with pytest.raises(NotFound, match="bundled texts are missing"):
        events_of(services, models=("bag",))
    assert not issubclass(NotFound, BadInput)


@pytest.mark.parametrize(
    "fields",
    [
        {**SMALL, "models": ("logistic", "mlp"), "dropout": 0.2, "patience": 3, "label_noise": 0.1, "l1": 0.001},
        {**SMALL, "data": "digits", "strategies": tuple(Strategy), "optimizer": "adamw", "schedule": "cosine",
         "weight_decay": 0.05, "warmup": 0.1, "sampling": "replacement"},
        {**TEXTS, "models": ("bag", "cnn", "probe"), "strategies": ("mini", "accumulated"), "padding": "grouped"},
    ],
)  # fmt: skip
def test_the_script_ends_with_the_same_numbers(services: Services, tmp_path: Path, fields: dict[str, Any]) -> None:
    request = StrategiesRequest.model_validate(fields)
    text = script(request, services.pool, services.catalog)
    assert "benchtop" not in text.lower()
    assert "from core" not in text
    (tmp_path / "run.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py")], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    printed = {line["title"]: line for line in map(json.loads, done.stdout.splitlines())}
    expected = results(events_of(services, **fields))
    assert len(printed) == len(expected)
    for result in expected:
        line = printed[result["title"]]
        assert line["steps"] == result["steps"]
        for name in ("test_loss", "test_accuracy", "f1"):
            assert line[name] == pytest.approx(result[name], rel=1e-4, abs=1e-5), (result["title"], name)


def test_what_a_visitor_typed_is_only_a_literal_in_the_script() -> None:
    own = tuple(f'{label}: """ {i} \\ {{x}} @SOURCE@' for label in ("a'", 'b"') for i in range(5))
    text = script(StrategiesRequest(texts=own, models=(Model.BAG,)))
    compile(text, "script", "exec")
    assert repr(StrategiesRequest(texts=own).own()[0][0]) in text
