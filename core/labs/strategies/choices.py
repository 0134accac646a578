"""What there is to choose from in the Strategies lab, and how it is called. Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class Model(StrEnum):
    """The models to train."""

    LOGISTIC = "logistic"
    MLP = "mlp"
    BAG = "bag"
    CNN = "cnn"
    PROBE = "probe"


class Strategy(StrEnum):
    """How many examples an update is computed from."""

    FULL = "full"
    MINI = "mini"
    SINGLE = "single"
    ACCUMULATED = "accumulated"


class Data(StrEnum):
    """What the logistic regression and the network learn from; the other models read texts."""

    DIGITS = "digits"
    MOONS = "moons"
    CIRCLES = "circles"
    BLOBS = "blobs"
    XOR = "xor"


class Budget(StrEnum):
    """What is the same for all strategies."""

    EPOCHS = "epochs"
    EXAMPLES = "examples"
    STEPS = "steps"
    SECONDS = "seconds"


class Optimizer(StrEnum):
    SGD = "sgd"
    MOMENTUM = "momentum"
    NESTEROV = "nesterov"
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"
    ADAM = "adam"
    ADAMW = "adamw"


class Schedule(StrEnum):
    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"
    STEP = "step"


class Scaling(StrEnum):
    """What a batch size does to the learning rate."""

    SAME = "same"
    SQUARE_ROOT = "sqrt"
    LINEAR = "linear"


class Sampling(StrEnum):
    SHUFFLED = "shuffled"
    REPLACEMENT = "replacement"


class Padding(StrEnum):
    STATIC = "static"
    DYNAMIC = "dynamic"
    GROUPED = "grouped"


MODEL_TITLES = {
    Model.LOGISTIC: "Logistic regression",
    Model.MLP: "Neural network",
    Model.BAG: "Bag of embeddings",
    Model.CNN: "Text CNN",
    Model.PROBE: "MiniLM probe",
}
STRATEGY_TITLES = {
    Strategy.FULL: "Full batch",
    Strategy.MINI: "Mini-batch",
    Strategy.SINGLE: "Single examples",
    Strategy.ACCUMULATED: "Accumulated",
}
DATA_TITLES = {
    Data.DIGITS: "Handwritten digits",
    Data.MOONS: "Two moons",
    Data.CIRCLES: "Circles",
    Data.BLOBS: "Blobs",
    Data.XOR: "XOR",
}
OPTIMIZER_TITLES = {
    Optimizer.SGD: "SGD",
    Optimizer.MOMENTUM: "SGD with momentum",
    Optimizer.NESTEROV: "Nesterov momentum",
    Optimizer.ADAGRAD: "Adagrad",
    Optimizer.RMSPROP: "RMSprop",
    Optimizer.ADAM: "Adam",
    Optimizer.ADAMW: "AdamW",
}
TEXT_MODELS = (Model.BAG, Model.CNN, Model.PROBE)
