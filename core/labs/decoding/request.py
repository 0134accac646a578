"""What a decoding run is asked to do. The page's widgets, the link, the API and the script all come from here."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from core.generation.parameters import (
    DEFAULT_ORDER,
    SAMPLING_STRATEGIES,
    STAGE_TITLES,
    STRATEGY_TITLES,
    SamplingParameters,
    Stage,
    StopConditions,
    Strategy,
)
from core.labs.base import Request, choice_labels, readable

ONLY_STAGE = {
    Strategy.TOP_K: "top_k",
    Strategy.TOP_P: "top_p",
    Strategy.MIN_P: "min_p",
    Strategy.TYPICAL: "typical_p",
}
DEFAULT_MODEL = "story-lm"
PROMPT_LOOKUP = "prompt lookup"
PROMPT_CHARACTERS = 200_000


class DecodingRequest(Request):
    """One prompt, decoded by up to four strategies side by side with one seed."""

    model: str = Field(
        DEFAULT_MODEL,
        title="Model",
        min_length=1,
        max_length=300,
        description="A bundled model, a Hub name, or a local folder.",
    )
    prompt: str = Field(
        "Once upon a time, there",
        title="Prompt",
        description="What the model continues.",
        json_schema_extra={"lines": 3},
    )
    strategies: tuple[Strategy, ...] = Field(
        (Strategy.GREEDY, Strategy.SAMPLING, Strategy.BEAM),
        title="Strategies",
        min_length=1,
        max_length=4,
        description="Up to four, side by side.",
        json_schema_extra=choice_labels(STRATEGY_TITLES),
    )
    temperature: float = Field(
        0.8,
        title="Temperature",
        gt=0,
        le=2,
        json_schema_extra={"minimum": 0.05, "step": 0.05},
        description="Divides the logits: below 1 sharpens, above 1 flattens. For 0 choose greedy.",
    )
    top_k: int = Field(40, title="top-k", ge=0, le=200, description="Keep the k most probable tokens; 0 is off.")
    top_p: float = Field(
        0.9,
        title="top-p",
        gt=0,
        le=1,
        json_schema_extra={"minimum": 0.05, "step": 0.01},
        description="Keep the fewest tokens that together reach p; 1 is off.",
    )
    min_p: float = Field(
        0.0,
        title="min-p",
        ge=0,
        le=1,
        json_schema_extra={"step": 0.01},
        description="Cut tokens below this share of the most probable one; 0 is off.",
    )
    typical_p: float = Field(
        1.0,
        title="Typical p",
        gt=0,
        le=1,
        json_schema_extra={"minimum": 0.05, "step": 0.01},
        description="Keep tokens whose surprisal is near the entropy, up to this mass; 1 is off.",
    )
    repetition_penalty: float = Field(
        1.0,
        title="Repetition penalty",
        ge=0.5,
        le=2,
        json_schema_extra={"step": 0.05},
        description="Above 1 lowers tokens that were already used.",
    )
    no_repeat_ngram_size: int = Field(
        0,
        title="No-repeat n-gram",
        ge=0,
        le=10,
        description="Forbid any n-gram of this size from coming twice; 0 is off.",
    )
    max_new_tokens: int = Field(64, title="New tokens", ge=1, le=512, description="Where to stop at the latest.")
    num_beams: int = Field(4, title="Beams", ge=1, le=8, description="Hypotheses that beam search keeps.")
    length_penalty: float = Field(
        1.0,
        title="Length penalty",
        ge=-5,
        le=5,
        json_schema_extra={"step": 0.1},
        description="Exponent on a beam's length: above 0 favours long ones.",
    )
    penalty_alpha: float = Field(
        0.6,
        title="Degeneration penalty",
        ge=0,
        le=1,
        json_schema_extra={"step": 0.05},
        description="Contrastive search: weight of being unlike the context.",
    )
    contrastive_k: int = Field(
        4,
        title="Contrastive candidates",
        ge=2,
        le=20,
        description="Contrastive search: how many candidates are compared.",
    )
    draft: str = Field(
        PROMPT_LOOKUP,
        title="Speculate with",
        min_length=1,
        max_length=300,
        description='"prompt lookup", or the name of a smaller model with the same tokenizer.',
    )
    draft_tokens: int = Field(
        5, title="Draft tokens", ge=1, le=20, description="Tokens guessed before the model checks them."
    )
    stop_strings: tuple[str, ...] = Field(
        (), title="Stop strings", max_length=8, description="End when one of these appears; one per line."
    )
    ignore_eos: bool = Field(False, title="Ignore end-of-text", description="Go on past the model's own end token.")
    chat: bool = Field(False, title="Apply the chat template", description="Wrap the prompt as a user's turn.")
    system_prompt: str = Field(
        "",
        title="System prompt",
        max_length=4000,
        description="Used with the chat template.",
        json_schema_extra={"lines": 2},
    )
    seed: int = Field(
        7, title="Seed", ge=0, lt=2**31, description="Each column draws from its own generator with this seed."
    )
    stage_order: tuple[Stage, ...] = Field(
        DEFAULT_ORDER,
        title="Stage order",
        description="The order in which the sampling stages act.",
        json_schema_extra=choice_labels(STAGE_TITLES),
    )
    by_hand: bool = Field(False, title="One token at a time", description="Wait for Next before each token.")
    check: bool = Field(
        False, title="Check against generate()", description="Run the library's generate() too and compare the ids."
    )
    reference: str = Field(
        "",
        title="Reference",
        max_length=20_000,
        description="Gives BLEU and ROUGE against this text.",
        json_schema_extra={"lines": 2},
    )
    forced_ids: tuple[int, ...] = Field(
        (),
        title="Forced tokens",
        max_length=2048,
        description="Token ids placed after the prompt: a branch.",
        json_schema_extra={"widget": "hidden"},
    )

    @field_validator("prompt")
    @classmethod
    def _prompt(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty: type something for the model to continue")
        if len(text) > PROMPT_CHARACTERS:
            raise ValueError(f"has {len(text):,} characters; the most is {PROMPT_CHARACTERS:,}: shorten it")
        return readable(text)

    @field_validator("system_prompt", "reference", "model", "draft")
    @classmethod
    def _text(cls, text: str) -> str:
        return readable(text)

    @field_validator("stop_strings")
    @classmethod
    def _stop_strings(cls, strings: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(readable(s) for s in strings if s)

    @field_validator("stage_order")
    @classmethod
    def _each_stage_once(cls, order: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if sorted(order) != sorted(DEFAULT_ORDER):
            raise ValueError(f"must name each of {', '.join(DEFAULT_ORDER)} exactly once")
        return order

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if len(set(self.strategies)) != len(self.strategies):
            raise ValueError("strategies: each can be chosen once")
        return self

    def summary(self) -> str:
        names = ", ".join(STRATEGY_TITLES[s] for s in self.strategies)
        return f"{' '.join(self.prompt.split())[:60]} · {names}"

    @property
    def paced(self) -> bool:
        return self.by_hand

    def sampling(self, strategy: Strategy) -> SamplingParameters:
        """What the stages do in one strategy's column. Only sampling columns have stages beside the penalties."""
        shared = {
            "repetition_penalty": self.repetition_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
            "order": self.stage_order,
            "seed": self.seed,
        }
        if strategy not in SAMPLING_STRATEGIES:
            return SamplingParameters(**shared)
        stages = {"top_k": self.top_k, "top_p": self.top_p, "min_p": self.min_p, "typical_p": self.typical_p}
        only = ONLY_STAGE.get(strategy)
        kept = {name: value for name, value in stages.items() if only in (None, name)}
        return SamplingParameters(do_sample=True, temperature=self.temperature, **kept, **shared)

    def stop(self) -> StopConditions:
        """When each column ends."""
        return StopConditions(
            max_new_tokens=self.max_new_tokens, stop_strings=self.stop_strings, ignore_eos=self.ignore_eos
        )

    def title(self, strategy: Strategy) -> str:
        """A column's heading."""
        heading = STRATEGY_TITLES[strategy]
        return f"{heading} · {self.num_beams}" if strategy is Strategy.BEAM else heading


class MicroscopeRequest(Request):
    """One step under the lens: what each stage does to the next-token distribution after prompt and prefix."""

    decoding: DecodingRequest
    strategy: Strategy
    prompt_ids: tuple[int, ...] = Field(min_length=1)
    prefix_ids: tuple[int, ...] = Field((), description="Tokens produced before this step.")
    chosen_id: int = Field(ge=0)
    order: tuple[Stage, ...] = DEFAULT_ORDER
    candidates: int = Field(12, ge=1, le=50)
