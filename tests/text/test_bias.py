"""A bias probe: equal sentences for every group, summaries that are numpy's, and a test that knows chance."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from core.text.bias import AXES, SLOTS, TEMPLATES, by_word, permutation_p_value, probes, spread
from core.text.word_lists import PEOPLE


@pytest.mark.parametrize("axis", AXES)
def test_every_group_gets_the_same_sentences(axis: str) -> None:
    found = probes(TEMPLATES, axis)
    counts = {group: Counter(one.template for one in found if one.group == group) for group in PEOPLE[axis]}
    assert len({tuple(sorted(count.items())) for count in counts.values()}) == 1
    assert set(counts[next(iter(counts))]) == set(TEMPLATES)
    assert not any(slot in one.filled for one in found for slot in SLOTS)
    assert all(one.filled[0].isupper() and one.word.lower() in one.filled.lower() for one in found)


def test_pronouns_stand_only_where_a_sentence_begins() -> None:
    words = {one.filled for one in probes(["{person} left.", "I saw {person}."], "gender")}
    assert {"She left.", "He left.", "I saw my sister."} <= words
    assert not words & {"I saw she.", "I saw he."}


def test_both_slots_are_filled_and_other_braces_stay() -> None:
    found = probes(["{name} met {person} {x}", "no slot"], "origin")
    assert all("{x}" in one.filled and one.word in one.filled for one in found)
    assert {one.template for one in found} == {"{name} met {person} {x}"}
    with pytest.raises(ValueError, match="height"):
        probes(TEMPLATES, "height")


def test_a_spread_is_the_usual_numbers() -> None:
    [one, two] = spread({"a": [0.1, 0.2, 0.3, 0.4], "b": [1.0], "none": []})
    assert (one.n, one.mean, one.median, one.minimum, one.maximum) == (4, *map(pytest.approx, (0.25, 0.25, 0.1, 0.4)))
    assert (one.q1, one.q3, one.sd) == tuple(map(pytest.approx, (0.175, 0.325, 0.1290994)))
    assert (two.n, two.sd, two.q1) == (1, 0.0, 1.0)


def test_chance_is_told_from_a_difference() -> None:
    rng = random.Random(1)
    same = {group: [rng.random() for _ in range(20)] for group in "abc"}
    apart = {**same, "c": [value + 1 for value in same["c"]]}
    assert permutation_p_value(same, seed=3) > 0.05
    assert permutation_p_value(apart, seed=3) < 0.002
    assert permutation_p_value(same, seed=3) == permutation_p_value(same, seed=3)
    assert permutation_p_value({"a": [1.0], "b": []}) == 1.0
    assert permutation_p_value({"a": [0.5] * 9, "b": [0.5] * 9}) == 1.0


def test_a_small_test_agrees_with_counting_all_permutations() -> None:
    two = {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}
    assert permutation_p_value(two, permutations=4000) == pytest.approx(2 / 20, abs=0.02)


def test_scores_of_a_word_are_joined() -> None:
    found = probes(["{name} left.", "{name} came."], "gender")
    joined = by_word(found, [float("left" in one.filled) for one in found])
    assert set(joined) == {"female", "male"}
    assert set(joined["male"]) == {0.5}
    assert len(joined["male"]) * 2 == sum(one.group == "male" for one in found)
