"""Tags of words as entities: scores of whole entities, what is wrong with a sequence of tags, what kind an error is.

Tags are IOB2 (Ramshaw and Marcus 1995, in the form of Tjong Kim Sang and Veenstra 1999): B-TYPE begins an entity,
I-TYPE continues it, O is outside.

Promises
- ``entity_scores`` gives seqeval's numbers in both readings. Strict: an entity is what valid IOB2 says, an I- that
  continues nothing is no entity. Lenient: seqeval's default and conlleval's, such an I- begins one.
- ``invalid_tags`` counts and explains what is no valid IOB2; ``to_iob2`` rewrites IOB1, where only an entity right
  behind another of its type begins with B-.
- Places count words from 0; sentences in what a visitor reads count from 1.

Importing this module is cheap: seqeval is loaded by the first call that needs it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.errors import BadInput

OUTSIDE = "O"
Tags = Sequence[str]
Kind = Literal["start", "after_o", "type_change", "unknown"]
Verdict = Literal["correct", "boundary", "type", "boundary and type", "missed", "spurious"]
VERDICTS: tuple[Verdict, ...] = ("correct", "boundary", "type", "boundary and type", "missed", "spurious")
PLACES = 200
"""Invalid tags whose places are listed; all are counted."""
_TAG = re.compile(r"O|[BI]-[^\s-].*")
_EXPLAINED: dict[Kind, str] = {
    "start": "begins a sentence with I-, where nothing is there to continue; IOB1 files write entities so",
    "after_o": "stands behind O with I-, where no entity is open; IOB1 files write entities so",
    "type_change": "continues an entity of another type; a new entity would begin with B-",
    "unknown": "is neither O nor B- or I- with a type",
}


@dataclass(frozen=True, slots=True)
class Span:
    """An entity's words, ``end`` not included."""

    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True)
