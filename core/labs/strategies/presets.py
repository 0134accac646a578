"""Presets and the lesson of the Strategies lab: each is a request, for the page, the API and the tests."""

from __future__ import annotations

from dataclasses import dataclass

from core.labs.strategies.choices import Budget, Data, Model, Optimizer, Padding, Scaling, Strategy
from core.labs.strategies.request import StrategiesRequest


@dataclass(frozen=True, slots=True)
class Preset:
    """A chip above the controls."""

    title: str
    request: StrategiesRequest


@dataclass(frozen=True, slots=True)
class Experiment:
    """One step of the lesson: do this, look there, and what it shows."""

    title: str
    request: StrategiesRequest
    look: str
    lesson: str


SAME_EXAMPLES = StrategiesRequest(models=(Model.LOGISTIC, Model.MLP), budget=8)
SAME_STEPS = StrategiesRequest(budget_kind=Budget.STEPS, budget=600, models=(Model.MLP,))
MOONS = StrategiesRequest(data=Data.MOONS, examples=300, noise=0.2, budget=40, learning_rate=0.3, batch_size=16)
ACCUMULATION = StrategiesRequest(
    strategies=(Strategy.MINI, Strategy.ACCUMULATED), batch_size=64, micro_batches=8, budget=15
)
OVERFITTING = StrategiesRequest(
    strategies=(Strategy.MINI,),
    examples=100,
    label_noise=0.2,
    hidden=128,
    optimizer=Optimizer.ADAM,
    learning_rate=0.01,
    batch_size=16,
    budget=80,
)
UNDERFITTING = StrategiesRequest(
    models=(Model.LOGISTIC, Model.MLP),
    data=Data.XOR,
    strategies=(Strategy.MINI,),
    examples=400,
    noise=0.05,
    optimizer=Optimizer.ADAM,
    learning_rate=0.02,
    batch_size=16,
    budget=60,
)
TEXTS = StrategiesRequest(
    models=(Model.BAG, Model.CNN, Model.PROBE),
    strategies=(Strategy.MINI,),
    batch_size=16,
    optimizer=Optimizer.ADAM,
    learning_rate=0.005,
    budget=20,
    padding=Padding.DYNAMIC,
)
EARLY = OVERFITTING.model_copy(update={"patience": 8})

PRESETS = (
    Preset("Same examples", SAME_EXAMPLES),
    Preset("Same steps", SAME_STEPS),
    Preset("Boundary on two moons", MOONS),
    Preset("Accumulation = the large batch", ACCUMULATION),
    Preset("Overfitting", OVERFITTING),
    Preset("Underfitting on XOR", UNDERFITTING),
    Preset("Texts: bag, CNN, MiniLM", TEXTS),
)

LESSON = (
    Experiment(
        "Same examples, or same steps?",
        SAME_EXAMPLES,
        "Run it, then switch the axis of the curves from epochs to steps to seconds.",
        "After the same 8 epochs the single examples have taken 800 times as many steps as the full batch, and learned "
        "most. By step, each full-batch step is the better one; by second, the mini-batch usually wins.",
    ),
    Experiment(
        "How noisy is a mini-batch?",
        SAME_STEPS,
        "Look at the gradient noise: measured variance as dots, the prediction tr(Σ)/B as lines.",
        "The variance falls in proportion to the batch size. The noise scale grows while the model learns: what is a "
        "large batch at first is a small one later (McCandlish et al., 2018).",
    ),
    Experiment(
        "Accumulation is the large batch",
        ACCUMULATION,
        "Two curves lie on one another; the check below them says how far apart they are, and the table what memory "
        "each took.",
        "Eight micro-batches of 8 give the gradient of one batch of 64, to rounding, with a fraction of the "
        "activations in memory and more time.",
    ),
    Experiment(
        "A larger batch wants a larger rate",
        SAME_EXAMPLES.model_copy(update={"scaling": Scaling.SQUARE_ROOT, "models": (Model.MLP,)}),
        "Compare with the first experiment: the rate now grows with the square root of the batch.",
        "The full batch catches up a good part of the way. Set the rule to proportional: too much of it, and the loss "
        "explodes.",
    ),
    Experiment(
        "Stopping in time",
        EARLY,
        "Switch the curves to the validation set. Then set early stopping to 0 and run again.",
        "With a fifth of 100 labels wrong the network learns them by heart: training loss falls, validation loss "
        "rises. Early stopping goes back to the weights before that.",
    ),
)
