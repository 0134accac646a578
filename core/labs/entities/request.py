"""What an entities run is asked to do: which model labels the tokens of which texts, and what is made of the labels."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from core.labs.base import Request, choice_labels, readable
from core.labs.entities.choices import (
    AGGREGATION_TITLES,
    DOCUMENTS,
    MODE_TITLES,
    TEXT,
    TOKENIZERS,
    Aggregation,
    Mode,
)

DEFAULT_MODEL = "minilm-entities"
CHECK_SET = "entities-check"
"""What ``Evaluate`` reads when no data is named."""
MOST_CHARACTERS = 1_000_000
MOST_DOCUMENTS = 50
SENTENCE = 2_000
"""Characters of the text that subwords and alignments are shown for."""
DEFAULT_TEXT = (
    "Marie Curie moved from Warsaw to Paris in 1891. In Paris she worked with Pierre Curie at the Sorbonne, and the "
    "Nobel Committee wrote to both of them from Stockholm. Years later Irene Joliot-Curie joined her mother at the "
    "Radium Institute, while Albert Einstein sent letters from Princeton."
)


class EntitiesRequest(Request):
    """One model and one way to look at what it says of tokens; each mode reads the fields that it needs."""

    mode: Mode = Field(
        Mode.TAG,
        title="What to do",
        description="Find entities, compare how subwords become words, inspect the alignment, or measure.",
        json_schema_extra=choice_labels(MODE_TITLES),
    )
    model: str = Field(
        DEFAULT_MODEL,
        title="Model",
        min_length=1,
        max_length=300,
        description="A model that labels tokens: bundled, your own fine-tuned one, or one of the Hub.",
    )
    text: str = Field(
        DEFAULT_TEXT,
        title="Text",
        max_length=MOST_CHARACTERS,
        description="What to read. For subwords and alignment one or two sentences.",
        json_schema_extra={"lines": 6},
    )
    data: str = Field(
        TEXT,
        title="Read",
        max_length=300,
        description="The typed text (Evaluate: the check set), your documents, a bundled set, a file, a Hub dataset.",
    )
    documents: tuple[str, ...] = Field(
        (),
        title="Documents",
        max_length=MOST_DOCUMENTS,
        description="Names of uploaded files, each a document; read when “Read” says documents.",
        json_schema_extra={"widget": "hidden"},
    )
    words_column: str = Field("", title="Words column", max_length=200, description="Empty: found by its usual name.")
    tags_column: str = Field("", title="Tags column", max_length=200, description="Empty: found by its usual name.")
    aggregation: Aggregation = Field(
        Aggregation.FIRST,
        title="Aggregation",
        description="How labels of tokens become entities. “Subwords to words” shows all five.",
        json_schema_extra=choice_labels(AGGREGATION_TITLES),
    )
    minimum_score: float = Field(
        0.0,
        title="Least score",
        ge=0,
        le=1,
        description="Entities with a lower score are left out.",
        json_schema_extra={"step": 0.01},
    )
    tokenizers: tuple[str, ...] = Field(
        TOKENIZERS,
        title="Tokenizers",
        min_length=1,
        max_length=5,
        description="One per line: bert, byte-level, sentencepiece, or a model's name.",
        json_schema_extra={"lines": 3},
    )
    tags: str = Field(
        "",
        title="Tags of the words",
        max_length=20_000,
        description="An IOB2 tag for each word, between spaces. Empty: those that the model gives.",
        json_schema_extra={"lines": 2},
    )
    label_all_tokens: bool = Field(
        False,
        title="Label every subword",
        description="Train on all tokens of a word; else on its first, and the others are -100.",
    )
    max_length: int = Field(
        128, title="Maximum length", ge=4, le=512, description="Tokens after which a row is cut, specials included."
    )
    rows: int = Field(
        2000,
        title="Rows at most",
        ge=1,
        le=20_000,
        description="Of data with more rows some are drawn by the seed.",
        json_schema_extra={"widget": "number"},
    )
    seed: int = Field(
        7, title="Seed", ge=0, lt=2**31, description="Of the rows that are drawn, and the graph's places."
    )

    @field_validator("model", "text", "data", "words_column", "tags_column", "tags")
    @classmethod
    def _readable(cls, text: str) -> str:
        return readable(text)

    @field_validator("tokenizers")
    @classmethod
    def _tokenizers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(readable(name.strip()) for name in names if name.strip())
        if not names:
            raise ValueError("names no tokenizer: write bert, byte-level, sentencepiece or a model's name")
        if len(set(names)) != len(names):
            raise ValueError("names one twice: each can be shown once")
        if any(len(name) > 300 for name in names):
            raise ValueError("has a name of more than 300 characters")
        return names

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> Self:
        if self.documents and self.data != DOCUMENTS:
            raise ValueError("documents: they are read only when data is “documents”")
        if self.mode in (Mode.STRATEGIES, Mode.ALIGNMENT) and not self.text.strip():
            raise ValueError("text: write a sentence to look at")
        if self.mode is Mode.TAG and self.data == TEXT and not self.text.strip():
            raise ValueError("text: write something to read, or choose data")
        return self

    @property
    def labelled(self) -> str:
        """The data that ``Evaluate`` reads: an uploaded file counts whether it came as data or as the one document."""
        if self.data == DOCUMENTS and self.documents:
            return self.documents[0]
        return self.data or CHECK_SET

    def summary(self) -> str:
        return f"{MODE_TITLES[self.mode]} · {self.model}"
