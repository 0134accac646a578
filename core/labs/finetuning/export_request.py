"""What is to be made of a finished fine-tuning. Imports nothing heavy."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

from pydantic import Field, field_validator, model_validator

from core.labs.base import Request, choice_labels, readable


class ExportKind(StrEnum):
    """What comes out."""

    ZIP = "zip"
    MERGE = "merge"
    ONNX = "onnx"
    TENSORBOARD = "tensorboard"
    HUB = "hub"


EXPORT_TITLES = {
    ExportKind.ZIP: "Download",
    ExportKind.MERGE: "Merge",
    ExportKind.ONNX: "ONNX",
    ExportKind.TENSORBOARD: "TensorBoard files",
    ExportKind.HUB: "Push to the Hub",
}
EXPORT_SENTENCES = {
    ExportKind.ZIP: "The adapter or model as it was trained: safetensors, tokenizer and a card, in one zip.",
    ExportKind.MERGE: "One model without an adapter, compared with the unmerged one on the validation rows.",
    ExportKind.ONNX: "A graph for onnxruntime, run here and compared on the validation rows.",
    ExportKind.TENSORBOARD: "The run's event files in one zip, for tensorboard --logdir.",
    ExportKind.HUB: "The adapter or model into a repository of yours, with your own token.",
}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


class ExportRequest(Request):
    """One finished run of the visitor's, made into one thing."""

    run: str = Field(title="Run", pattern=r"^[0-9a-f]{16}$", description="The fine-tuning's run.")
    kind: ExportKind = Field(
        ExportKind.ZIP,
        title="Make",
        description="What to make of it.",
        json_schema_extra=choice_labels(EXPORT_TITLES),
    )
    repo: str = Field("", title="Repository", max_length=200, description="On the Hub: your-name/model-name.")
    private: bool = Field(True, title="Private", description="Only you see the repository.")

    @field_validator("repo")
    @classmethod
    def _repository(cls, name: str) -> str:
        name = readable(name.strip())
        if name and (not _REPOSITORY.fullmatch(name) or "--" in name or ".." in name):
            raise ValueError("is no repository: write it as your-name/model-name")
        return name

    @model_validator(mode="after")
    def _push_needs_a_place(self) -> Self:
        if self.kind is ExportKind.HUB and not self.repo:
            raise ValueError("Repository: name one of yours, such as your-name/pirate-stories")
        return self

    def summary(self) -> str:
        where = f" · {self.repo}" if self.kind is ExportKind.HUB else ""
        return f"{EXPORT_TITLES[self.kind]}{where} · run {self.run[:4]}"
