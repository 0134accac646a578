"""What each head is trained on, with which numbers, and what it is scored on.

Promises
- Rows that are held out never train: parts named "test" by their publishers, and ``fold`` 0 of what has no such part.
  Choices (numbers, the seed that ships) are made on the validation rows alone: ``fold`` 1, or the publishers' own.
- The mixture is the same for every seed; the seed decides order, dropout and first weights.
- One "epoch" of the trainer is the whole mixture, in which the main source stands several times: each of its rows is
  seen that often, and each row of what is added for breadth about once.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.training.columns import Row
from core.training.heads import names, sources
from core.training.heads.opinions import opinions
from core.training.heads.sources import EMOTIONS, SENTIMENTS, SPAM, TAGS, row_fold
from core.training.parameters import Method, Task, TrainingParameters

MIXTURE_SEED = 4
TEST, VALIDATION = 0, 1
EXCHANGED = 0.5
UNTAGGED = 0.2
_TAIL_WORDS = 150
_SENTENCES = re.compile(r"\s*\n\s*")


@dataclass(frozen=True, slots=True)
class HeadData:
    """Rows of one head. ``tests`` are held out, by name; the first is the one that the head is known by."""

    train: list[Row]
    validation: list[Row]
    tests: dict[str, list[Row]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One head: its name, labels, data and numbers. ``chosen_by`` is the validation figure that picks the seed."""

    name: str
    title: str
    task: Task
    labels: tuple[str, ...]
    data: Callable[[Path], HeadData]
    parameters: TrainingParameters
    chosen_by: str = "accuracy"
    sources: tuple[str, ...] = field(default=())

    def numbers(self, seed: int, max_steps: int = 0) -> TrainingParameters:
        """The numbers of one training."""
        return self.parameters.model_copy(update={"seed": seed, "max_steps": max_steps})


def sentiment(root: Path) -> HeadData:
    """Sentences of film reviews four times; phrases of buyers, comments, our opinions and reviews, cut, once."""
    rng = random.Random(MIXTURE_SEED)
    train, validation, test = _folds(sources.sentence_polarity(root))
    phrases, _, held_phrases = _folds(sources.pros_cons(root))
    reviews, _, held_reviews = _folds(sources.movie_reviews(root))
    comments = sources.emotions_as_sentiment(root, "train")
    held_comments = sources.emotions_as_sentiment(root, "test")
    added = [
        *_balanced(phrases, 4000, rng),
        *_balanced(comments, 4000, rng),
        *_cut_reviews(reviews, rng),
        *opinions(4000, rng),
    ]
    tests = {
        "sentence_polarity": test,
        "pros_cons": _balanced(held_phrases, 500, rng),
        "movie_reviews": held_reviews,
        "comments": _balanced(held_comments, 500, rng),
    }
    return HeadData(train * 4 + added, validation, tests)


def _cut_reviews(reviews: Sequence[Row], rng: random.Random) -> list[Row]:
    """Of each review one row: its beginning (the trainer cuts it), its end, or a few sentences in a row."""
    rows: list[Row] = []
    for review in reviews:
        lines = [line for line in _SENTENCES.split(review["text"]) if line]
        way, text = rng.randrange(4), " ".join(lines)
        if way == 1:
            text = " ".join(text.split()[-_TAIL_WORDS:])
        elif way > 1:
            start = rng.randrange(max(1, len(lines) - 3))
            text = " ".join(lines[start : start + rng.randint(2, 4)])
        rows.append({"text": text, "label": review["label"]})
    return rows


