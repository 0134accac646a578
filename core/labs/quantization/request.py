"""What a quantization run is asked to do: which model, what is done to its weights, and what is measured."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.labs.base import Request, choice_labels, readable
from core.labs.quantization.choices import (
    FORMAT_TITLES,
    GRANULARITY_TITLES,
    METHOD_TITLES,
    MODE_TITLES,
    QUANTIZED_TITLES,
    ROLE_TITLES,
    SCHEME_TITLES,
    USE_TITLES,
    Format,
    Granularity,
    Method,
    Mode,
    Role,
    SchemeName,
    Use,
)

DEFAULT_MODEL = "story-lm"
DEFAULT_PROMPT = "Once upon a time there was a little fox who"
DEFAULT_SCHEMES = (
    SchemeName.FLOAT32,
    SchemeName.BFLOAT16,
    SchemeName.INT8,
    SchemeName.NF4,
    SchemeName.NF4_DOUBLE,
    SchemeName.FP4,
    SchemeName.INT8_WEIGHT_ONLY,
    SchemeName.INT8_DYNAMIC,
)
MOST_CHARACTERS = 20_000
MOST_SCORED_CHARACTERS = 1_000_000
MOST_TURNS = 40


class Turn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role = Field(Role.USER, title="Role", json_schema_extra=choice_labels(ROLE_TITLES))
    content: str = Field("", title="Text", max_length=MOST_CHARACTERS)

    @field_validator("content")
    @classmethod
    def _readable(cls, text: str) -> str:
        return readable(text)


DEFAULT_CONVERSATION = (
    Turn(role=Role.SYSTEM, content="You tell short stories for children."),
    Turn(role=Role.USER, content="Tell me a story about a fox."),
    Turn(role=Role.ASSISTANT, content="Once there was a small red fox who was afraid of the dark."),
    Turn(role=Role.USER, content="What happened then?"),
)


class QuantizationRequest(Request):
    """One model, one thing to do; each mode reads the fields that it needs."""

    mode: Mode = Field(
        Mode.COMPARE,
        title="What to do",
        description="Compare schemes, plan memory, look at a layer, at all of them, at chat formats, or save.",
        json_schema_extra=choice_labels(MODE_TITLES),
    )
    model: str = Field(
        DEFAULT_MODEL,
        title="Model",
        min_length=1,
        max_length=300,
        description="A model that writes text: bundled, your own, or one of the Hub. A plan needs no weights.",
    )
    prompt: str = Field(
        DEFAULT_PROMPT,
        title="Prompt",
        max_length=MOST_CHARACTERS,
        description="What each scheme goes on from, with one seed.",
        json_schema_extra={"lines": 3},
    )
    schemes: tuple[SchemeName, ...] = Field(
        DEFAULT_SCHEMES,
        title="Schemes",
        min_length=1,
        max_length=len(SchemeName),
        description="How the weights are stored. What this device cannot do is skipped and says why.",
        json_schema_extra=choice_labels(SCHEME_TITLES),
    )
    new_tokens: int = Field(48, title="New tokens", ge=1, le=512, description="How far each scheme goes on.")
    text: str = Field(
        "",
        title="Text to score",
        max_length=MOST_SCORED_CHARACTERS,
        description="What perplexity is measured on. Empty: stories that come with Benchtop.",
        json_schema_extra={"lines": 3},
    )
    scored_tokens: int = Field(
        1024,
        title="Scored tokens",
        ge=64,
        le=20_000,
        description="Tokens of that text, at most.",
        json_schema_extra={"widget": "number"},
    )
    temperature: float = Field(
        0.8, title="Temperature", ge=0, le=2, description="Of the sampled text; 0 is greedy.",
        json_schema_extra={"step": 0.05},
    )  # fmt: skip
    seed: int = Field(7, title="Seed", ge=0, lt=2**31, description="Of the sampled text and of what is drawn.")
    repeats: int = Field(3, title="Repeats", ge=1, le=9, description="Timings of each scheme; the median counts.")
    context: int = Field(
        4096,
        title="Context",
        ge=128,
        le=1_000_000,
        description="Tokens of a row that memory is planned for.",
        json_schema_extra={"widget": "number"},
    )
    batch: int = Field(1, title="Rows", ge=1, le=256, description="Rows at once that memory is planned for.")
    use: tuple[Use, ...] = Field(
        tuple(Use),
        title="Uses",
        min_length=1,
        max_length=len(Use),
        description="What memory is planned for.",
        json_schema_extra=choice_labels(USE_TITLES),
    )
    rank: int = Field(16, title="LoRA rank", ge=1, le=512, description="Of the adapters on all linear layers.")
    layer: str = Field(
        "", title="Layer", max_length=300, description="A linear layer by its name. Empty: the first of attention."
    )
    method: Method = Field(
        Method.UNIFORM,
        title="Method",
        description="What is done to the weights.",
        json_schema_extra=choice_labels(METHOD_TITLES),
    )
    bits: int = Field(4, title="Bits", ge=2, le=8, description="Of a weight: 2 to the power of it is the levels.")
    symmetric: bool = Field(
        True, title="Symmetric", description="Levels on both sides of zero; off: from least to most."
    )
    granularity: Granularity = Field(
        Granularity.TENSOR,
        title="Scale for",
        description="Which weights share a scale.",
        json_schema_extra=choice_labels(GRANULARITY_TITLES),
    )
    group_size: int = Field(
        64, title="Group size", ge=8, le=1024, description="Neighbouring inputs that share a scale."
    )
    sparsity: float = Field(
        0.5, title="Sparsity", ge=0, le=0.95, description="Share of the weights that become 0.",
        json_schema_extra={"step": 0.05},
    )  # fmt: skip
    n: int = Field(2, title="Kept (N)", ge=1, le=8, description="Weights that stay of each group.")
    m: int = Field(4, title="Of each (M)", ge=2, le=16, description="Weights in a group.")
    everywhere: bool = Field(False, title="Every linear layer", description="Do it to all of them, not to one alone.")
    conversation: tuple[Turn, ...] = Field(
        DEFAULT_CONVERSATION,
        title="Conversation",
        min_length=1,
        max_length=MOST_TURNS,
        description="What is said, by whom.",
    )
    formats: tuple[Format, ...] = Field(
        tuple(Format),
        title="Formats",
        min_length=1,
        max_length=len(Format),
        description="How the conversation becomes one text.",
        json_schema_extra=choice_labels(FORMAT_TITLES),
    )
    generation_prompt: bool = Field(
        True, title="Generation prompt", description="End with the words that open the model's next turn."
    )
    scheme: SchemeName = Field(
        SchemeName.NF4,
        title="Scheme",
        description="How the saved weights are stored.",
        json_schema_extra=choice_labels(QUANTIZED_TITLES),
    )

    @field_validator("model", "prompt", "text", "layer")
    @classmethod
    def _readable(cls, text: str) -> str:
        return readable(text)

    @field_validator("schemes", "use", "formats")
    @classmethod
    def _once(cls, chosen: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(chosen)) != len(chosen):
            raise ValueError("names one twice: each can be chosen once")
        return chosen

    @field_validator("scheme")
    @classmethod
    def _quantized(cls, scheme: SchemeName) -> SchemeName:
        if scheme not in QUANTIZED_TITLES:
            raise ValueError(f"{scheme.value} is not quantized: choose one of {', '.join(QUANTIZED_TITLES)}")
        return scheme

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> Self:
        if self.mode is Mode.COMPARE and not self.prompt.strip():
            raise ValueError("prompt: write something to go on from")
        if self.mode in (Mode.LENS, Mode.SWEEP) and self.method is Method.N_M and self.n >= self.m:
            raise ValueError(f"n: keeping {self.n} of {self.m} prunes nothing: choose fewer")
        if self.mode is Mode.CHAT and not any(turn.content.strip() for turn in self.conversation):
            raise ValueError("conversation: write what somebody says")
        return self

    def summary(self) -> str:
        return f"{MODE_TITLES[self.mode]} · {self.model}"
