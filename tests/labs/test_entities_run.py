"""Entities runs to their end: offsets and files, documents of all kinds, alignment, scores, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput, NotFound
from core.events import Artifact, Done, Event, Metric, Step
from core.events import Warning as Notice
from core.labs.entities.exports import as_conll, as_csv
from core.labs.entities.run import run
from core.labs.entities.subwords import differing
from core.labs.entities.tagged import Tagged, passages
from core.runtime.run_context import RunContext
from core.runtime.runs import owner_of
from core.services import Services
from core.settings import ASSETS, Settings
from core.text.spans import Entity
from core.training.datafiles import read_conll, read_table
from tests.training.tiny_models import WORDS, folder_of

VISITOR = "visitor"
LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
MODEL = {"model": "tagger"}
TEXT = "the cat saw the sea\nhappy dog slept on the big red ship and hello"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """With a tagger of two small layers and random weights as a local model."""
    root = tmp_path_factory.mktemp("models")
    write_tagger(root / "tagger")
    made = Services(Settings(home=tmp_path_factory.mktemp("home"), model_roots=(root,), offline=True))
    yield made
    made.close()


def write_tagger(folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertForTokenClassification

    source = folder_of("bert")
    config = AutoConfig.from_pretrained(source)
    config.num_labels = len(LABELS)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: number for number, label in enumerate(LABELS)}
    torch.manual_seed(3)
    model = BertForTokenClassification(config)
    model.classifier.weight.data *= 40  # so that labels differ from token to token
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


@pytest.fixture
def context(services: Services, tmp_path: Path) -> RunContext:
    folder = tmp_path / "run"
    folder.mkdir()
    return RunContext("run", VISITOR, folder, uploads=services.uploads)


def events_of(services: Services, context: RunContext, **fields: Any) -> list[Event]:
    from core.labs.entities.request import EntitiesRequest

    return list(run(EntitiesRequest.model_validate({**MODEL, **fields}), services.pool, context))


def upload(services: Services, folder: Path, name: str, data: bytes | str) -> str:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return services.uploads.add(path, owner_of(VISITOR))


def steps(events: list[Event], name: str) -> list[dict[str, Any]]:
    return [event.values for event in events if isinstance(event, Step) and event.name == name]


def notes(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Notice))


def result(events: list[Event]) -> dict[str, Any]:
    assert isinstance(events[-1], Done)
    return events[-1].result


def test_what_is_found_is_in_the_text_the_table_and_the_files(services: Services, context: RunContext) -> None:
    events = events_of(services, context, text=TEXT)
    start, document, table = (steps(events, name)[0] for name in ("start", "document", "table"))
    assert start["labels"] == list(LABELS)
    assert start["model"]["device"]
    found = document["entities"]
    assert found
    assert all(TEXT[one["start"] : one["end"]] == one["text"] for one in found)
    assert sum(row["count"] for row in table["rows"]) == len(found)
    assert {row["type"] for row in table["rows"]} <= {"PER", "ORG", "LOC"}
    assert [e.name for e in events if isinstance(e, Artifact)] == ["entities.json", "entities.csv", "entities.conll"]
    assert context.folder is not None
    kept = json.loads((context.folder / "entities.json").read_text(encoding="utf-8"))
    assert kept["documents"] == [{"name": "Your text", "text": TEXT, "entities": found}]
    rows = list(csv.DictReader(io.StringIO((context.folder / "entities.csv").read_text(encoding="utf-8"))))
    assert [row["text"] for row in rows] == [one["text"] for one in found]
    sentences = list(read_conll((context.folder / "entities.conll").read_text(encoding="utf-8")))
    assert [word for sentence in sentences for word in sentence["words"]] == TEXT.split()
    tags = [tag for sentence in sentences for tag in sentence["tags"]]
    assert sum(tag.startswith("B-") for tag in tags) == len(found)
    assert result(events)["tokens"] == len(TEXT.split())


def test_each_input_changes_what_is_found(services: Services, context: RunContext) -> None:
    plain = steps(events_of(services, context, text=TEXT), "document")[0]["entities"]
    scores = sorted(one["score"] for one in plain)
    middle = (scores[0] + scores[-1]) / 2
    some = steps(events_of(services, context, text=TEXT, minimum_score=middle), "document")[0]["entities"]
    assert some == [one for one in plain if one["score"] >= middle] != plain
    alone = steps(events_of(services, context, text=TEXT, aggregation="none"), "document")[0]["entities"]
    assert {one["type"][:2] for one in alone} <= {"B-", "I-"}


def test_documents_of_all_kinds(services: Services, context: RunContext, tmp_path: Path) -> None:
    names = (
        upload(services, tmp_path, "plain.txt", "the dog <b>slept</b> \x1b on a ship\n" * 3),
        upload(services, tmp_path, "old.md", "the caf\xe9 cat".encode("latin-1")),
        upload(services, tmp_path, "tagged.conll", "the O\ncat\tB-PER\n\nsea B-LOC\n"),
        upload(services, tmp_path, "rows.jsonl", '{"text": "a dog"}\n{"text": "a cat"}\n'),
    )
    events = events_of(services, context, data="documents", documents=names)
    found = {document["name"]: document for document in steps(events, "document")}
    assert sorted(found) == ["old.md", "plain.txt", "rows.jsonl, row 1", "rows.jsonl, row 2", "tagged.conll"]
    assert "<b>slept</b>" in found["plain.txt"]["text"]
    assert found["old.md"]["text"] == "the caf\xe9 cat"
    assert found["tagged.conll"]["text"] == "the cat\nsea"
    assert "old.md: 1 line is not UTF-8" in notes(events)
    one = events_of(services, context, data=names[0])
    assert [document["name"] for document in steps(one, "document")] == ["plain.txt"]
    stranger = RunContext("run", "somebody else", uploads=services.uploads)
    with pytest.raises(NotFound, match="no such file among yours"):
        events_of(services, stranger, data=names[0])


@pytest.mark.parametrize(
    ("text", "length"),
    [("\U0001f642\U0001f680", 2), ("مرحبا cat بالعالم", 17), ("<script>alert(1)</script>", 25), ("\u200b", 1)],
)
def test_odd_texts_are_read_like_others(services: Services, context: RunContext, text: str, length: int) -> None:
    document = steps(events_of(services, context, text=text), "document")[0]
    assert document["text"] == text
    assert len(text) == length
    assert all(one["end"] <= length for one in document["entities"])


def test_a_long_document_is_read_to_its_end(services: Services, context: RunContext) -> None:
    text = "\n".join(" ".join(WORDS) for _ in range(700))
    assert len(text.split()) > 16_000
    events = events_of(services, context, text=text)
    document = steps(events, "document")[0]
    assert document["cut"]
    assert len(document["text"]) == 20_000
    assert document["windows"] > 16_000 / 128
    assert context.folder is not None
    found = json.loads((context.folder / "entities.json").read_text(encoding="utf-8"))["documents"][0]["entities"]
    assert found[-1]["end"] > len(text) - 200
    assert all(text[one["start"] : one["end"]] == one["text"] for one in found)
    assert result(events)["tokens"] == len(text.split())


def test_a_stopped_run_keeps_the_documents_that_were_read(services: Services, tmp_path: Path) -> None:
    context = RunContext("run", VISITOR, tmp_path, uploads=services.uploads)
    rows = "".join(json.dumps({"text": " ".join(WORDS * 8)}) + "\n" for _ in range(300))
    from core.labs.entities.request import EntitiesRequest

    request = EntitiesRequest(model="tagger", data=upload(services, tmp_path, "many.jsonl", rows))
    seen: list[Event] = []
    for event in run(request, services.pool, context):
        seen.append(event)
        if len(steps(seen, "document")) == 1:
            context.cancel()
    assert isinstance(seen[-1], Done)
    assert seen[-1].reason == "stopped"
    assert 1 <= result(seen)["documents"] < 300
    assert (tmp_path / "entities.csv").exists()


def test_sentences_stand_behind_the_edges(services: Services, context: RunContext) -> None:
    graph = steps(events_of(services, context, text=TEXT), "graph")[0]
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    assert graph["edges"]
    for edge in graph["edges"]:
        assert edge["weight"] >= len(edge["sentences"]) >= 1
        for sentence in edge["sentences"]:
            assert names[edge["a"]] in sentence["text"]
            assert names[edge["b"]] in sentence["text"]


def test_five_ways_of_one_forward_pass(services: Services, context: RunContext) -> None:
    events = events_of(services, context, mode="strategies", text=TEXT)
    told = steps(events, "strategies")[0]
    assert [way["strategy"] for way in told["results"]] == ["none", "simple", "first", "average", "max"]
    assert [token["piece"] for token in told["tokens"]] == TEXT.split()
    for way in told["results"]:
        assert len(way["differs"]) == len(way["entities"])
    for token in told["tokens"]:
        assert TEXT[token["start"] : token["end"]] == token["piece"]
        assert 0 < token["score"] <= 1


def test_differences_between_the_ways() -> None:
    whole, half = Entity(0, 6, "PER", 0.9, "Merkel"), Entity(0, 3, "PER", 0.9, "Mer")
    token, other = Entity(0, 3, "B-PER", 0.9, "Mer"), Entity(3, 6, "B-LOC", 0.6, "kel")
    found = {"none": [token, other], "simple": [half], "first": [whole], "average": [whole], "max": [whole]}
    assert differing("simple", found) == [True]
    assert differing("first", found) == [True]
    assert differing("none", found) == [False, True]
    alike = {**found, "none": [token], "simple": [whole]}
    assert [differing(way, alike) for way in alike] == [[False]] * 5


def test_alignment_with_typed_tags_and_with_the_models(services: Services, context: RunContext) -> None:
    fields = {"mode": "alignment", "text": "Schmidhuber sailed the sea", "tokenizers": ("bert", "byte-level", "tagger")}
    events = events_of(services, context, **fields, tags="B-PER O O B-LOC")
    told = steps(events, "alignment")
    assert [one["kind"] for one in told] == ["WordPiece", "Byte-level BPE", "Words"]
    words = [row for row in told[0]["rows"] if row["word_id"] is not None]
    assert [subword["label"] for subword in words[0]["subwords"]][:2] == ["B-PER", None]
    assert steps(events, "start")[0]["model"] is None
    everything = steps(
        events_of(services, context, **fields, tags="B-PER O O B-LOC", label_all_tokens=True), "alignment"
    )
    words = [row for row in everything[0]["rows"] if row["word_id"] is not None]
    assert [subword["label"] for subword in words[0]["subwords"]][:2] == ["B-PER", "I-PER"]
    short = steps(events_of(services, context, **fields, tags="B-PER O O B-LOC", max_length=5), "alignment")
    assert short[0]["truncated"] >= 2
    own = steps(events_of(services, context, **fields), "alignment")[2]
    assert {row["tag"] for row in own["rows"] if row["word_id"] is not None} <= set(LABELS)
    with pytest.raises(BadInput, match="4 words and 1 tags"):
        events_of(services, context, **fields, tags="B-PER")


CONLL = "-DOCSTART- O\n\nthe I-PER\ncat\tI-PER\nslept O\n\nsea B-LOC\nday O\n\nship I-LOC\n"


def test_scores_errors_and_broken_sequences(services: Services, context: RunContext, tmp_path: Path) -> None:
    events = events_of(services, context, mode="evaluate", data=upload(services, tmp_path, "mixed.conll", CONLL))
    told, wrong = steps(events, "evaluation")[0], steps(events, "errors")[0]
    assert told["n"] == 3
    assert told["invalid"]["gold"]["counts"]["start"] == 2
    assert any("I-" in sentence for sentence in told["invalid"]["gold"]["explained"])
    assert told["strict"]["micro"]["n"] == 1
    assert told["lenient"]["micro"]["n"] == 3
    counts = told["errors"]
    assert counts["correct"] + counts["boundary"] + counts["type"] + counts["boundary and type"] + counts["missed"] == 3
    kinds = [kind for row in wrong["rows"] for kind in row["kinds"] if kind != "correct"]
    assert len(kinds) == sum(count for kind, count in counts.items() if kind != "correct")
    assert all(len(row["words"]) == len(row["gold"]) == len(row["predicted"]) for row in wrong["rows"])
    assert any(isinstance(event, Metric) and event.unit == "1/s" for event in events)
    assert result(events)["n"] == 3


def test_other_schemes_types_and_encodings(services: Services, context: RunContext, tmp_path: Path) -> None:
    def told(name: str, data: bytes | str, **fields: Any) -> list[Event]:
        return events_of(services, context, mode="evaluate", data=upload(services, tmp_path, name, data), **fields)

    iob1 = told("old.conll", "cat I-PER\nsaw O\nsea I-LOC\n\nday O\n")
    assert "IOB1" in notes(iob1)
    assert steps(iob1, "evaluation")[0]["strict"]["micro"]["n"] == 2
    assert steps(iob1, "evaluation")[0]["invalid"]["gold"]["total"] == 2
    bioes = told("ends.conll", "cat S-PERSON\nsaw O\nbig B-GPE\nsea E-GPE\n")
    assert "BIOES" in notes(bioes)
    assert "PERSON as PER" in notes(bioes)
    assert steps(bioes, "evaluation")[0]["strict"]["micro"]["n"] == 2
    latin = told("latin.conll", "caf\xe9 B-LOC\nslept O\n".encode("latin-1"))
    assert "Windows-1252" in notes(latin)
    partly = told("misc.conll", "cat B-PER\nday B-MISC\n")
    assert "does not know MISC" in notes(partly)
    rows = told("rows.csv", 'words,tags\n"the cat","O B-PER"\n"a dog","O B-PER"\n', rows=1)
    assert steps(rows, "evaluation")[0]["n"] == 1
    assert "1 of 2 rows" in notes(rows)


@pytest.mark.parametrize(
    ("name", "data", "fields", "sentence"),
    [
        ("none.conll", "cat B-ANIMAL\nsaw O\n", {}, "types ANIMAL; the model knows LOC, ORG, PER"),
        ("pos.conll", "cat NOUN\nsaw VERB\n", {}, "no B- or I-"),
        ("bare.conll", "cat B-PER\nsaw\n", {}, "word without a tag"),
        ("rows.csv", "a,b,c\n1,2,3\n", {}, "No column of words"),
        ("more.csv", 'words,tags\n"the cat",O\n', {}, "2 words and 1 tags"),
        ("named.csv", 'words,tags\n"the cat","O O"\n', {"tags_column": "ner"}, "no column “ner”"),
        ("binary.conll", b"\0\1\2\3" * 50, {}, "no readable text"),
        ("book.xlsx", b"PK\x03\x04 and so on", {}, "Excel workbook"),
    ],
)
def test_files_that_cannot_be_measured_get_a_sentence(
    services: Services, context: RunContext, tmp_path: Path, name: str, data: Any, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        events_of(services, context, mode="evaluate", data=upload(services, tmp_path, name, data), **fields)


def test_documents_that_cannot_be_read_get_a_sentence(services: Services, context: RunContext, tmp_path: Path) -> None:
    for name, data, sentence in (
        ("blank.txt", " \n ", "nothing to read"),
        ("long.txt", "word " * 200_001, "at most 1,000,000"),
        ("rows.csv", "a,b\n1,2\n", "No column of texts"),
    ):
        with pytest.raises(BadInput, match=sentence):
            events_of(services, context, data=upload(services, tmp_path, name, data))
    for mode in ("tag", "evaluate"):
        with pytest.raises(BadInput, match="no documents to read"):
            events_of(services, context, mode=mode, data="documents")
    with pytest.raises(BadInput, match="no column “body”"):
        events_of(services, context, data="entities-check", words_column="body")


def test_formulas_stay_text_and_names_with_dots_stay_whole() -> None:
    text = "=cmd() met Dr. Who. He left."
    found = (Entity(0, 6, "ORG", 0.5, "=cmd()"), Entity(11, 18, "PER", 0.75, "Dr. Who"))
    document = Tagged("-sum.txt", text, found)
    assert list(csv.reader(io.StringIO(as_csv([document])))) == [
        ["document", "start", "end", "type", "score", "text"],
        ["'-sum.txt", "0", "6", "ORG", "0.500000", "'=cmd()"],
        ["'-sum.txt", "11", "18", "PER", "0.750000", "Dr. Who"],
    ]
    sentences = list(read_conll(as_conll([document])))
    assert [" ".join(sentence["words"]) for sentence in sentences] == ["= cmd ( ) met Dr . Who .", "He left ."]
    assert sentences[0]["tags"] == ["B-ORG", "I-ORG", "I-ORG", "I-ORG", "O", "B-PER", "I-PER", "I-PER", "O"]
    alone = Tagged("a", "New York", (Entity(0, 3, "B-LOC", 0.9, "New"), Entity(4, 8, "I-LOC", 0.9, "York")))
    assert next(read_conll(as_conll([alone])))["tags"] == ["B-LOC", "I-LOC"]


def test_passages_are_whole_lines_and_lose_nothing() -> None:
    text = "\n".join("x" * (n % 90) for n in range(400)) + " " + "y" * 9_000
    parts = list(passages(text, 500))
    assert "".join(part for _, part in parts) == text
    assert all(text[at : at + len(part)] == part for at, part in parts)
    assert max(len(part) for _, part in parts) <= 500
    assert sum(part.endswith("\n") for _, part in parts) > 20
    assert list(passages("short", 500)) == [(0, "short")]


def test_the_check_set_is_valid_and_as_its_card_says() -> None:
    from core.measure.entities import invalid_tags, is_iob2

    folder = ASSETS / "datasets" / "entities-check"
    rows = read_table(folder / "data.jsonl").rows
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert invalid_tags([row["tags"] for row in rows]).total == 0
    assert is_iob2({tag for row in rows for tag in row["tags"]})
    assert all(len(row["words"]) == len(row["tags"]) for row in rows)
    assert len({" ".join(row["words"]) for row in rows}) == len(rows) >= 60
    assert f"{sum(set(row['tags']) == {'O'} for row in rows)} sentences hold no entity" in card
    kinds = [row["kind"] for row in rows]
    assert all(f"`{kind}` ({kinds.count(kind)})" in card for kind in set(kinds))
    assert all(" ".join(row["words"]).islower() for row in rows if row["kind"] == "lower")
    assert all(" ".join(row["words"]).isupper() for row in rows if row["kind"] == "upper")
