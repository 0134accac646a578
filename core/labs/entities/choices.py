"""What there is to choose from in the Entities lab, and how it is called. Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What a run does."""

    TAG = "tag"
    STRATEGIES = "strategies"
    ALIGNMENT = "alignment"
    EVALUATE = "evaluate"


class Aggregation(StrEnum):
    """How the labels of tokens become entities, as the token-classification pipeline of transformers names it."""

    NONE = "none"
    SIMPLE = "simple"
    FIRST = "first"
    AVERAGE = "average"
    MAX = "max"


MODE_TITLES = {
    Mode.TAG: "Find entities",
    Mode.STRATEGIES: "Subwords to words",
    Mode.ALIGNMENT: "Alignment",
    Mode.EVALUATE: "Evaluate",
}
AGGREGATION_TITLES = {
    Aggregation.NONE: "None (tokens)",
    Aggregation.SIMPLE: "Simple",
    Aggregation.FIRST: "First",
    Aggregation.AVERAGE: "Average",
    Aggregation.MAX: "Max",
}
AGGREGATION_NOTES = {
    Aggregation.NONE: "every token that is not O, for itself",
    Aggregation.SIMPLE: "neighbouring tokens of one type; a word may be cut",
    Aggregation.FIRST: "a word has the label of its first token",
    Aggregation.AVERAGE: "a word has the label of its tokens' mean scores",
    Aggregation.MAX: "a word has the label of its surest token",
}
TOKENIZERS = ("bert", "byte-level", "sentencepiece")
"""Tokenizers that are bundled; any model's name does as well."""

TEXT, DOCUMENTS = "", "documents"
"""Values of ``data`` that name no data: the text that was typed, and the uploaded documents."""