def entities(root: Path) -> HeadData:
    """EWT eight times, tweets twice; sentences without an entity only now and then after the first time.

    The repetitions have other names in half of the places, so that contexts are learned rather than names. Four fifths
    of the dev file train, and twice as often, since the train file is an earlier release of the annotation; what is
    left of it is for validation.
    """
    rng = random.Random(MIXTURE_SEED)
    dev = sources.english_ewt(root, "validation")
    kept_out = [row for row in dev if row_fold(row) in (TEST, VALIDATION)]
    recent = [row for row in dev if row_fold(row) not in (TEST, VALIDATION)]
    sentences = [*sources.english_ewt(root, "train"), *recent]
    tweets, _, held_tweets = _folds(sources.broad_twitter(root))
    known = names.mentions(sentences)
    train = list(sentences)
    for _ in range(7):
        again = _mostly_tagged([*sentences, *recent], UNTAGGED, rng)
        train += [names.exchanged(row, known, EXCHANGED, rng) for row in again]
    train += tweets + _mostly_tagged(tweets, UNTAGGED, rng)
    return HeadData(train, kept_out, {"english_ewt": sources.english_ewt(root, "test"), "broad_twitter": held_tweets})


def _mostly_tagged(rows: Sequence[Row], share: float, rng: random.Random) -> list[Row]:
    """The rows with an entity, and a share of the others."""
    return [row for row in rows if any(row["tags"]) or rng.random() < share]


def emotions(root: Path) -> HeadData:
    """GoEmotions in seven groups: of the two most frequent ones a part, the two rarest four times."""
    rng = random.Random(MIXTURE_SEED)
    rows = sources.emotions(root, "train")
    rng.shuffle(rows)
    train: list[Row] = []
    for label in range(len(EMOTIONS)):
        mine = [row for row in rows if row["label"] == label][:6000]
        train += mine * (4 if len(mine) < 1000 else 1)
    return HeadData(train, sources.emotions(root, "dev"), {"goemotions": sources.emotions(root, "test")})


def spam(root: Path) -> HeadData:
    """SMS messages twice; a message is on one side only, however often it occurs."""
    train, validation, test = _folds(sources.sms_spam(root))
    return HeadData(train * 2, validation, {"sms_spam": test})


def _folds(rows: Sequence[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows to train on, to validate on, and held out."""
    numbered = [(row_fold(row), row) for row in rows]
    return (
        [row for number, row in numbered if number not in (TEST, VALIDATION)],
        [row for number, row in numbered if number == VALIDATION],
        [row for number, row in numbered if number == TEST],
    )


def _balanced(rows: Sequence[Row], each: int, rng: random.Random) -> list[Row]:
    """At most ``each`` rows of every label, drawn at random."""
    drawn: list[Row] = []
    for label in sorted({row["label"] for row in rows}):
        mine = [row for row in rows if row["label"] == label]
        drawn += rng.sample(mine, min(each, len(mine)))
    return drawn


_COMMON = TrainingParameters(
    method=Method.LORA,
    r=16,
    lora_alpha=32,
    target_modules=("query", "key", "value", "dense"),
    learning_rate=1e-3,
    scheduler="linear",
    warmup_ratio=0.06,
    weight_decay=0.01,
    batch_size=32,
    precision="bfloat16",
    epochs=1,
    eval_steps=100_000,
    save_steps=100_000,
)
_TEXTS = _COMMON.model_copy(update={"task": Task.CLASSIFICATION})
_WORDS = _COMMON.model_copy(update={"task": Task.TOKENS})

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("sentiment", "Sentiment", Task.CLASSIFICATION, SENTIMENTS, sentiment, _TEXTS),
        Recipe(
            "entities", "Entities", Task.TOKENS, TAGS, entities,
            _WORDS.model_copy(update={"r": 32, "lora_alpha": 64, "batch_size": 16, "max_length": 160}), "f1",
        ),
        Recipe("emotions", "Emotions", Task.CLASSIFICATION, EMOTIONS, emotions,
               _TEXTS.model_copy(update={"max_length": 96}), "macro_f1"),
        Recipe("spam", "SMS spam", Task.CLASSIFICATION, SPAM, spam,
               _TEXTS.model_copy(update={"max_length": 128}), "macro_f1"),
    )
}  # fmt: skip
