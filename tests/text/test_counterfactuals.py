"""Changed words: each variant says exactly what it changed, keeps capitals, and reads as it should."""

from __future__ import annotations

import pytest

from core.text.counterfactuals import Variant, apply, diff, variants
from core.text.word_lists import NAMES


def made(text: str, *kinds: str) -> list[Variant]:
    found = variants(text, kinds) if kinds else variants(text)
    for one in found:
        assert apply(text, one.changes) == one.text != text
        assert all(text[start:end] == before for start, end, before, _ in one.changes)
        assert [change[0] for change in one.changes] == sorted(change[0] for change in one.changes)
    return found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("I don't like it.", ["I do like it."]),
        ("WON'T WORK", ["WILL WORK"]),
        ("I cannot say", ["I can say"]),
        ("Never go there, it isn’t good", ["Go there, it isn’t good", "Never go there, it is good"]),
        ("I think not", ["I think"]),
        ("The film is great.", ["The film is not great."]),
        ("I'm sure", ["I'm not sure"]),
        ("It has been fun", ["It has not been fun"]),
        ("THIS IS GREAT", ["THIS IS NOT GREAT"]),
        ("Great acting", ["Not great acting"]),
        ("Is it new?", []),
        ("It is not only new", []),
        ("🙂", []),
        ("", []),
    ],
)
def test_negations_go_in_and_out(text: str, wanted: list[str]) -> None:
    assert [one.text for one in made(text, "negation")] == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("He told her that her mother, an ACTRESS, saw him.", "She told him that his father, an ACTOR, saw her."),
        ("His dog is hers, the car is his.", "Her dog is his, the car is hers."),
        ("Mrs. Hill and Mr Hall", "Mr. Hill and Ms Hall"),
        ("She's himself", "He's herself"),
        ("The there chair", None),
    ],
)
def test_genders_are_swapped_together(text: str, wanted: str | None) -> None:
    assert [one.text for one in made(text, "gender")] == ([wanted] if wanted else [])


def test_names_are_swapped_alike_wherever_they_stand() -> None:
    found = made("Emma met AHMED. Emma's friend james stayed.", "name")
    assert found[0].text == "Maria met WEI. Maria's friend james stayed."
    assert len({one.text for one in found}) == len(found) == 4
    assert all(not made(text, "name") for text in ("emma", "Emmaline", "nobody"))


def test_kinds_come_in_the_order_asked_for() -> None:
    assert [one.kind for one in made("Emma is here, she says", "gender", "negation")] == ["gender", "negation"]
    assert {one.kind for one in made("Emma is here, she says")} == {"negation", "gender", "name"}
    with pytest.raises(ValueError, match="magic"):
        variants("a", ("magic",))


def test_names_are_listed_once() -> None:
    names = [name for group in NAMES.values() for some in group.values() for name in some]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("original", "edited", "wanted"),
    [
        ("the cat sat", "the cat sat", []),
        ("the cat sat", "the big cat stood", [(4, 4, "", "big "), (8, 11, "sat", "stood")]),
        ("a good bad day", "a fine odd day", [(2, 10, "good bad", "fine odd")]),
        ("", "new", [(0, 0, "", "new")]),
        ("old", "", [(0, 3, "old", "")]),
        ("🙂 שלום", "🙃 שלום", [(0, 1, "🙂", "🙃")]),
    ],
)
def test_an_edit_is_told_by_its_words(original: str, edited: str, wanted: list[tuple[int, int, str, str]]) -> None:
    assert diff(original, edited) == wanted
    assert apply(original, diff(original, edited)) == edited
