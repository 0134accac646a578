"""Which entities stand in the same sentences: a graph small enough to read, with the sentences behind every edge.

Promises
- A name counts as the same whatever its case and spacing, if its type is the same; it is shown as it is written most
  often. At most ``NODES`` names are shown, the most frequent ones; how many were left out is said.
- An edge's weight is the number of sentences that hold both names; the first ``SENTENCES`` of them are kept.
- The layout is the same for the same graph (a spring layout, Fruchterman and Reingold 1991, with a fixed seed).

Sentences end at . ! ? or … before a space, and at line ends, but never inside a name or behind a usual abbreviation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Protocol

NODES = 40
EDGES = 200
SENTENCES = 20
CHARACTERS = 400
"""Characters of a sentence that are kept."""
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|\n+")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|No|Inc|Ltd|Co|Corp|Gen|Col|Sen|Rep|Gov)|\b[A-Z])\.$")


class Mention(Protocol):
    """A found entity: its place in the document (characters), its type and its text."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Document:
    """A text with the entities found in it."""

    name: str
    text: str
    entities: Sequence[Mention]


@dataclass(frozen=True, slots=True)
class Node:
    """A name: ``count`` mentions; ``x`` and ``y`` in -1..1."""

    id: int
    name: str
    type: str
    count: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Sentence:
    """Where two names stand together: the document's name and the sentence."""

    document: str
    text: str


@dataclass(frozen=True, slots=True)
class Edge:
    """Two names (``a`` < ``b`` are ids of nodes) in ``weight`` sentences."""

    a: int
    b: int
    weight: int
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """``left_out`` counts the names beyond the most frequent ones, ``edges_left_out`` the weakest edges."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    left_out: int
    edges_left_out: int

    def plain(self) -> dict[str, Any]:
        """Plain JSON: ``{nodes, edges, left_out, edges_left_out}``."""
        return asdict(self)


Key = tuple[str, str]


def cooccurrence(documents: Iterable[Document], *, nodes: int = NODES, seed: int = 7) -> Graph:
    """The graph of ``documents``. Without entities it is empty."""
    counts: Counter[Key] = Counter()
    written: dict[Key, Counter[str]] = {}
    together: dict[tuple[Key, Key], list[Sentence]] = {}
    weights: Counter[tuple[Key, Key]] = Counter()
    for document in documents:
        for text, mentions in _by_sentence(document):
            keys = [_key(mention) for mention in mentions]
            counts.update(keys)
            for key, mention in zip(keys, mentions, strict=True):
                written.setdefault(key, Counter())[" ".join(mention.text.split())] += 1
            for pair in combinations(sorted(set(keys)), 2):
                weights[pair] += 1
                found = together.setdefault(pair, [])
                if len(found) < SENTENCES:
                    found.append(Sentence(document.name, text))
    shown = sorted(counts, key=lambda key: (-counts[key], key))[:nodes]
    ids = {key: number for number, key in enumerate(shown)}
    edges = [
        Edge(min(ids[a], ids[b]), max(ids[a], ids[b]), weight, tuple(together[a, b]))
        for (a, b), weight in weights.items()
        if a in ids and b in ids
    ]
    edges.sort(key=lambda edge: (-edge.weight, edge.a, edge.b))
    places = _layout(len(shown), edges[:EDGES], seed)
    made = tuple(
        Node(ids[key], written[key].most_common(1)[0][0], key[1], counts[key], *places[ids[key]]) for key in shown
    )
    return Graph(made, tuple(edges[:EDGES]), len(counts) - len(shown), max(0, len(edges) - EDGES))


def sentences(text: str, names: Sequence[Mention] = ()) -> list[tuple[int, int]]:
    """Places of the sentences, in order; together they cover all but the space between them."""
    inside = [(name.start, name.end) for name in names]
    found: list[tuple[int, int]] = []
    start = 0
    for end in _END.finditer(text):
        dot = end.start() + 1
        cut_name = any(a < end.end() < b for a, b in inside)
        if cut_name or (text[end.start()] == "." and _ABBREVIATION.search(text, max(0, dot - 6), dot)):
            continue
        if text[start : end.end()].strip():
            found.append((start, end.end()))
        start = end.end()
    if text[start:].strip():
        found.append((start, len(text)))
    return [_trimmed(text, a, b) for a, b in found]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    whole = text[start:end]
    return start + len(whole) - len(whole.lstrip()), end - len(whole) + len(whole.rstrip())


def _by_sentence(document: Document) -> Iterable[tuple[str, list[Mention]]]:
    """Each sentence with the entities that begin in it."""
    ordered = sorted(document.entities, key=lambda mention: mention.start)
    at = 0
    for start, end in sentences(document.text, ordered):
        first = at
        while at < len(ordered) and ordered[at].start < end:
            at += 1
        if at > first:
            text = " ".join(document.text[start:end].split())
            yield (text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"), ordered[first:at]


def _key(mention: Mention) -> Key:
    return " ".join(mention.text.casefold().split()), mention.type


def _layout(count: int, edges: Sequence[Edge], seed: int) -> list[tuple[float, float]]:
    import networkx  # type: ignore[import-untyped]  # ships no types

    graph = networkx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_weighted_edges_from((edge.a, edge.b, edge.weight) for edge in edges)
    places = networkx.spring_layout(graph, seed=seed, k=1.6 / max(1, count) ** 0.5) if count else {}
    return [(round(float(places[i][0]), 4), round(float(places[i][1]), 4)) for i in range(count)]
