"""How the next token is chosen: strategies, sampling stages, and their parameters. Imports nothing heavy.

The names, defaults' meaning and the default order of the stages are those of ``transformers.GenerationConfig`` and of
``GenerationMixin._get_logits_processor``; a parameter at its neutral value switches its stage off.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Strategy(StrEnum):
    """How a column decodes. ``SAMPLING`` uses every stage; the four that name a stage use temperature and that one."""

    GREEDY = "greedy"
    SAMPLING = "sampling"
    TOP_K = "top_k_sampling"
    TOP_P = "top_p_sampling"
    MIN_P = "min_p_sampling"
    TYPICAL = "typical_sampling"
    BEAM = "beam"
    CONTRASTIVE = "contrastive"
    SPECULATIVE = "speculative"


STRATEGY_TITLES = {
    Strategy.GREEDY: "Greedy",
    Strategy.SAMPLING: "Sampling",
    Strategy.TOP_K: "Sampling, top-k only",
    Strategy.TOP_P: "Sampling, top-p only",
    Strategy.MIN_P: "Sampling, min-p only",
    Strategy.TYPICAL: "Sampling, typical only",
    Strategy.BEAM: "Beam search",
    Strategy.CONTRASTIVE: "Contrastive search",
    Strategy.SPECULATIVE: "Speculative",
}
SAMPLING_STRATEGIES = (Strategy.SAMPLING, Strategy.TOP_K, Strategy.TOP_P, Strategy.MIN_P, Strategy.TYPICAL)


class Stage(StrEnum):
    """A step between the raw logits and the distribution that is sampled from."""

    PENALTIES = "penalties"
    TEMPERATURE = "temperature"
    TOP_K = "top_k"
    TOP_P = "top_p"
    MIN_P = "min_p"
    TYPICAL = "typical"


STAGE_TITLES = {
    Stage.PENALTIES: "penalties",
    Stage.TEMPERATURE: "temperature",
    Stage.TOP_K: "top-k",
    Stage.TOP_P: "top-p",
    Stage.MIN_P: "min-p",
    Stage.TYPICAL: "typical",
}
DEFAULT_ORDER = (Stage.PENALTIES, Stage.TEMPERATURE, Stage.TOP_K, Stage.TOP_P, Stage.MIN_P, Stage.TYPICAL)


class SamplingParameters(BaseModel):
    """Parameters of the stages for one row. Greedy rows go through the penalties and then take the largest logit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    do_sample: bool = False
    temperature: float = Field(1.0, gt=0, le=10)
    top_k: int = Field(0, ge=0, description="0 is off.")
    top_p: float = Field(1.0, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, le=1)
    typical_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    no_repeat_ngram_size: int = Field(0, ge=0)
    order: tuple[Stage, ...] = DEFAULT_ORDER
    seed: int = Field(0, ge=0, lt=2**63)

    @field_validator("order")
    @classmethod
    def _each_stage_once(cls, order: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if sorted(order) != sorted(DEFAULT_ORDER):
            raise ValueError(f"must name each of {', '.join(DEFAULT_ORDER)} exactly once")
        return order


class StopConditions(BaseModel):
    """When a row ends: after ``max_new_tokens``, at an end token unless ignored, or when a stop string appears."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(64, ge=1)
    stop_strings: tuple[str, ...] = ()
    ignore_eos: bool = False
