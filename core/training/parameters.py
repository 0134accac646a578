"""How a model is fine-tuned: methods, tasks and the numbers of a training, in the libraries' own words.

The fields, their bounds and their descriptions are declared here once; the lab's request inherits them. Imports nothing
heavy. What the numbers do is in ``methods`` (PEFT) and ``trainer`` (TRL, transformers).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Task(StrEnum):
    """What the model learns to do."""

    LANGUAGE = "language"
    CLASSIFICATION = "classification"
    TOKENS = "tokens"


TASK_TITLES = {
    Task.LANGUAGE: "Write text",
    Task.CLASSIFICATION: "Label a text",
    Task.TOKENS: "Label each word",
}


class Method(StrEnum):
    """Which numbers are trained."""

    LORA = "lora"
    RSLORA = "rslora"
    DORA = "dora"
    QLORA = "qlora"
    PROMPT = "prompt"
    PROBE = "probe"
    FULL = "full"


METHOD_TITLES = {
    Method.LORA: "LoRA",
    Method.RSLORA: "rsLoRA",
    Method.DORA: "DoRA",
    Method.QLORA: "QLoRA (nf4)",
    Method.PROMPT: "Prompt tuning",
    Method.PROBE: "Linear probe",
    Method.FULL: "Full fine-tuning",
}
LOW_RANK = (Method.LORA, Method.RSLORA, Method.DORA, Method.QLORA)
"""Methods that add a low-rank product to some of the linear layers."""

_RANK = re.compile(r"\s*(?P<module>[^=\s]+)\s*=\s*(?P<rank>[1-9]\d{0,2})\s*")


class TrainingParameters(BaseModel):
    """The numbers of one fine-tuning. Frozen; refuses unknown fields and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: Task = Field(
        Task.LANGUAGE,
        title="Task",
        description="Writing needs a language model, labels an encoder or a language model.",
        json_schema_extra={"labels": {t.value: title for t, title in TASK_TITLES.items()}},
    )
    method: Method = Field(
        Method.LORA,
        title="Method",
        description="Which numbers are trained; the others stay as they are.",
        json_schema_extra={"labels": {m.value: title for m, title in METHOD_TITLES.items()}},
    )
    r: int = Field(8, title="Rank r", ge=1, le=256, description="LoRA: rank of the added matrices.")
    lora_alpha: int = Field(
        16, title="LoRA alpha", ge=1, le=512, description="LoRA: the added product is scaled by alpha / r (rsLoRA: √r)."
    )
    lora_dropout: float = Field(
        0.0, title="LoRA dropout", ge=0, le=0.9, json_schema_extra={"step": 0.05}, description="On the adapters' input."
    )
    target_modules: tuple[str, ...] = Field(
        (),
        title="Target modules",
        max_length=64,
        description="LoRA: names of the linear layers that get adapters, one per line; empty means all of them.",
    )
    bias: Literal["none", "lora_only", "all"] = Field(
        "none", title="Train biases", description="LoRA: no biases, those of adapted layers, or all."
    )
    rank_pattern: tuple[str, ...] = Field(
        (), title="Rank pattern", max_length=64, description="LoRA: other ranks for some modules, such as q_proj=4."
    )
    virtual_tokens: int = Field(
        16, title="Virtual tokens", ge=1, le=256, description="Prompt tuning: trained vectors before the text."
    )
    learning_rate: float = Field(
        2e-3,
        title="Learning rate",
        gt=0,
        le=1,
        json_schema_extra={"widget": "number"},
        description="The highest one; the schedule scales it.",
    )
    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup", "polynomial"] = Field(
        "linear", title="Schedule", description="How the learning rate goes on after the warm-up."
    )
    warmup_ratio: float = Field(
        0.05, title="Warm-up share", ge=0, lt=1, json_schema_extra={"step": 0.01}, description="Share of all steps."
    )
    batch_size: int = Field(8, title="Batch size", ge=1, le=256, description="Rows in one forward pass.")
    gradient_accumulation: int = Field(
        1, title="Gradient accumulation", ge=1, le=256, description="Passes whose gradients make one step."
    )
    activation_checkpointing: bool = Field(
        False, title="Activation checkpointing", description="Less memory, a second forward pass for each step."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", title="Mixed precision", description="auto: bfloat16 on a GPU that computes in it, else float32."
    )
    epochs: float = Field(
        1.0, title="Epochs", gt=0, le=1000, json_schema_extra={"widget": "number"}, description="Passes over the data."
    )
    max_steps: int = Field(
        0, title="Steps at most", ge=0, le=1_000_000, description="Optimizer steps; 0 leaves it to the epochs."
    )
    weight_decay: float = Field(
        0.0, title="Weight decay", ge=0, le=1, json_schema_extra={"step": 0.01}, description="AdamW's."
    )
    max_length: int = Field(
        256, title="Longest row", ge=8, le=8192, description="Tokens; what is longer is cut, and the preview says so."
    )
    packing: bool = Field(False, title="Packing", description="Writing: several texts share a row.")
    completion_only_loss: bool = Field(
        True, title="Loss on completions only", description="Prompts and users' turns give no loss."
    )
    label_all_tokens: bool = Field(
        False,
        title="Label every subword",
        description="Words' tags: a word's later subwords learn it too, with I- after B-; else only the first does.",
    )
    eval_steps: int = Field(
        20, title="Evaluate every", ge=1, le=100_000, description="Steps between two looks at the validation rows."
    )
    save_steps: int = Field(50, title="Checkpoint every", ge=1, le=100_000, description="Steps between checkpoints.")
    early_stopping: int = Field(
        0,
        title="Early stopping",
        ge=0,
        le=100,
        description="Evaluations without a better loss before it ends, keeping the best; 0 is off.",
    )
    seed: int = Field(7, title="Seed", ge=0, lt=2**31, description="Decides split, order, dropout and new weights.")

    @field_validator("rank_pattern")
    @classmethod
    def _ranks(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            if not _RANK.fullmatch(line):
                raise ValueError(f"has a line that is no module=rank: {line[:40]!r}")
        return lines

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.method is Method.PROBE and self.task is Task.LANGUAGE:
            raise ValueError("Method: a linear probe labels texts; for writing choose another")
        if self.method is Method.PROMPT and self.task is Task.TOKENS:
            raise ValueError("Method: prompt tuning does not label words; choose another")
        return self

    @property
    def ranks(self) -> dict[str, int]:
        """The rank pattern as PEFT takes it."""
        found = (_RANK.fullmatch(line) for line in self.rank_pattern)
        return {match["module"]: int(match["rank"]) for match in found if match}
