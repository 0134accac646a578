"""Comparing runs from their records, and the grid of a sweep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import BadInput
from core.labs.finetuning.compare import POINTS, ComparedRun, compare, titles
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.sweep import MOST_RUNS, effective, sweep, values_of
from core.training.parameters import Method


def step(name: str, index: int, **values: Any) -> dict[str, Any]:
    return {"kind": "step", "name": name, "index": index, "values": values}


def run(
    identity: str,
    trained: int,
    losses: list[float],
    evals: list[float],
    last: dict[str, Any] | None = None,
    **fields: Any,
) -> ComparedRun:
    request = FinetuningRequest(**fields).model_dump(mode="json")
    records = [step("start", 0, parameters_trained=trained, parameters_total=1000, method=request["method"])]
    records += [
        step("train", i, loss=loss, epoch=i / 10, tokens=100 * i, seconds=i / 2) for i, loss in enumerate(losses, 1)
    ]
    records += [step("eval", 2 * i, loss=loss, epoch=i / 5, tokens=200 * i) for i, loss in enumerate(evals, 1)]
    return ComparedRun(identity, request, [*records, *([last] if last else [])])


DONE = {"kind": "done", "reason": "finished", "result": {"steps": 4, "loss": 1.5, "eval_loss": 2.25}}


def test_the_table_holds_the_runs_own_results() -> None:
    runs = [run("a", 40, [3.0, 2.0, 1.8, 1.6], [2.5, 2.3], DONE, r=4), run("b", 80, [3.0], [], r=8)]
    found = compare(runs)
    assert found["ids"] == ["a", "b"]
    first, second = (dict(zip(found["columns"], row, strict=True)) for row in found["rows"])
    assert first == {
        "Run": "LoRA · r 4", "Method": "LoRA", "Trained parameters": 40, "Trained, %": 4.0, "Steps": 4,
        "Training loss": 1.5, "Evaluation loss": 2.25, "Accuracy": None, "Time, s": 2.0, "State": "finished",
    }  # fmt: skip
    assert second["State"] == "running"
    assert (second["Training loss"], second["Evaluation loss"]) == (3.0, None)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("axis", "xs"), [("step", [1, 2]), ("epoch", [0.1, 0.2]), ("tokens", [100, 200]), ("seconds", [0.5, 1.0])]
)
def test_curves_on_each_axis(axis: Any, xs: list[float]) -> None:
    figure = compare([run("a", 4, [3.0, 2.0], [2.5])], axis)["figures"]["train"]
    assert figure["traces"][0]["x"] == xs
    assert figure["traces"][0]["y"] == [3.0, 2.0]


def test_a_point_without_its_number_is_left_out() -> None:
    runs = [run("a", 4, [3.0, 2.0, 1.0], [])]
    del runs[0].records[2]["values"]["loss"]  # type: ignore[attr-defined]
    trace = compare(runs)["figures"]["train"]["traces"][0]
    assert (trace["x"], trace["y"]) == ([1, 3], [3.0, 1.0])
    assert compare(runs, "seconds")["figures"]["eval"]["traces"][0]["x"] == []


def test_a_resumed_runs_copied_points_count_once() -> None:
    doubled = run("a", 4, [3.0, 2.0], [])
    again = ComparedRun("a", doubled.request, [*doubled.records, step("train", 2, loss=1.9)])
    assert compare([again])["figures"]["train"]["traces"][0]["y"] == [3.0, 1.9]


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    trace = compare([run("a", 4, [1.0 / i for i in range(1, 3002)], [])])["figures"]["train"]["traces"][0]
    assert len(trace["x"]) <= POINTS + 1
    assert (trace["x"][0], trace["x"][-1]) == (1, 3001)


def test_score_over_trained_parameters() -> None:
    runs = [
        run("a", 80, [1.0], [2.0], r=8), run("b", 20, [1.0], [2.4], r=2),
        run("c", 1000, [1.0], [1.9], method="full"), run("d", 5, [1.0], [], method="prompt"),
    ]  # fmt: skip
    figure = compare(runs)["figures"]["score"]
    lora, full = figure["traces"]
    assert (lora["name"], lora["x"], lora["y"], lora["mode"]) == ("LoRA", [20, 80], [2.4, 2.0], "lines+markers")
    assert lora["text"] == ["LoRA · r 2", "LoRA · r 8"]
    assert (full["name"], full["x"], full["mode"]) == ("Full fine-tuning", [1000], "markers")
    assert figure["x"]["log"]
    assert figure["y"]["title"] == "Evaluation loss, nats"


def test_classification_is_scored_by_accuracy_when_all_have_it() -> None:
    done = {"kind": "done", "reason": "finished", "result": {"accuracy": 0.9, "eval_loss": 0.3}}
    both = [
        run(name, 10, [1.0], [0.4], done, task="classification", method=method)
        for name, method in (("a", "lora"), ("b", "probe"))
    ]
    figure = compare(both)["figures"]["score"]
    assert figure["y"]["title"] == "Accuracy"
    assert [trace["y"] for trace in figure["traces"]] == [[0.9], [0.9]]
    mixed = compare([*both, run("c", 10, [1.0], [0.4])])["figures"]["score"]
    assert mixed["y"]["title"] == "Evaluation loss, nats"


def test_failed_and_empty_runs_have_a_line() -> None:
    failed = run("a", 4, [], [], {"kind": "failed", "error": "OutOfMemory", "what": "x"})
    found = compare([failed, ComparedRun("b", {}, [])])
    assert [row[-1] for row in found["rows"]] == ["failed", "running"]
    assert compare([])["rows"] == []


def test_titles_tell_apart() -> None:
    plain = FinetuningRequest().model_dump(mode="json")
    assert titles([plain, plain]) == ["LoRA (1)", "LoRA (2)"]
    other = {**plain, "method": "prompt", "virtual_tokens": 8, "learning_rate": 0.05, "r": 3}
    assert titles([plain, other]) == ["LoRA · r 8 · lr 0.002", "Prompt tuning · virtual tokens 8 · lr 0.05"]
    modules = {**plain, "target_modules": ["q_proj", "v_proj"]}
    assert titles([plain, modules]) == ["LoRA · all linear", "LoRA · q_proj v_proj"]


def test_a_grid_over_two_fields() -> None:
    base = FinetuningRequest(max_steps=5, resume="0123456789abcdef")
    runs = sweep(base, {"r": [2, 8], "learning_rate": ["1e-3", "3e-3"]})
    assert [(one.r, one.learning_rate) for one in runs] == [(2, 1e-3), (2, 3e-3), (8, 1e-3), (8, 3e-3)]
    assert len({one.group for one in runs}) == 1
    assert runs[0].group
    assert {(one.max_steps, one.resume) for one in runs} == {(5, "")}
    assert sweep(base, {"r": [1]}, "g")[0].group == "g"


def test_ranks_are_not_repeated_where_nothing_has_a_rank() -> None:
    runs = sweep(FinetuningRequest(), {"method": ["full", "lora", "prompt"], "r": [2, 8, 32]})
    assert [(one.method, one.r) for one in runs] == [
        (Method.FULL, 2), (Method.LORA, 2), (Method.LORA, 8), (Method.LORA, 32), (Method.PROMPT, 2),
    ]  # fmt: skip
    assert effective(runs[0]).r == FinetuningRequest().r


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "one or 2 fields"),
        ({"r": [1], "seed": [1], "epochs": [1]}, "one or 2 fields"),
        ({"prompts": ["x"]}, "nothing that a sweep changes"),
        ({"r": []}, "no values"),
        ({"r": ["many"]}, "Rank r: "),
        ({"r": [0, 8]}, "Rank r: "),
        ({"method": ["probe"]}, "linear probe"),
        ({"r": list(range(1, MOST_RUNS + 2))}, "12 is the most"),
    ],
)
def test_sweeps_that_are_refused(fields: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        sweep(FinetuningRequest(), fields)


def test_values_as_they_are_typed() -> None:
    assert values_of("r", "4, 8,\n16, 8,") == ["4", "8", "16"]
    assert values_of("target_modules", "q_proj v_proj, all") == [("q_proj", "v_proj"), ()]
    assert values_of("method", "LoRA, Full fine-tuning, dora") == ["lora", "full", "dora"]
    runs = sweep(FinetuningRequest(), {"target_modules": values_of("target_modules", "q_proj v_proj, all")})
    assert [one.target_modules for one in runs] == [("q_proj", "v_proj"), ()]
