"""Scores of entities against seqeval itself, what is wrong with tags, and the kinds of errors."""

from __future__ import annotations

import json
import random

import pytest
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Tokens

from core.errors import BadInput
from core.measure.entities import (
    Span,
    entity_scores,
    errors,
    invalid_tags,
    is_iob1,
    is_iob2,
    spans,
    strict_f1,
    to_iob2,
)

TAGS = ("O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-WORK-OF-ART", "I-WORK-OF-ART")


def sentences(count: int, seed: int) -> list[list[str]]:
    """Tags at random, valid or not, sentences without any among them."""
    rng = random.Random(seed)
    return [rng.choices(TAGS, k=rng.randint(1, 12)) for _ in range(count)]


def test_entities_are_those_of_seqeval_in_both_readings() -> None:
    for tags in sentences(400, 1):
        lenient = [(span.type, span.start, span.end - 1) for span in spans(tags)]
        assert lenient == get_entities(tags)
        strict = [(span.type, span.start, span.end) for span in spans(tags, strict=True)]
        assert strict == [(entity.tag, entity.start, entity.end) for entity in Tokens(tags, IOB2).entities]


def test_strict_and_lenient_stand_side_by_side() -> None:
    gold = [["B-PER", "I-PER", "O"], ["O", "B-LOC"], ["B-LOC", "O"]]
    predicted = [["I-PER", "I-PER", "O"], ["O", "B-LOC"], ["B-PER", "O"]]
    found = entity_scores(gold, predicted)
    assert found.lenient.micro.f1 == pytest.approx(2 / 3)
    assert (found.strict.micro.precision, found.strict.micro.recall) == (pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert strict_f1(gold, predicted) == found.strict.micro.f1
    loc, per = found.strict.types
    assert (loc.type, loc.n, loc.predicted, loc.precision, loc.recall) == ("LOC", 2, 1, 1.0, 0.5)
    assert (per.n, per.predicted, per.f1) == (1, 1, 0.0)
    assert found.strict.macro.f1 == pytest.approx((2 / 3 + 0) / 2)
    plain = json.loads(json.dumps(found.plain()))
    assert plain["lenient"]["types"][1] == {"type": "PER", "p": 0.5, "r": 1.0, "f1": 2 / 3, "n": 1, "predicted": 2}


def test_nothing_to_find_and_nothing_found() -> None:
    found = entity_scores([["O", "O"]], [["O", "O"]])
    assert (found.strict.micro.f1, found.strict.types) == (0.0, ())
    only_orphans = entity_scores([["I-PER"]], [["I-PER"]])
    assert (only_orphans.strict.micro.n, only_orphans.lenient.micro.f1) == (0, 1.0)
    assert entity_scores([], []).lenient.types == ()


@pytest.mark.parametrize(
    ("gold", "predicted", "sentence"),
    [
        ([["O"]], [], "1 sentences of gold tags and 0"),
        ([["O", "O"]], [["O"]], "Sentence 1 has 2 gold tags and 1"),
        ([["O"], ["PER"]], [["O"], ["O"]], "Sentence 2 has the tag “PER”"),
        ([["O"]], [["B-"]], "Sentence 1 has the tag “B-”"),
    ],
)
def test_what_cannot_be_scored(gold: list[list[str]], predicted: list[list[str]], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        entity_scores(gold, predicted)


def test_invalid_tags_are_counted_placed_and_explained() -> None:
    rows = [["I-PER", "I-PER", "O"], ["O", "I-LOC"], ["B-PER", "I-LOC", "I-LOC"], ["O", "I-ORG", "X"], ["B-PER"]]
    found = invalid_tags(rows)
    assert found.counts == {"start": 1, "after_o": 2, "type_change": 1, "unknown": 1}
    assert (found.total, found.sentences) == (5, 4)
    assert [(place.kind, place.sentence, place.word) for place in found.places] == [
        ("start", 0, 0), ("after_o", 1, 1), ("type_change", 2, 1), ("after_o", 3, 1), ("unknown", 3, 2),
    ]  # fmt: skip
    assert found.explained == (
        "1 tag begins a sentence with I-, where nothing is there to continue; IOB1 files write entities so: "
        "“I-PER” is word 1 of sentence 1.",
        "2 tags stand behind O with I-, where no entity is open; IOB1 files write entities so. "
        "The first: “I-LOC” is word 2 of sentence 2.",
        "1 tag continues an entity of another type; a new entity would begin with B-: “I-LOC” is word 2 of sentence 3 "
        "behind “B-PER”.",
        "1 tag is neither O nor B- or I- with a type: “X” is word 3 of sentence 4.",
    )
    assert json.dumps(found.plain())
    assert invalid_tags([["O", "B-PER", "I-PER"], []]).explained == ()


def test_random_tags_are_invalid_where_strict_and_lenient_differ() -> None:
    for tags in sentences(300, 2):
        assert bool(invalid_tags([tags]).total) == (spans(tags) != spans(tags, strict=True))


def test_the_first_form_is_recognised_and_rewritten() -> None:
    first = [["I-PER", "I-PER", "B-PER", "O"], ["O", "I-LOC", "I-ORG"], ["O"]]
    assert is_iob1(first)
    assert [to_iob2(tags) for tags in first] == [
        ["B-PER", "I-PER", "B-PER", "O"], ["O", "B-LOC", "B-ORG"], ["O"],
    ]  # fmt: skip
    for tags in first:
        assert spans(to_iob2(tags), strict=True) == spans(tags)
        assert to_iob2(to_iob2(tags)) == to_iob2(tags)
    for other in (["B-PER", "O"], ["O", "O"], ["I-PER", "O", "B-PER"], ["NN"], []):
        assert not is_iob1([other])


def test_which_labels_are_those_of_entities() -> None:
    assert is_iob2(["O", "B-PER", "I-PER"])
    for labels in (["O"], ["I-PER", "O"], ["B-PER", "NOUN"], ["S-PER", "B-PER"], []):
        assert not is_iob2(labels)


def test_errors_are_named_for_what_is_wrong() -> None:
    gold = [Span(0, 2, "PER"), Span(3, 5, "LOC"), Span(6, 7, "ORG"), Span(8, 10, "PER"), Span(12, 13, "LOC")]
    predicted = [Span(0, 2, "PER"), Span(3, 4, "LOC"), Span(6, 7, "PER"), Span(9, 11, "ORG"), Span(14, 15, "PER")]
    found = errors(gold, predicted)
    assert [error.kind for error in found] == [
        "correct", "boundary", "type", "boundary and type", "missed", "spurious",
    ]  # fmt: skip
    assert found[-1].gold is None
    assert found[-2].predicted is None
    assert json.dumps([error.plain() for error in found])


def test_each_entity_is_in_one_error_the_nearest_first() -> None:
    found = errors([Span(0, 4, "PER")], [Span(0, 1, "PER"), Span(1, 4, "PER")])
    assert [(error.kind, error.predicted) for error in found] == [
        ("boundary", Span(1, 4, "PER")), ("spurious", Span(0, 1, "PER")),
    ]  # fmt: skip
    same_words = errors([Span(0, 2, "PER"), Span(1, 3, "LOC")], [Span(0, 2, "LOC")])
    assert [error.kind for error in same_words] == ["type", "missed"]
    for tags, others in zip(sentences(100, 3), sentences(100, 4), strict=True):
        wanted, given = spans(tags), spans(others)
        told = errors(wanted, given)
        assert sorted(e.gold.start for e in told if e.gold) == [span.start for span in wanted]
        assert sorted(e.predicted.start for e in told if e.predicted) == [span.start for span in given]
