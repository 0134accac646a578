"""What a sentiment run is asked to do: which model labels which texts, and what is looked at in its answers."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from core.labs.base import Request, choice_labels, readable
from core.labs.sentiment.choices import (
    AXIS_TITLES,
    LONG_TITLES,
    MODE_TITLES,
    SWAP_TITLES,
    Axis,
    Long,
    Mode,
    Swap,
)

DEFAULT_MODEL = "minilm-sentiment"
CHECK_SET = "reviews-check"
"""What is evaluated and compared on when no data is named."""
PROBE = "probe"
"""The name that stands for a linear probe among the models that are compared."""
MOST_CHARACTERS = 1_000_000
MOST_EDITED = 20_000
MOST_LINES = 20_000
DEFAULT_TEXT = (
    "The acting is superb, but the story drags on and I nearly fell asleep before the end.\n"
    "Not the best pizza in town, still worth every cent!\n"
    "I waited two hours and nobody even said sorry."
)
DEFAULT_TEMPLATES = (
    "{name} is a colleague of mine.",
    "{name} wrote this report.",
    "I talked to {name} about the results today.",
    "{name} lives next door.",
    "The manager asked {name} for an explanation.",
)


class SentimentRequest(Request):
    """One model (or several to compare) on some texts; each mode reads the fields that it needs."""

    mode: Mode = Field(
        Mode.LABEL,
        title="What to do",
        description="Label texts, ask why, change words, probe for bias, measure, or compare models.",
        json_schema_extra=choice_labels(MODE_TITLES),
    )
    model: str = Field(
        DEFAULT_MODEL,
        title="Model",
        min_length=1,
        max_length=300,
        description="A model that labels texts: bundled, your own fine-tuned one, or one of the Hub.",
    )
    text: str = Field(
        DEFAULT_TEXT,
        title="Text",
        max_length=MOST_CHARACTERS,
        description="What to read. One text, or many.",
        json_schema_extra={"lines": 5},
    )
    lines: bool = Field(True, title="Each line is a text", description="Off: all of it is one text.")
    pair: str = Field(
        "",
        title="Second text",
        max_length=MOST_CHARACTERS,
        description="For models that read pairs (paraphrase, entailment, similarity); a line for each line above.",
        json_schema_extra={"lines": 2},
    )
    data: str = Field(
        "",
        title="Read",
        max_length=300,
        description="The typed text (to evaluate: the check set), a bundled set, an uploaded file, or a Hub dataset.",
    )
    text_column: str = Field("", title="Text column", max_length=200, description="Empty: found by its usual name.")
    target_column: str = Field("", title="Label column", max_length=200, description="Empty: found by its usual name.")
    pair_column: str = Field(
        "", title="Column of second texts", max_length=200, description="For pairs. Empty: found by its usual name."
    )
    rows: int = Field(
        2000,
        title="Rows at most",
        ge=1,
        le=100_000,
        description="Of data with more rows some are drawn by the seed.",
        json_schema_extra={"widget": "number"},
    )
    long: Long = Field(
        Long.WINDOWS,
        title="Long texts",
        description="Texts of more tokens than the model reads at once.",
        json_schema_extra=choice_labels(LONG_TITLES),
    )
    target: str = Field(
        "",
        title="Explain the label",
        max_length=200,
        description="Whose score the words are weighed for. Empty: the predicted label.",
    )
    steps: int = Field(
        32, title="Steps", ge=4, le=256, description="Of integrated gradients: more come nearer to the exact sum."
    )
    edited: str = Field(
        "",
        title="Your version",
        max_length=MOST_EDITED,
        description="The text with words changed; it is put beside the original.",
        json_schema_extra={"lines": 3},
    )
    swaps: tuple[Swap, ...] = Field(
        (Swap.NEGATION, Swap.GENDER, Swap.NAME),
        title="Try also",
        max_length=3,
        description="Edits that are made for you where the text has a word for them.",
        json_schema_extra=choice_labels(SWAP_TITLES),
    )
    axis: Axis = Field(
        Axis.GENDER,
        title="Groups by",
        description="By what the people in the sentences differ.",
        json_schema_extra=choice_labels(AXIS_TITLES),
    )
    templates: tuple[str, ...] = Field(
        DEFAULT_TEMPLATES,
        title="Templates",
        min_length=1,
        max_length=50,
        description="A sentence per line with {name} or {person} in it; every word of every group is put there.",
        json_schema_extra={"lines": 5},
    )
    positive: str = Field(
        "",
        title="Positive label",
        max_length=200,
        description="Whose scores, threshold and curves are shown. Empty: the model's last label.",
    )
    models: tuple[str, ...] = Field(
        (DEFAULT_MODEL, PROBE),
        title="Models",
        min_length=2,
        max_length=5,
        description="Two to five, one per line; the first is the reference, “probe” a linear probe on MiniLM.",
        json_schema_extra={"lines": 3},
    )
    seed: int = Field(
        7, title="Seed", ge=0, lt=2**31, description="Of the rows that are drawn, the probe and the resampling."
    )

    @field_validator(
        "model", "text", "pair", "data", "text_column", "target_column", "pair_column", "target", "edited", "positive"
    )
    @classmethod
    def _readable(cls, text: str) -> str:
        return readable(text)

    @field_validator("swaps")
    @classmethod
    def _once(cls, chosen: tuple[Swap, ...]) -> tuple[Swap, ...]:
        if len(set(chosen)) != len(chosen):
            raise ValueError("names one twice: each can be chosen once")
        return chosen

    @field_validator("templates")
    @classmethod
    def _templates(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        lines = tuple(readable(line.strip()) for line in lines if line.strip())
        if not lines:
            raise ValueError("is empty: write a sentence with {name} in it")
        for number, line in enumerate(lines, start=1):
            if "{name}" not in line and "{person}" not in line:
                raise ValueError(f"line {number} has no {{name}} and no {{person}} where a word could be put")
            if len(line) > 1000:
                raise ValueError(f"line {number} has more than 1,000 characters: shorten it")
        return lines

    @field_validator("models")
    @classmethod
    def _models(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(readable(name.strip()) for name in names if name.strip())
        if len(names) < 2:
            raise ValueError("names fewer than two: write one model per line")
        if len(set(names)) != len(names):
            raise ValueError("names one twice: each can be compared once")
        if any(len(name) > 300 for name in names):
            raise ValueError("has a name of more than 300 characters")
        return names

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> Self:
        if self.mode is Mode.WHATIF and not self.text.strip():
            raise ValueError("text: write the sentence that is to be changed")
        if self.mode in (Mode.LABEL, Mode.EXPLAIN) and not self.data:
            texts, pairs = self.texts(), self.pairs()
            if not texts:
                raise ValueError("text: write something to read, or choose data")
            if len(texts) > MOST_LINES:
                raise ValueError(f"text: has {len(texts):,} lines; at most {MOST_LINES:,}: upload them as a file")
            if pairs and len(pairs) != len(texts):
                raise ValueError(f"pair: there are {len(texts):,} texts and {len(pairs):,} second texts")
        return self

    def texts(self) -> list[str]:
        """The texts that were typed: lines that hold something, or all of it as one."""
        return self._split(self.text)

    def pairs(self) -> list[str]:
        """The second texts that were typed, one for each text; none for a model that reads single texts."""
        return self._split(self.pair)

    def _split(self, text: str) -> list[str]:
        if self.lines:
            return [line.strip() for line in text.splitlines() if line.strip()]
        return [text.strip()] if text.strip() else []

    @property
    def labelled(self) -> str:
        """The data that is evaluated and compared on."""
        return self.data or CHECK_SET

    @property
    def reference(self) -> str:
        """The model whose word counts: of those that are compared the first that is no probe."""
        if self.mode is not Mode.COMPARE:
            return self.model
        return next(name for name in self.models if name != PROBE)

    def summary(self) -> str:
        what = ", ".join(self.models) if self.mode is Mode.COMPARE else self.model
        return f"{MODE_TITLES[self.mode]} · {what}"
