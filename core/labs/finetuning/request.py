"""What a fine-tuning is asked to do: which model learns from which data, and the numbers of the training."""

from __future__ import annotations

from pydantic import Field, field_validator

from core.labs.base import Request, readable
from core.training.parameters import METHOD_TITLES, TrainingParameters

DEFAULT_MODEL = "story-lm"
DEFAULT_DATA = "pirate-stories"


class FinetuningRequest(TrainingParameters, Request):
    """One model, one dataset, one method. Columns that are left empty are found by their usual names."""

    model: str = Field(
        DEFAULT_MODEL,
        title="Model",
        min_length=1,
        max_length=300,
        description="A bundled model, a Hub name, or a local folder.",
    )
    data: str = Field(
        DEFAULT_DATA,
        title="Data",
        min_length=1,
        max_length=300,
        description="A bundled set, a Hub dataset, or a file that you uploaded.",
    )
    text_column: str = Field("", title="Text column", max_length=200, description="Of texts, prompts or words.")
    target_column: str = Field(
        "", title="Target column", max_length=200, description="Of completions, labels or words' tags."
    )
    validation_share: float = Field(
        0.1,
        title="Validation share",
        ge=0.01,
        le=0.5,
        json_schema_extra={"step": 0.01},
        description="Rows kept out of the training, unless the data has a validation split of its own.",
    )
    prompts: tuple[str, ...] = Field(
        (),
        title="Prompts to watch",
        max_length=6,
        description="One per line: what base and tuned model write for them, at each evaluation.",
    )
    resume: str = Field("", max_length=16, json_schema_extra={"widget": "hidden"}, description="A run to go on from.")
    group: str = Field("", max_length=40, json_schema_extra={"widget": "hidden"}, description="The sweep it is in.")

    @field_validator("model", "data", "text_column", "target_column")
    @classmethod
    def _text(cls, text: str) -> str:
        return readable(text)

    @field_validator("prompts")
    @classmethod
    def _prompts(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(readable(prompt) for prompt in prompts if prompt.strip())

    def summary(self) -> str:
        data = "an uploaded file" if self.data.startswith("upload:") else self.data
        return f"{METHOD_TITLES[self.method]} · {self.model} · {data}"
