"""Presets and the lesson of the Entities lab: each is a request, for the page, the API and the tests."""

from __future__ import annotations

from dataclasses import dataclass

from core.labs.entities.choices import Mode
from core.labs.entities.request import CHECK_SET, EntitiesRequest


@dataclass(frozen=True, slots=True)
class Preset:
    """A chip above the controls."""

    title: str
    request: EntitiesRequest


@dataclass(frozen=True, slots=True)
class Experiment:
    """One step of the lesson: do this, look there, and what it shows."""

    title: str
    request: EntitiesRequest
    look: str
    lesson: str


NEWS = (
    "BRUSSELS - Ursula von der Leyen said on Tuesday that the European Commission would open talks with Norway. The "
    "Norwegian minister, Espen Barth Eide, had met officials of Equinor in Stavanger the day before.\n"
    "Equinor declined to comment. In Oslo, analysts of Nordea Bank called the talks a surprise, while Ursula von der "
    "Leyen flew on to Stavanger to visit the Equinor platform.\n"
    "A spokesman for Airbus in Toulouse confirmed that Guillaume Faury will speak in Oslo next month. Nordea Bank and "
    "Airbus both have offices in Brussels."
)
TWEET = (
    "omg just saw taylor swift at heathrow with some guy from google??\n"
    "LONDON IS WILD TODAY. thank u british airways for losing my bag again, see you in new york"
)
RARE = (
    "Krzysztof Wojciechowski of Thyssenkrupp flew from Llanfairpwllgwyngyll to Antananarivo with Ngozi Okonjo-Iweala."
)
ALIGNED = "Wolfgang Schmidhuber left Siemens for Reykjavik ."
LONG = " ".join(
    f"On day {day} {who} wrote from {where} to {what}."
    for day, who, where, what in (
        (day, people, places, firms)
        for day in range(1, 61)
        for people, places, firms in [
            (
                ("Amelia Hart", "Jonas Weber", "Chidi Okafor", "Mei Tanaka")[day % 4],
                ("Lisbon", "Hamburg", "Lagos", "Osaka", "Quito")[day % 5],
                ("Volvo", "Unilever", "Samsung")[day % 3],
            )
        ]
    )
)

FIND = EntitiesRequest()
GRAPH = EntitiesRequest(text=NEWS)
INFORMAL = EntitiesRequest(text=TWEET)
WINDOWS = EntitiesRequest(text=LONG)
STRATEGIES = EntitiesRequest(mode=Mode.STRATEGIES, text=RARE)
ALIGNMENT = EntitiesRequest(mode=Mode.ALIGNMENT, text=ALIGNED, tags="B-PER I-PER O B-ORG O B-LOC O")
CUT = EntitiesRequest(
    mode=Mode.ALIGNMENT,
    text=RARE.replace(".", " ."),
    tags="B-PER I-PER O B-ORG O O B-LOC O B-LOC O B-PER I-PER O",
    max_length=24,
)
CHECK = EntitiesRequest(mode=Mode.EVALUATE, data=CHECK_SET)

PRESETS = (
    Preset("People, places, firms", FIND),
    Preset("News and its graph", GRAPH),
    Preset("Tweets, no capitals", INFORMAL),
    Preset("Longer than one window", WINDOWS),
    Preset("Five strategies", STRATEGIES),
    Preset("Three tokenizers", ALIGNMENT),
    Preset("Evaluate the check set", CHECK),
)

LESSON = (
    Experiment(
        "From tokens to entities",
        STRATEGIES,
        "Rare names fall into many subwords. Look which strategies keep them whole: differences carry a mark.",
        "The model labels tokens, not words. “Simple” joins neighbours of one type and may cut a word where one "
        "subword got another label. “First”, “average” and “max” let the whole word speak with one voice.",
    ),
    Experiment(
        "What training sees",
        ALIGNMENT,
        "Compare the three tokenizers. Then switch on “Label every subword” and run again.",
        "Labels belong to words, the loss to tokens. Specials, and by default all subwords but the first, have -100: "
        "the loss leaves them out. With every subword labelled long names count more often than short ones.",
    ),
    Experiment(
        "What is cut off is not learned",
        CUT,
        "Look at the last words: after 24 tokens there is nothing left of them.",
        "A row that is longer than the maximum loses its last labels. The model never sees them in training, and "
        "nobody says so unless it is counted.",
    ),
    Experiment(
        "Strict and lenient",
        CHECK,
        "Compare the two halves of the table, then the counts of boundary and type errors below it. Click an error.",
        "Lenient scoring repairs sequences that are no IOB2, such as an entity that starts with I-, and counts them as "
        "right. Strict scoring does not. A difference between the two is a model that breaks the scheme.",
    ),
    Experiment(
        "Who appears with whom",
        GRAPH,
        "Click an edge of the graph: the sentences that it comes from stand below.",
        "Two entities that share a sentence are joined. An edge says that they are named together, not how they are "
        "related: read the sentence before you conclude anything.",
    ),
)
