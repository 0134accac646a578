"""What a quantization run can be asked for, by the names that links and scripts use. Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum

from core.runtime.schemes import SCHEMES


class Mode(StrEnum):
    """What a run does with the model."""

    COMPARE = "compare"
    PLAN = "plan"
    LENS = "lens"
    SWEEP = "sweep"
    CHAT = "chat"
    SAVE = "save"


class SchemeName(StrEnum):
    """How weights are stored, by the names of ``core.runtime.schemes``."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"
    NF4 = "nf4"
    NF4_DOUBLE = "nf4-double"
    FP4 = "fp4"
    FP4_DOUBLE = "fp4-double"
    INT8_WEIGHT_ONLY = "int8-weight-only"
    INT8_DYNAMIC = "int8-dynamic"


class Use(StrEnum):
    """What memory is planned for."""

    INFERENCE = "inference"
    LORA = "lora"
    QLORA = "qlora"
    FULL = "full"


class Method(StrEnum):
    """What the lens does to a weight."""

    UNIFORM = "uniform"
    NF4 = "nf4"
    KMEANS = "kmeans"
    MAGNITUDE = "magnitude"
    STRUCTURED = "structured"
    N_M = "n_m"


class Granularity(StrEnum):
    """Which weights share a scale."""

    TENSOR = "tensor"
    CHANNEL = "channel"
    GROUP = "group"


class Format(StrEnum):
    """How a conversation becomes one text."""

    MODEL = "model"
    CHATML = "chatml"
    LLAMA3 = "llama3"
    MISTRAL = "mistral"
    ZEPHYR = "zephyr"


class Role(StrEnum):
    """Who says a turn."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


MODE_TITLES = {
    Mode.COMPARE: "Compare schemes",
    Mode.PLAN: "Plan memory",
    Mode.LENS: "Under the lens",
    Mode.SWEEP: "Layer by layer",
    Mode.CHAT: "Chat format",
    Mode.SAVE: "Save a checkpoint",
}
SCHEME_TITLES = {name: SCHEMES[name.value].title for name in SchemeName}
QUANTIZED_TITLES = {name: title for name, title in SCHEME_TITLES.items() if SCHEMES[name.value].library}
USE_TITLES = {
    Use.INFERENCE: "Inference",
    Use.LORA: "LoRA",
    Use.QLORA: "QLoRA",
    Use.FULL: "Full fine-tuning",
}
METHOD_TITLES = {
    Method.UNIFORM: "Uniform levels",
    Method.NF4: "NF4",
    Method.KMEANS: "k-means clusters",
    Method.MAGNITUDE: "Prune the smallest",
    Method.STRUCTURED: "Prune whole channels",
    Method.N_M: "Prune N of M",
}
GRANULARITY_TITLES = {
    Granularity.TENSOR: "The whole tensor",
    Granularity.CHANNEL: "Each output channel",
    Granularity.GROUP: "Each group of inputs",
}
FORMAT_TITLES = {
    Format.MODEL: "The model's own",
    Format.CHATML: "ChatML",
    Format.LLAMA3: "Llama 3",
    Format.MISTRAL: "Mistral",
    Format.ZEPHYR: "Zephyr",
}
ROLE_TITLES = {Role.SYSTEM: "System", Role.USER: "User", Role.ASSISTANT: "Assistant"}
