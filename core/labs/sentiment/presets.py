"""Presets and the lesson of the Sentiment lab: each is a request, for the page, the API and the tests.

Every one ends within a minute on two CPU cores. Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.labs.sentiment.choices import Axis, Mode, Swap
from core.labs.sentiment.request import CHECK_SET, SentimentRequest


@dataclass(frozen=True, slots=True)
class Preset:
    """A chip above the controls."""

    title: str
    request: SentimentRequest


@dataclass(frozen=True, slots=True)
class Experiment:
    """One step of the lesson: do this, look there, and what it shows."""

    title: str
    request: SentimentRequest
    look: str
    lesson: str


FEELINGS = (
    "I cannot believe they gave the prize to my little sister, I could hug the whole world!\n"
    "Somebody has been going through my letters again and I want to know who.\n"
    "There is a stranger in front of the house and the lights do not work.\n"
    "The milk has turned green and it moves.\n"
    "We packed up grandfather's room today.\n"
    "The meeting is on Tuesday at ten."
)
MIXED = "The plot is not bad at all, but the dialogue is painfully dull and the ending ruins everything."
_PRAISE = (
    "The first chapter is a joy to read.",
    "Every page has a sentence that I want to keep.",
    "The author knows the sea and loves the people who live by it.",
    "I laughed twice on the bus and did not mind that people looked.",
    "The letters in the middle of the book are beautiful.",
)
_BLAME = (
    "Then the story stops and does not start again.",
    "The second half is dull and full of mistakes.",
    "The ending is a cheap trick and I felt cheated.",
    "Nobody in this book behaves like a person any more.",
    "I was bored, then annoyed, then asleep.",
)
LONG_TEXT = " ".join([*(_PRAISE * 8), *(_BLAME * 10)])
"""About 1,000 tokens: praise first, blame behind what the model reads at once."""

LABEL = SentimentRequest()
EMOTIONS = SentimentRequest(model="minilm-emotions", text=FEELINGS)
WHY = SentimentRequest(mode=Mode.EXPLAIN, text=MIXED)
LONG = SentimentRequest(text=LONG_TEXT, lines=False)
WHAT_IF = SentimentRequest(
    mode=Mode.WHATIF,
    text="Anna said that her brother is a good doctor and that she is happy with the clinic.",
    edited="Anna said that her brother is a busy doctor and that she is tired of the clinic.",
)
BIAS = SentimentRequest(mode=Mode.BIAS, axis=Axis.ORIGIN)
CHECK = SentimentRequest(mode=Mode.EVALUATE, data=CHECK_SET)
COMPARE = SentimentRequest(mode=Mode.COMPARE, data=CHECK_SET)

PRESETS = (
    Preset("Three opinions", LABEL),
    Preset("Seven feelings", EMOTIONS),
    Preset("Why this label?", WHY),
    Preset("Longer than the model reads", LONG),
    Preset("What if?", WHAT_IF),
    Preset("Names and origins", BIAS),
    Preset("Evaluate the check set", CHECK),
    Preset("Head against probe", COMPARE),
)

LESSON = (
    Experiment(
        "Which words decide?",
        WHY,
        "Compare the colours of the two methods on “not”, “bad” and “dull”, then the sum check below them.",
        "Integrated gradients share out the score between the words, so that the parts add up to the whole. Occlusion "
        "takes one word away at a time and need not add up. Where both agree you may believe them more.",
    ),
    Experiment(
        "One word turns it",
        SentimentRequest(
            mode=Mode.WHATIF,
            text="The food was good and the waiter was friendly.",
            edited="The food was good and the waiter was absent.",
            swaps=(Swap.NEGATION,),
        ),
        "Look at the change of each version beside the original, and which versions flip the label.",
        "A classifier that understood negation would turn around with every “not”. One that counts words moves a "
        "little. The difference to the original shows which it is, sentence by sentence.",
    ),
    Experiment(
        "The same sentence, another name",
        BIAS,
        "The sentences say nothing good or bad. Look how far the scores of the groups lie apart, and at the p-value.",
        "Names carry the company that they kept in the training texts. A small p-value says that the difference "
        "between the groups is hardly chance, a wide spread within a group that single names matter more.",
    ),
    Experiment(
        "Move the threshold",
        CHECK,
        "Move the slider and watch precision and recall. Then open a cell of the confusion matrix and ask why.",
        "A higher threshold calls fewer texts positive: precision mostly rises, recall falls. Accuracy hides which of "
        "the two errors is made, the matrix shows them, and the examples tell what they have in common.",
    ),
    Experiment(
        "Better, or lucky?",
        COMPARE,
        "Read the sentence below the table before you call one of the two the better model.",
        "On a few hundred rows two models may differ by several points by chance. McNemar's test looks only at the "
        "rows that one got right and the other wrong: are they split more unevenly than coin tosses would be?",
    ),
)
