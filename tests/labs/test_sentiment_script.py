"""The exported sentiment scripts give the run's numbers, hold nothing of Benchtop, and run nothing that was typed."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.labs.sentiment.request import SentimentRequest
from core.labs.sentiment.run import run, script
from core.runtime.run_context import RunContext
from core.services import Services
from tests.labs.sentiment_models import (
    LABELS,
    LIMIT,
    OWNER,
    VISITOR,
    events_of,
    labelled_file,
    result,
    steps,
    tiny_services,
    upload,
    words,
)

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with tiny_services(tmp_path_factory.mktemp("sentiment")) as made:
        yield made


def written(services: Services, **fields: Any) -> str:
    request = SentimentRequest.model_validate({"model": "tiny", **fields})
    text = script(request, services.pool, services.catalog, owner=OWNER)
    ast.parse(text)
    assert "core." not in text
    assert "benchtop" not in text.lower()
    return text


def said(services: Services, **fields: Any) -> list[dict[str, Any]]:
    """Run a script in this process: its JSON lines."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(written(services, **fields), "script", "exec"), {"__name__": "__main__"})  # noqa: S102
    return [json.loads(line) for line in printed.getvalue().splitlines() if line.startswith("{")]


def labels_of(events: Any) -> list[tuple[str, list[float]]]:
    return [(LABELS[row["label"]], row["p"]) for one in steps(events, "rows") for row in one["rows"]]


def same(found: list[dict[str, Any]], expected: list[tuple[str, list[float]]]) -> None:
    assert [one["label"] for one in found] == [label for label, _ in expected]
    assert [one["p"] for one in found] == [pytest.approx(p, abs=1e-5) for _, p in expected]


@pytest.mark.parametrize(
    "fields",
    [
        {"text": f"the cat \"'\n{{sea}} \\n\n{words(3 * LIMIT, 2)}\n"},
        {"text": words(3 * LIMIT, 2), "long": "truncate"},
        {"text": "a\nb cat", "pair": "the dog\nsea"},
    ],
)
def test_labels(services: Services, fields: dict[str, Any]) -> None:
    same(said(services, **fields), labels_of(events_of(services, **fields)))


def test_labels_of_files(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "".join(f"{i};{words(1 + i % 5, i)}\n" for i in range(30)) + "30;\n"
    files = {
        "a.csv": ("id;Review\n" + lines).encode() + "31;caf\xe9 cat\n".encode("latin-1"),
        "b.jsonl": b'{"sentence1": "a cat", "sentence2": "the sea"}\n{"sentence1": "b", "sentence2": "c"}\n',
        "c.txt": b"the cat\nsailed\n\na dog\n",
    }
    for name, content in files.items():
        data = upload(services, tmp_path, name, content)
        same(said(services, data=data, rows=20), labels_of(events_of(services, data=data, rows=20)))


def test_evaluations(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for labels in (LABELS, ("neg", "neutral", "pos"), ("1", "0")):
        data = labelled_file(services, tmp_path, 40, labels)
        values = steps(events_of(services, mode="evaluate", data=data, rows=30), "evaluation")[0]
        found = said(services, mode="evaluate", data=data, rows=30)[-1]
        assert found["n"] == values["n"]
        assert found["accuracy"] == pytest.approx(values["report"]["accuracy"])
        assert found["f1"] == pytest.approx(values["report"]["macro"]["f1"])
        assert found["roc_auc"] == pytest.approx(values["roc"]["area"], abs=1e-4)
        assert found["average_precision"] == pytest.approx(values["pr"]["area"], abs=1e-4)


def test_comparisons(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fields = {"mode": "compare", "data": labelled_file(services, tmp_path, 60), "models": ("tiny", "probe", "other")}
    values = steps(events_of(services, **fields), "comparison")[0]
    found = said(services, **fields)
    assert [(one["model"], one["accuracy"]) for one in found[:3]] == [
        (one["name"], pytest.approx(one["accuracy"])) for one in values["models"]
    ]
    assert [one["p_value"] for one in found[3:]] == [pytest.approx(one["p_value"]) for one in values["pairs"]]


def test_explanations(services: Services) -> None:
    fields = {"mode": "explain", "text": "the sad cat sailed\nhappy dog", "steps": 8}
    values = steps(events_of(services, **fields), "attribution")
    expected = [method for one in values for method in one["methods"]]
    found = said(services, **fields)
    assert [one["method"] for one in found] == [one["name"] for one in expected]
    for one, method in zip(found, expected, strict=True):
        assert one["words"] == method["words"]
        assert one["scores"] == pytest.approx(method["scores"], abs=1e-4)


def test_versions_and_groups(services: Services) -> None:
    fields = {"mode": "whatif", "text": "Anna said that he is not happy.", "edited": "Anna said: he is sad."}
    variants = steps(events_of(services, **fields), "variant")
    found = said(services, **fields)
    assert [one["text"] for one in found] == [one["text"] for one in variants]
    assert [one["p"] for one in found] == [pytest.approx(one["p"], abs=1e-5) for one in variants]
    probe = {"mode": "bias", "templates": ("{name} saw the cat.",)}
    groups = steps(events_of(services, **probe), "group")
    means = {one["group"]: one["mean"] for one in said(services, **probe)}
    assert means == {one["group"]: pytest.approx(one["mean"], abs=1e-5) for one in groups}


def test_a_script_of_the_bundled_head_runs_on_its_own(services: Services, tmp_path: Path) -> None:
    request = SentimentRequest(text="What a lovely film.\nNever again!")
    path = tmp_path / "sentiment.py"
    path.write_text(script(request, services.pool, services.catalog), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    events = list(run(request, services.pool, RunContext("run", VISITOR)))
    assert [one["label"] for one in found] == [one["label"] for one in result(events)["predictions"]]
    same(found, labels_of(events))