class TypeScores:
    """One type of entity (or a mean): scores, and how many there are in gold (``n``) and in the prediction."""

    type: str
    precision: float
    recall: float
    f1: float
    n: int
    predicted: int

    def plain(self) -> dict[str, Any]:
        """``{type, p, r, f1, n, predicted}``."""
        return {
            "type": self.type, "p": self.precision, "r": self.recall, "f1": self.f1, "n": self.n,
            "predicted": self.predicted,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class SchemeScores:
    """Scores in one reading of the tags. Micro: all entities together. Macro: the mean over the types."""

    micro: TypeScores
    macro: TypeScores
    types: tuple[TypeScores, ...]

    def plain(self) -> dict[str, Any]:
        """``{micro, macro, types: [...]}``, each ``{type, p, r, f1, n, predicted}``."""
        return {
            "micro": self.micro.plain(),
            "macro": self.macro.plain(),
            "types": [one.plain() for one in self.types],
        }


@dataclass(frozen=True, slots=True)
class EntityScores:
    """Both readings of the same tags, side by side."""

    strict: SchemeScores
    lenient: SchemeScores

    def plain(self) -> dict[str, Any]:
        """``{strict, lenient}`` as ``SchemeScores.plain`` gives them."""
        return {"strict": self.strict.plain(), "lenient": self.lenient.plain()}


@dataclass(frozen=True, slots=True)
class InvalidTag:
    """One tag that is not valid where it stands: sentence and word from 0, and the tag before it (empty at a start)."""

    kind: Kind
    sentence: int
    word: int
    tag: str
    before: str


@dataclass(frozen=True, slots=True)
class InvalidTags:
    """What is no valid IOB2 in some sentences: ``counts`` of every kind, ``places`` of the first ``PLACES``."""

    sentences: int
    counts: dict[Kind, int]
    places: tuple[InvalidTag, ...]
    explained: tuple[str, ...]

    @property
    def total(self) -> int:
        """All invalid tags."""
        return sum(self.counts.values())

    def plain(self) -> dict[str, Any]:
        """Plain JSON: ``{total, sentences, counts, places: [{kind, sentence, word, tag, before}], explained}``."""
        return {
            "total": self.total,
            "sentences": self.sentences,
            "counts": dict(self.counts),
            "places": [asdict(place) for place in self.places],
            "explained": list(self.explained),
        }


@dataclass(frozen=True, slots=True)
class EntityError:
    """A gold entity beside what was predicted in its place; one of them is None when missed or spurious."""

    kind: Verdict
    gold: Span | None
    predicted: Span | None

    def plain(self) -> dict[str, Any]:
        """Plain JSON: ``{kind, gold: {start, end, type} | None, predicted}``."""
        return asdict(self)


def is_iob2(labels: Iterable[str]) -> bool:
    """Whether a set of labels is one of IOB2: every label O, B-TYPE or I-TYPE, at least one B-."""
    names = list(labels)
    return all(_TAG.fullmatch(name) for name in names) and any(name.startswith("B-") for name in names)


def spans(tags: Tags, *, strict: bool = False) -> list[Span]:
    """The entities of one sentence. An I- that continues nothing begins one, or is none when ``strict``."""
    found: list[Span] = []
    start, kind = -1, ""
    for at, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, of = tag.partition("-")
        if prefix == "I" and of == kind:
            continue
        if kind:
            found.append(Span(start, at, kind))
        begins = prefix == "B" or (prefix == "I" and not strict)
        start, kind = (at, of) if begins else (-1, "")
    return found


def entity_scores(gold: Sequence[Tags], predicted: Sequence[Tags]) -> EntityScores:
    """Strict and lenient scores of whole entities. Raises ``BadInput`` for tags that are none and rows that differ."""
    _check(gold, predicted)
    from core.measure.metrics import EntityMetric

    metric = EntityMetric()
    made = []
    for strict in (True, False):
        scores = metric.compute(predictions=predicted, references=gold, strict=strict)
        micro, macro = TypeScores(**scores["micro"]), TypeScores(**scores["macro"])
        made.append(SchemeScores(micro, macro, tuple(TypeScores(**one) for one in scores["types"])))
    return EntityScores(*made)


def strict_f1(gold: Sequence[Tags], predicted: Sequence[Tags]) -> float:
    """Strict micro F1, without the rest: what a training looks at again and again."""
    _check(gold, predicted)
    return float(seqeval_scores(gold, predicted, strict=True)["micro"]["f1"])


def seqeval_scores(gold: Sequence[Tags], predicted: Sequence[Tags], *, strict: bool) -> dict[str, Any]:
    """seqeval's numbers: ``{micro, macro, types: [...]}``, each as the fields of ``TypeScores``."""
    from seqeval.metrics import classification_report  # type: ignore[import-untyped]  # ships no types
    from seqeval.scheme import IOB2  # type: ignore[import-untyped]  # ships no types

    given = Counter(span.type for tags in predicted for span in spans(tags, strict=strict))
    there = Counter(span.type for tags in gold for span in spans(tags, strict=strict))
    if not given and not there:
        return {"micro": _plain("micro", {}, 0), "macro": _plain("macro", {}, 0), "types": []}
    options: dict[str, Any] = {"mode": "strict", "scheme": IOB2} if strict else {}
    told = classification_report(
        [list(tags) for tags in gold], [list(tags) for tags in predicted], output_dict=True, zero_division=0, **options
    )
    return {
        "micro": _plain("micro", told["micro avg"], given.total()),
        "macro": _plain("macro", told["macro avg"], given.total()),
        "types": [_plain(name, told[name], given[name]) for name in sorted({*given, *there})],
    }


def _plain(name: str, told: dict[str, Any], predicted: int) -> dict[str, Any]:
    scores = {key: float(told.get(theirs, 0.0)) for key, theirs in _THEIRS.items()}
    return {"type": name, **scores, "n": int(told.get("support", 0)), "predicted": predicted}


_THEIRS = {"precision": "precision", "recall": "recall", "f1": "f1-score"}


def _check(gold: Sequence[Tags], predicted: Sequence[Tags]) -> None:
    if len(gold) != len(predicted):
        raise BadInput(
            f"There are {len(gold):,} sentences of gold tags and {len(predicted):,} of predicted ones.",
            "Give one of each a sentence.",
        )
    for number, (wanted, given) in enumerate(zip(gold, predicted, strict=True), start=1):
        if len(wanted) != len(given):
            raise BadInput(
                f"Sentence {number:,} has {len(wanted):,} gold tags and {len(given):,} predicted ones.",
                "Give each word one of both.",
            )
        for tag in (*wanted, *given):
            if not _TAG.fullmatch(tag):
                raise BadInput(
                    f"Sentence {number:,} has the tag “{tag[:40]}”, which is no IOB2 tag.",
                    "Write O, or B- or I- and a type, as in B-PER.",
                )


def invalid_tags(rows: Iterable[Tags]) -> InvalidTags:
    """What is no valid IOB2, counted by kind, with a sentence about each kind that there is."""
    counts: dict[Kind, int] = dict.fromkeys(_EXPLAINED, 0)
    places: list[InvalidTag] = []
    first: dict[Kind, InvalidTag] = {}
    sentences = 0
    for number, tags in enumerate(rows):
        before = ""
        some = False
        for at, tag in enumerate(tags):
            kind = _fault(tag, before)
            if kind:
                some = True
                counts[kind] += 1
                place = InvalidTag(kind, number, at, tag, before)
                first.setdefault(kind, place)
                if len(places) < PLACES:
                    places.append(place)
            before = tag
        sentences += some
    return InvalidTags(sentences, counts, tuple(places), tuple(_explain(counts[kind], first[kind]) for kind in first))


def _fault(tag: str, before: str) -> Kind | None:
    if not _TAG.fullmatch(tag):
        return "unknown"
    if not tag.startswith("I-"):
        return None
    if before[2:] == tag[2:] and before[:2] in ("B-", "I-"):
        return None
    return "start" if not before else "after_o" if before[:2] not in ("B-", "I-") else "type_change"


def _explain(count: int, place: InvalidTag) -> str:
    """Such as: 3 tags stand behind O …, first “I-PER” at word 4 of sentence 2."""
    where = f"“{place.tag[:40]}” is word {place.word + 1:,} of sentence {place.sentence + 1:,}"
    behind = f" behind “{place.before[:40]}”" if place.kind == "type_change" else ""
    if count == 1:
        return f"1 tag {_EXPLAINED[place.kind]}: {where}{behind}."
    told = _EXPLAINED[place.kind]
    for one, many in (
        ("begins", "begin"),
        ("stands", "stand"),
        ("continues", "continue"),
        ("is neither", "are neither"),
    ):
        told = told.replace(one, many, 1) if told.startswith(one) else told
    return f"{count:,} tags {told}. The first: {where}{behind}."


def is_iob1(rows: Iterable[Tags]) -> bool:
    """Whether sentences are tagged by IOB1: entities begin with I-, and B- stands only behind one of its own type."""
    begun = False
    for tags in rows:
        before = OUTSIDE
        for tag in tags:
            if not _TAG.fullmatch(tag):
                return False
            continues = before != OUTSIDE and before[2:] == tag[2:]
            if tag.startswith("B-") and not continues:
                return False
            begun = begun or (tag.startswith("I-") and not continues)
            before = tag
    return begun


def to_iob2(tags: Tags) -> list[str]:
    """One sentence with every entity begun by B-, as IOB1 means it; valid IOB2 stays as it is."""
    made: list[str] = []
    before = OUTSIDE
    for tag in tags:
        opens = tag.startswith("I-") and (before == OUTSIDE or before[2:] != tag[2:])
        made.append(f"B-{tag[2:]}" if opens else tag)
        before = tag
    return made


def errors(gold: Sequence[Span], predicted: Sequence[Span]) -> list[EntityError]:
    """Each gold and each predicted entity of one sentence once, in the order of their places.

    Equal ones are matched first, then those with the same words, then those that overlap: of the same type before
    others, more words before fewer.
    """
    pairs = sorted(
        ((_distance(a, b), i, j) for i, a in enumerate(gold) for j, b in enumerate(predicted) if _overlap(a, b) > 0),
    )
    matched: list[EntityError] = []
    taken_gold, taken_predicted = set[int](), set[int]()
    for _, i, j in pairs:
        if i in taken_gold or j in taken_predicted:
            continue
        taken_gold.add(i)
        taken_predicted.add(j)
        matched.append(EntityError(_kind(gold[i], predicted[j]), gold[i], predicted[j]))
    matched += [EntityError("missed", span, None) for i, span in enumerate(gold) if i not in taken_gold]
    matched += [EntityError("spurious", None, span) for j, span in enumerate(predicted) if j not in taken_predicted]
    return sorted(matched, key=lambda error: (error.gold or error.predicted or Span(0, 0, "")).start)


def _overlap(a: Span, b: Span) -> int:
    return min(a.end, b.end) - max(a.start, b.start)


def _distance(a: Span, b: Span) -> tuple[bool, bool, int]:
    bounds = (a.start, a.end) != (b.start, b.end)
    return bounds, a.type != b.type, -_overlap(a, b)


def _kind(gold: Span, predicted: Span) -> Verdict:
    bounds, types, _ = _distance(gold, predicted)
    if bounds:
        return "boundary and type" if types else "boundary"
    return "type" if types else "correct"
