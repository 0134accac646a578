"""Presets and the lesson of the Fine-tuning lab: each is a request, so that the page, the API and the tests can run it.

Every one ends within two minutes on two CPU cores. Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.labs.finetuning.request import FinetuningRequest
from core.training.parameters import Method, Task

ENCODER = "all-MiniLM-L6-v2"
STORY_STARTS = ("Once upon a time, there was", "One day, Tom found a", "Lily and her mom went to the")


@dataclass(frozen=True, slots=True)
class Preset:
    """A chip above the controls."""

    title: str
    request: FinetuningRequest


@dataclass(frozen=True, slots=True)
class Experiment:
    """One step of the lesson: do this, look there, and what it shows."""

    title: str
    request: FinetuningRequest
    look: str
    lesson: str


PIRATE = FinetuningRequest(
    r=16,
    lora_alpha=32,
    learning_rate=5e-3,
    epochs=3,
    max_steps=60,
    eval_steps=20,
    prompts=STORY_STARTS,
)
"""The flagship: a storyteller becomes a pirate."""

FEELINGS = FinetuningRequest(
    task=Task.CLASSIFICATION,
    model=ENCODER,
    data="feelings",
    method=Method.LORA,
    r=8,
    lora_alpha=16,
    learning_rate=2e-3,
    batch_size=16,
    epochs=4,
    max_length=64,
    eval_steps=10,
    validation_share=0.2,
)

OVERFITTING = FinetuningRequest(
    task=Task.CLASSIFICATION,
    model=ENCODER,
    data="feelings",
    method=Method.LORA,
    r=8,
    lora_alpha=16,
    learning_rate=2e-3,
    scheduler="constant_with_warmup",
    warmup_ratio=0.1,
    validation_share=0.5,
    batch_size=16,
    epochs=15,
    max_length=64,
    eval_steps=8,
)


def _changed(request: FinetuningRequest, **changes: object) -> FinetuningRequest:
    """The request with some fields changed, checked as if it were typed."""
    return FinetuningRequest.model_validate(request.model_dump() | changes)


PRESETS = (
    Preset("Pirate voice", PIRATE),
    Preset(
        "Follow requests",
        _changed(
            PIRATE,
            data="story-requests",
            prompts=("Tell a story about a cat and a red ball.", "Tell a story about a girl who lost her shoe."),
        ),
    ),
    Preset("Name the feeling", FEELINGS),
    Preset("Linear probe", _changed(FEELINGS, method=Method.PROBE, learning_rate=2e-2, epochs=8)),
    Preset("QLoRA: a 4-bit base", _changed(PIRATE, method=Method.QLORA)),
    Preset("Learn it by heart", OVERFITTING),
    Preset(
        "Learning rate too high", _changed(PIRATE, learning_rate=0.3, warmup_ratio=0.5, max_steps=40, eval_steps=10)
    ),
)

LESSON = (
    Experiment(
        "Another voice from a few numbers",
        PIRATE,
        "Read base beside tuned at each evaluation, and the trained share at the top.",
        "Only the low-rank products beside the linear layers are trained; the model's own weights stay as they are. "
        "After a minute the same beginnings are told by a pirate, and the base model is still there when the adapter "
        "is taken off.",
    ),
    Experiment(
        "How little is enough",
        _changed(PIRATE, r=1, lora_alpha=2),
        "Compare this run with the first one: evaluation loss over trained parameters.",
        "Rank 1 trains a sixteenth of the numbers and loses only part of the gain. A change of style is simple, "
        "so a small rank carries most of it.",
    ),
    Experiment(
        "All weights instead",
        _changed(PIRATE, method=Method.FULL, learning_rate=5e-4),
        "Watch memory, the size of the checkpoint and the evaluation loss; then compare with LoRA.",
        "Full fine-tuning trains every number and needs a gradient and two optimizer states for each of them. "
        "It also takes a smaller learning rate: the same step moves everything at once.",
    ),
    Experiment(
        "What the encoder knows already",
        _changed(FEELINGS, method=Method.PROBE, learning_rate=2e-2, epochs=8),
        "Look at the accuracy, then run the preset with LoRA on the same rows.",
        "A linear probe trains one layer on top of frozen sentence vectors. How far it gets is what the encoder knew "
        "of feelings before; what LoRA adds is what it had to learn.",
    ),
    Experiment(
        "Learning by heart, and when to stop",
        _changed(OVERFITTING, early_stopping=2),
        "Watch the two loss curves part, and the line under the figures.",
        "Half of the sentences are kept out, and the others are read again and again: training loss goes on falling "
        "while the loss on unseen ones turns. Early stopping keeps the checkpoint from before the turn.",
    ),
)
