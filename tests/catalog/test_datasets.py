"""The bundled sets: listed without anything heavy, and as good as their cards say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from core.catalog.datasets import bundled_dataset, dataset_card, dataset_choices
from core.settings import Settings

SETTINGS = Settings()


def rows(name: str) -> list[dict[str, Any]]:
    path = bundled_dataset(SETTINGS, name)
    assert path is not None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z']+", text.lower())
    return {tuple(words[i : i + 6]) for i in range(len(words) - 5)}


def nearest(texts: list[str]) -> float:
    """The largest share of six-word sequences that two of the texts have in common."""
    sets = [shingles(text) for text in texts]
    return max(len(a & b) / len(a | b) for i, a in enumerate(sets) for b in sets[:i])


def test_the_picker_offers_the_sets_by_task() -> None:
    found = [(choice.name, choice.title, choice.task, choice.rows) for choice in dataset_choices(SETTINGS)]
    assert found == [
        ("pirate-stories", "Pirate stories", "language", 200),
        ("story-requests", "Story requests", "language", 160),
        ("feelings", "Feelings", "classification", 240),
        ("reviews-check", "Reviews check", "classification", 140),
        ("entities-check", "Entities check", "tokens", 92),
    ]
    assert dataset_choices(SETTINGS)[0].note == "200 rows · bundled"


def test_each_card_says_how_the_set_was_made() -> None:
    for choice in dataset_choices(SETTINGS):
        path = SETTINGS.assets / "datasets" / choice.name / "README.md"
        assert f"size: {choice.rows} rows" in path.read_text(encoding="utf-8")
        card = dataset_card(SETTINGS, choice.name)
        assert card.startswith("# ")
        assert "## How it was made" in card
        assert "ritten for Benchtop" in card
    assert dataset_card(SETTINGS, "nothing") == ""
    assert bundled_dataset(SETTINGS, "../models") is None


def test_pirate_stories_are_short_different_and_all_in_the_voice() -> None:
    texts = [row["text"] for row in rows("pirate-stories")]
    assert all(90 <= len(text.split()) <= 110 for text in texts)
    assert all(
        re.search(r"\b(arr|ahoy|yo ho ho|avast|shiver me timbers|me hearties)\b", text.lower()) for text in texts
    )
    voice = re.compile(r"\b(arr|ye|yer|me hearties|matey|mateys|aye|be|o'|salty sea|ahoy|nay|yo ho)(?![a-z])", re.I)
    assert min(len(voice.findall(text)) for text in texts) >= 4
    assert nearest(texts) <= 0.62
    assert all("{" not in text and "  " not in text for text in texts)


def test_story_requests_tell_what_was_asked_for() -> None:
    chats = [row["messages"] for row in rows("story-requests")]
    assert all([turn["role"] for turn in chat] == ["user", "assistant"] for chat in chats)
    for question, answer in ([turn["content"] for turn in chat] for chat in chats):
        hero = re.search(r"story about (an? (?:little )?\w+)", question)
        assert hero is not None
        assert hero[1] in answer.partition(".")[0]  # the first sentence brings the hero in
        assert " learned " in answer.rpartition("\n")[2]
        assert 60 <= len(answer.split()) <= 110
    assert nearest([chat[1]["content"] for chat in chats]) <= 0.6
    asked = {re.search(r"story about (.*?)(?:, please)?[.?]$", chat[0]["content"])[1] for chat in chats}  # type: ignore[index]
    assert len(asked) == len(chats)


def test_feelings_are_balanced_and_no_sentence_comes_twice() -> None:
    found = rows("feelings")
    assert Counter(row["label"] for row in found) == dict.fromkeys(("happy", "sad", "angry", "afraid"), 60)
    assert len({" ".join(row["text"].casefold().split()) for row in found}) == 240
    assert all(5 <= len(row["text"].split()) <= 14 for row in found)


def test_listing_needs_nothing_heavy() -> None:
    code = (
        "import sys; from core.catalog.datasets import dataset_choices; from core.settings import Settings\n"
        "import core.training.datasets, core.training.preview\n"
        "assert len(dataset_choices(Settings())) == 5\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'pandas', 'trl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_card_that_cannot_be_read_costs_the_title_only(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "mine"
    folder.mkdir(parents=True)
    (folder / "data.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    (tmp_path / "datasets" / "empty").mkdir()
    settings = Settings(assets=tmp_path)
    for card in (None, "no block", "---\ntitle: [\n---\n", b"\xff\xfe\x00"):
        if card is not None:
            (folder / "README.md").write_bytes(card if isinstance(card, bytes) else card.encode())
        (choice,) = dataset_choices(settings)
        assert (choice.name, choice.title, choice.task, choice.rows) == ("mine", "mine", "language", 2)
