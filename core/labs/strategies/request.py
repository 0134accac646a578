"""What a strategies run is asked to do: which small models learn, from what, in which batches, on which budget."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Self

from pydantic import Field, field_validator, model_validator

from core.labs.base import Request, choice_labels, readable
from core.labs.strategies.choices import (
    DATA_TITLES,
    MODEL_TITLES,
    OPTIMIZER_TITLES,
    STRATEGY_TITLES,
    Budget,
    Data,
    Model,
    Optimizer,
    Padding,
    Sampling,
    Scaling,
    Schedule,
    Strategy,
)

MOST = {Budget.EPOCHS: 500, Budget.EXAMPLES: 200_000, Budget.STEPS: 100_000, Budget.SECONDS: 30}
"""The largest budget of each kind."""
REFERENCE_BATCH = 32
"""The batch size whose learning rate is the one that was typed; the scaling starts from here."""
FEWEST_OWN = 5
"""Own texts of each label at least: some to learn from, one to validate with, one to test with."""


class StrategiesRequest(Request):
    """Each model with each strategy: same data, same first weights, same budget."""

    models: tuple[Model, ...] = Field(
        (Model.MLP,),
        title="Models",
        min_length=1,
        max_length=5,
        description="The first two learn from the data below, the others from short texts.",
        json_schema_extra=choice_labels(MODEL_TITLES),
    )
    data: Data = Field(
        Data.DIGITS,
        title="Data",
        description="Digits, or points in the plane: those show the decision boundary.",
        json_schema_extra=choice_labels(DATA_TITLES),
    )
    strategies: tuple[Strategy, ...] = Field(
        (Strategy.FULL, Strategy.MINI, Strategy.SINGLE),
        title="Strategies",
        min_length=1,
        max_length=4,
        description="From how many examples each update is computed.",
        json_schema_extra=choice_labels(STRATEGY_TITLES),
    )
    batch_size: int = Field(32, title="Batch size", ge=2, le=512, description="Of the mini-batches.")
    micro_batches: int = Field(
        4,
        title="Micro-batches",
        ge=2,
        le=16,
        description="Accumulated: into how many parts each mini-batch is cut before one update.",
    )
    budget_kind: Budget = Field(
        Budget.EPOCHS,
        title="Budget in",
        description="What is the same for all: passes over the data, examples, updates, or time.",
        json_schema_extra={
            "labels": {
                "epochs": "Epochs",
                "examples": "Examples seen",
                "steps": "Optimizer steps",
                "seconds": "Seconds",
            }
        },
    )
    budget: float = Field(
        10.0,
        title="Budget",
        gt=0,
        le=200_000,
        description="How much of it. At most 500 epochs, 200,000 examples, 100,000 steps or 30 seconds.",
        json_schema_extra={"step": 1, "widget": "number"},
    )
    optimizer: Optimizer = Field(
        Optimizer.SGD,
        title="Optimizer",
        description="What turns a gradient into an update.",
        json_schema_extra=choice_labels(OPTIMIZER_TITLES),
    )
    learning_rate: float = Field(
        0.1,
        title="Learning rate",
        gt=0,
        le=10,
        description="Around 0.1 for SGD, 0.01 for the Adams.",
        json_schema_extra={"step": 0.001, "widget": "number"},
    )
    scaling: Scaling = Field(
        Scaling.SAME,
        title="Rate and batch size",
        description="Whether larger batches take a larger rate, starting from that of 32 examples.",
        json_schema_extra={
            "labels": {"same": "Same rate for all", "sqrt": "With the square root", "linear": "In proportion"}
        },
    )
    momentum: float = Field(
        0.9, title="Momentum", ge=0, le=0.99, description="Also beta1 of the Adams.", json_schema_extra={"step": 0.01}
    )
    schedule: Schedule = Field(
        Schedule.CONSTANT,
        title="Schedule",
        description="How the learning rate falls while the budget is spent.",
        json_schema_extra={"labels": {"step": "Two steps of a tenth"}},
    )
    warmup: float = Field(
        0.0,
        title="Warm-up",
        ge=0,
        le=0.5,
        description="Share of the budget over which the rate rises from a tenth.",
        json_schema_extra={"step": 0.01},
    )
    weight_decay: float = Field(
        0.0,
        title="Weight decay",
        ge=0,
        le=1,
        description="L2 in the gradient; decoupled with AdamW.",
        json_schema_extra={"step": 0.001, "widget": "number"},
    )
    l1: float = Field(
        0.0,
        title="L1",
        ge=0,
        le=0.1,
        description="Times the sum of absolute weights: draws them to zero.",
        json_schema_extra={"step": 0.0001, "widget": "number"},
    )
    dropout: float = Field(
        0.0,
        title="Dropout",
        ge=0,
        le=0.9,
        description="Share of the values hidden in each step of the training.",
        json_schema_extra={"step": 0.05},
    )
    patience: int = Field(
        0,
        title="Early stopping",
        ge=0,
        le=40,
        description="Readings without a better validation loss until it stops and goes back to the best; 0 is off.",
    )
    examples: int = Field(
        800, title="Training examples", ge=20, le=1000, description="At most; the texts have fewer.",
    )  # fmt: skip
    noise: float = Field(
        0.15,
        title="Noise of the points",
        ge=0,
        le=0.6,
        description="Standard deviation around the clean shape.",
        json_schema_extra={"step": 0.01},
    )
    label_noise: float = Field(
        0.0,
        title="Wrong labels",
        ge=0,
        le=0.5,
        description="Share of the training labels replaced by another class.",
        json_schema_extra={"step": 0.01},
    )
    hidden: int = Field(32, title="Hidden units", ge=1, le=256, description="In each layer of the neural network.")
    layers: int = Field(1, title="Hidden layers", ge=1, le=3, description="Of the neural network.")
    embedding: int = Field(
        24, title="Embedding size", ge=2, le=64, description="Of a token in the bag and the CNN, and the CNN's filters."
    )
    sampling: Sampling = Field(
        Sampling.SHUFFLED,
        title="Sampling",
        description="Every example once per epoch, or drawn anew each time.",
        json_schema_extra={"labels": {"shuffled": "Shuffled epochs", "replacement": "With replacement"}},
    )
    padding: Padding = Field(
        Padding.DYNAMIC,
        title="Padding",
        description="Texts padded to the longest of all, of the batch, or in batches of similar length.",
        json_schema_extra={"labels": {"grouped": "Length-grouped"}},
    )
    texts: tuple[str, ...] = Field(
        (),
        title="Your own texts",
        max_length=400,
        description='One "label: text" per line; none takes the bundled feelings. Five or more of each label.',
        json_schema_extra={"lines": 4},
    )
    seed: int = Field(7, title="Seed", ge=0, lt=2**31, description="Of the split, the first weights and the batches.")

    @field_validator("models", "strategies")
    @classmethod
    def _once(cls, chosen: tuple[StrEnum, ...]) -> tuple[StrEnum, ...]:
        if len(set(chosen)) != len(chosen):
            raise ValueError("names one twice: each can be chosen once")
        return chosen

    @field_validator("texts")
    @classmethod
    def _own_texts(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        lines = tuple(readable(line) for line in lines if line.strip())
        for number, line in enumerate(lines, start=1):
            label, _, text = line.partition(":")
            if not label.strip() or not text.strip() or len(line) > 1000:
                raise ValueError(f'line {number} is no "label: text" of at most 1,000 characters')
        counts = Counter(line.partition(":")[0].strip() for line in lines)
        if lines and not 2 <= len(counts) <= 10:
            raise ValueError(f"there are {len(counts)} labels: use between 2 and 10")
        few = [label for label, count in counts.items() if count < FEWEST_OWN]
        if few:
            raise ValueError(f"“{few[0]}” has {counts[few[0]]} texts: give each label at least {FEWEST_OWN}")
        return lines

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        most = MOST[self.budget_kind]
        if self.budget > most:
            raise ValueError(f"budget: at most {most:,} {self.budget_kind.value}")
        return self

    def summary(self) -> str:
        models = ", ".join(MODEL_TITLES[model] for model in self.models)
        strategies = ", ".join(STRATEGY_TITLES[strategy].lower() for strategy in self.strategies)
        return f"{models} · {strategies}"

    def own(self) -> tuple[list[str], list[str]]:
        """The visitor's own texts and their labels."""
        pairs = [line.partition(":") for line in self.texts]
        return [text.strip() for _, _, text in pairs], [label.strip() for label, _, _ in pairs]

    def size(self, strategy: Strategy, examples: int) -> int:
        """Examples per update of a strategy when there are so many to learn from."""
        if strategy is Strategy.SINGLE:
            return 1
        return examples if strategy is Strategy.FULL else min(self.batch_size, examples)

    def rate(self, size: int) -> float:
        """The learning rate of a batch size."""
        ratio = size / REFERENCE_BATCH
        if self.scaling is Scaling.SAME:
            return self.learning_rate
        return self.learning_rate * (ratio if self.scaling is Scaling.LINEAR else ratio**0.5)

    def title(self, model: Model, strategy: Strategy, size: int) -> str:
        """A curve's name; the model's only where there are several."""
        how = STRATEGY_TITLES[strategy]
        if strategy is Strategy.ACCUMULATED:
            how = f"{how} {min(self.micro_batches, size)} × {-(-size // self.micro_batches)}"
        elif strategy is not Strategy.SINGLE:
            how = f"{how} {size}"
        return how if len(self.models) == 1 else f"{MODEL_TITLES[model]}, {how[0].lower()}{how[1:]}"
