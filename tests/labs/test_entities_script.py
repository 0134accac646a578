"""The exported entities scripts find what the run finds, hold nothing of Benchtop, and run nothing that was typed."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import NotFound
from core.events import Done, Step
from core.labs.entities.choices import DOCUMENTS
from core.labs.entities.request import EntitiesRequest
from core.labs.entities.run import run, script
from core.runtime.run_context import RunContext
from core.runtime.runs import owner_of
from core.services import Services
from core.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
VISITOR = "visitor"
TEXT = "Angela Merkel flew from Berlin to Antananarivo with Thyssenkrupp. \U0001f642 In Paris she met Krzysztof."
HOSTILE = 'Ada """ \' \\ {x} + __import__("os") </script>'


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    made = Services(Settings(home=tmp_path_factory.mktemp("home"), offline=True))
    yield made
    made.close()


def written(services: Services, request: EntitiesRequest) -> str:
    text = script(request, services.pool, services.catalog, owner=owner_of(VISITOR))
    assert "benchtop" not in text.lower()
    assert "from core" not in text
    return text


def said(text: str) -> list[Any]:
    """Run a script in this process, in the repository's folder: its lines."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.chdir(REPOSITORY):
        exec(compile(text, "script", "exec"), {"__name__": "__main__"})  # noqa: S102 - what is tested
    return [json.loads(line) for line in printed.getvalue().splitlines() if line.startswith("{")]


def run_of(services: Services, request: EntitiesRequest) -> dict[str, dict[str, Any]]:
    events = list(run(request, services.pool, RunContext("run", VISITOR, uploads=services.uploads)))
    assert isinstance(events[-1], Done)
    found = {f"{event.name} {event.index}": event.values for event in events if isinstance(event, Step)}
    return {**found, "result": events[-1].result}


def alike(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    same = all(found[name] == expected[name] for name in ("start", "end", "type"))
    return same and found["score"] == pytest.approx(expected["score"], abs=2e-4)


@pytest.mark.parametrize("aggregation", ["simple", "first"])
def test_found_entities(services: Services, aggregation: str) -> None:
    request = EntitiesRequest(text=TEXT, aggregation=aggregation, minimum_score=0.3)
    (line,) = said(written(services, request))
    expected = run_of(services, request)["document 0"]["entities"]
    assert line["document"] == "Your text"
    assert len(line["entities"]) == len(expected)
    assert all(map(alike, line["entities"], expected))


def test_five_ways(services: Services) -> None:
    request = EntitiesRequest(mode="strategies", text=TEXT)
    lines = {line["strategy"]: line["entities"] for line in said(written(services, request))}
    for way in run_of(services, request)["strategies 0"]["results"]:
        mine = lines.pop(way["strategy"])
        assert len(mine) == len(way["entities"])
        assert all(map(alike, mine, way["entities"]))
    assert lines == {}


@pytest.mark.parametrize("fields", [{"tags": "B-PER O O B-LOC"}, {"label_all_tokens": True}])
def test_alignment(services: Services, fields: dict[str, Any]) -> None:
    request = EntitiesRequest(mode="alignment", text="Schmidhuber loves cold Reykjavik", max_length=20, **fields)
    lines = said(written(services, request))
    shown = run_of(services, request)
    assert [line["tokenizer"] for line in lines] == list(request.tokenizers)
    for at, line in enumerate(lines):
        rows = shown[f"alignment {at}"]["rows"]
        expected = [
            [subword["piece"], row["word_id"], -100 if subword["label"] is None else subword["label"]]
            for row in rows
            for subword in row["subwords"]
            if not subword["cut"]
        ]
        assert line["rows"] == expected


def test_scores_of_the_check_set_and_of_an_upload(services: Services, tmp_path: Path) -> None:
    request = EntitiesRequest(mode="evaluate", data="entities-check", rows=20)
    (line,) = said(written(services, request))
    expected = run_of(services, request)["evaluation 0"]
    assert line["n"] == 20
    for half in ("strict", "lenient"):
        assert line[half] == pytest.approx(expected[half]["micro"]["f1"], abs=1e-9)

    file = tmp_path / "mine.conll"
    file.write_bytes("Angela S-PERSON\nin O\nParis S-GPE\nMünchen S-GPE\n".encode("latin-1"))
    request = EntitiesRequest(mode="evaluate", data=services.uploads.add(file, owner_of(VISITOR)))
    text = written(services, request)
    (line,) = said(text.replace("'mine.conll'", repr(str(file))))
    expected = run_of(services, request)["evaluation 0"]
    assert line["strict"] == pytest.approx(expected["strict"]["micro"]["f1"], abs=1e-9)
    with pytest.raises(NotFound):
        script(request, services.pool, services.catalog, owner=owner_of("somebody else"))


def test_documents_and_what_a_visitor_typed(services: Services, tmp_path: Path) -> None:
    for name, text in (("one.txt", TEXT), ("two.conll", "Angela B-PER\nsleeps O\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    names = tuple(services.uploads.add(tmp_path / name, owner_of(VISITOR)) for name in ("one.txt", "two.conll"))
    request = EntitiesRequest(data=DOCUMENTS, documents=names, aggregation="max")
    text = written(services, request)
    files = repr([str(tmp_path / name) for name in ("one.txt", "two.conll")])
    lines = said(text.replace("['one.txt', 'two.conll']", files))
    shown = run_of(services, request)
    for at, line in enumerate(lines):
        assert all(map(alike, line["entities"], shown[f"document {at}"]["entities"]))
    for mode in ("tag", "strategies", "alignment"):
        text = written(services, EntitiesRequest(mode=mode, text=HOSTILE))
        compile(text, "script", "exec")
        assert repr(HOSTILE) in text
