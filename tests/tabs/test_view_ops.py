"""View operations: Python's application, and that the browser's twin does the same."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tabs.widgets import view_ops
from tabs.widgets.view_ops import apply, push, put, view_model

OPS = [
    put("status", value="running"),
    put("columns", 0, "title", value="Greedy"),
    put("columns", 0, "tokens", value=[]),
    push("columns", 0, "tokens", value={"t": " was"}),
    push("columns", 0, "tokens", value={"t": "</script>"}),
    put("columns", 1, "beam", "steps", 0, "nodes", value=[1]),
    push("columns", 1, "beam", "steps", 0, "nodes", value=2),
    push("warnings", value="first"),
    put("columns", 0, "tokens", 1, "t", value="b"),
    put("error", value=None),
]
RESULT = {
    "status": "running",
    "columns": [
        {"title": "Greedy", "tokens": [{"t": " was"}, {"t": "b"}]},
        {"beam": {"steps": [{"nodes": [1, 2]}]}},
    ],
    "warnings": ["first"],
    "error": None,
}


def fresh() -> list[dict]:
    return json.loads(json.dumps(OPS))


def test_sets_and_pushes_build_the_model():
    assert apply({}, fresh()) == RESULT


def test_batching_makes_no_difference():
    model: dict = {}
    for op in fresh():
        model = apply(model, [op])
    assert model == RESULT


def test_the_empty_path_replaces_everything():
    assert apply({"old": 1}, [put(value={"new": 2}), put("more", value=3)]) == {"new": 2, "more": 3}


def test_a_gap_in_a_list_is_refused():
    with pytest.raises(IndexError):
        apply({"tokens": []}, [put("tokens", 3, value="x")])


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="not a view operation"):
        apply({}, [{"delete": ["a"]}])


def test_view_model_shows_the_reducer_what_is_there_so_far():
    def reduce(model, record):
        return [put("seen", value=model.get("seen", 0) + 1), push("kinds", value=record["kind"])]

    records = [{"seq": n, "kind": "token"} for n in range(3)]
    assert view_model(reduce, records) == {"seen": 3, "kinds": ["token"] * 3}


def test_growing_the_model_leaves_operations_and_records_alone():
    record = {"nodes": [1]}
    ops = [put("nodes", value=record["nodes"]), push("nodes", value=2)]
    assert apply({}, ops) == {"nodes": [1, 2]}
    assert record == {"nodes": [1]}


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here; the browser tests cover the same code")
def test_the_browsers_twin_agrees():
    script = f"{view_ops.JS}\nconsole.log(JSON.stringify(applyOps({{}}, {json.dumps(OPS)})))"
    out = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == RESULT
