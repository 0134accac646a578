"""The graph of names that share sentences."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from core.text.cooccurrence import Document, cooccurrence, sentences


@dataclass(frozen=True)
class Name:
    start: int
    end: int
    type: str
    text: str


def document(text: str, *names: tuple[str, str], title: str = "a") -> Document:
    """A text with every occurrence of the names marked."""
    found = [
        Name(match.start(), match.end(), kind, match.group())
        for name, kind in names
        for match in re.finditer(re.escape(name), text, re.IGNORECASE)
    ]
    return Document(title, text, found)


def parts(text: str, *names: tuple[str, str]) -> list[str]:
    return [text[a:b] for a, b in sentences(text, document(text, *names).entities)]


def test_sentences_end_where_a_reader_ends_them() -> None:
    assert parts("One. Two! Three?  “Four.” Five\nSix…  Seven") == [
        "One.", "Two!", "Three?", "“Four.”", "Five", "Six…", "Seven",
    ]  # fmt: skip
    assert parts("Dr. Who met J. Smith at 3.5 p.m. They left.") == ["Dr. Who met J. Smith at 3.5 p.m.", "They left."]
    assert parts("He saw Yahoo! Inc in town. Good.", ("Yahoo! Inc", "ORG")) == ["He saw Yahoo! Inc in town.", "Good."]
    assert parts(" \n ") == []


def test_names_in_one_sentence_are_joined() -> None:
    text = "Anna met Bo in Rome. Bo stayed. ANNA wrote to  Bo."
    graph = cooccurrence([document(text, ("Anna", "PER"), ("Bo", "PER"), ("Rome", "LOC"))])
    assert [(node.name, node.type, node.count) for node in graph.nodes] == [
        ("Bo", "PER", 3), ("Anna", "PER", 2), ("Rome", "LOC", 1),
    ]  # fmt: skip
    assert [(edge.a, edge.b, edge.weight) for edge in graph.edges] == [(0, 1, 2), (0, 2, 1), (1, 2, 1)]
    assert [sentence.text for sentence in graph.edges[0].sentences] == ["Anna met Bo in Rome.", "ANNA wrote to Bo."]
    assert all(-1.01 <= node.x <= 1.01 and -1.01 <= node.y <= 1.01 for node in graph.nodes)
    assert json.dumps(graph.plain(), allow_nan=False)


def test_one_spelling_with_two_types_is_two_names_and_one_name_twice_no_edge() -> None:
    text = "Jordan and Jordan."
    graph = cooccurrence([Document("a", text, [Name(0, 6, "PER", "Jordan"), Name(11, 17, "LOC", "Jordan")])])
    assert [(node.name, node.type) for node in graph.nodes] == [("Jordan", "LOC"), ("Jordan", "PER")]
    assert len(graph.edges) == 1
    assert cooccurrence([document(text, ("Jordan", "PER"))]).edges == ()


def test_the_most_frequent_names_are_kept_and_the_rest_is_counted() -> None:
    names = [f"Name{i:03d}x" for i in range(60)]
    text = ". ".join(f"{name} and Bo" for name in names)
    graph = cooccurrence([document(text, *((name, "PER") for name in names), ("Bo", "PER"))])
    assert (len(graph.nodes), graph.left_out) == (40, 21)
    assert graph.nodes[0].name == "Bo"
    assert len(graph.edges) == 39
    assert graph == cooccurrence([document(text, *((name, "PER") for name in names), ("Bo", "PER"))])


def test_sentences_know_their_document_and_are_cut() -> None:
    long = "Anna " + "very " * 200 + "liked Bo."
    both = (("Anna", "PER"), ("Bo", "PER"))
    graph = cooccurrence([document("Anna, Bo.", *both, title="x"), document(long, *both, title="y")])
    assert [sentence.document for sentence in graph.edges[0].sentences] == ["x", "y"]
    assert len(graph.edges[0].sentences[1].text) == 400


def test_nothing_gives_an_empty_graph() -> None:
    graph = cooccurrence([Document("a", "Nobody is here.", [])])
    assert (graph.nodes, graph.edges, graph.left_out) == ((), (), 0)
