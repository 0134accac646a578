"""Presets and the lesson of the Quantization lab: each is a request, for the page, the API and the tests.

Every one ends within a minute on two CPU cores. Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.labs.quantization.choices import Format, Granularity, Method, Mode, Role, SchemeName, Use
from core.labs.quantization.request import QuantizationRequest, Turn


@dataclass(frozen=True, slots=True)
class Preset:
    """A chip above the controls."""

    title: str
    request: QuantizationRequest


@dataclass(frozen=True, slots=True)
class Experiment:
    """One step of the lesson: do this, look there, and what it shows."""

    title: str
    request: QuantizationRequest
    look: str
    lesson: str


COMPARE = QuantizationRequest()
FOUR_BITS = QuantizationRequest(
    schemes=(
        SchemeName.FLOAT32, SchemeName.NF4, SchemeName.NF4_DOUBLE, SchemeName.FP4, SchemeName.FP4_DOUBLE,
    ),
)  # fmt: skip
MISTRAL = QuantizationRequest(
    mode=Mode.PLAN,
    model="mistralai/Mistral-7B-Instruct-v0.3",
    schemes=(SchemeName.BFLOAT16, SchemeName.INT8, SchemeName.NF4_DOUBLE),
    context=8192,
)
LONG_CONTEXT = QuantizationRequest(
    mode=Mode.PLAN,
    model="meta-llama/Llama-3.2-1B-Instruct",
    schemes=(SchemeName.BFLOAT16, SchemeName.NF4),
    use=(Use.INFERENCE,),
    context=131_072,
    batch=8,
)
THREE_BITS = QuantizationRequest(mode=Mode.LENS, bits=3)
GROUPS = QuantizationRequest(mode=Mode.LENS, bits=3, granularity=Granularity.GROUP, everywhere=True)
CLUSTERS = QuantizationRequest(mode=Mode.LENS, method=Method.KMEANS, bits=3, everywhere=True)
PRUNE = QuantizationRequest(mode=Mode.LENS, method=Method.MAGNITUDE, sparsity=0.5, everywhere=True)
SWEEP = QuantizationRequest(mode=Mode.SWEEP, bits=3, granularity=Granularity.CHANNEL)
CHAT = QuantizationRequest(mode=Mode.CHAT)
MISTRAL_CHAT = QuantizationRequest(
    mode=Mode.CHAT,
    formats=(Format.CHATML, Format.MISTRAL),
    conversation=(
        Turn(role=Role.SYSTEM, content="Answer in one sentence."),
        Turn(role=Role.USER, content="Why is the sky blue?"),
    ),
)
SAVE = QuantizationRequest(mode=Mode.SAVE)

PRESETS = (
    Preset("Eight schemes", COMPARE),
    Preset("Four ways to four bits", FOUR_BITS),
    Preset("What fits Mistral-7B?", MISTRAL),
    Preset("128k tokens of context", LONG_CONTEXT),
    Preset("Three bits in one layer", THREE_BITS),
    Preset("Half of the weights gone", PRUNE),
    Preset("Which layers are sensitive?", SWEEP),
    Preset("What the model reads", CHAT),
    Preset("No system turn", MISTRAL_CHAT),
    Preset("Save NF4", SAVE),
)
LESSON = (
    Experiment(
        "What a bit costs",
        COMPARE,
        "Read the table from top to bottom: bytes fall, KL divergence rises. Then look which schemes are on the front.",
        "Half the bits are not half the quality: int8 and bfloat16 are hardly told from full precision, 4 bits show. "
        "Speed is another matter. It depends on whether this processor has a kernel for the format, which the "
        "sentences below the table take from what was measured.",
    ),
    Experiment(
        "Three bits, one scale",
        THREE_BITS,
        "Look at the histogram after, and at the channel with the lowest signal-to-noise ratio.",
        "One scale for a whole matrix has to reach its largest weight. With 7 levels most weights fall on the middle "
        "one or two, and a channel of small weights is lost almost whole.",
    ),
    Experiment(
        "The same three bits, in groups",
        GROUPS,
        "Compare the perplexity with that of the last step, though now every layer is quantized.",
        "A scale for each 64 weights follows the small ones too. It costs half a bit more for each weight, which is "
        "the cheapest half bit there is. NF4 and its relatives are built on it.",
    ),
    Experiment(
        "Where it hurts",
        SWEEP,
        "Wait until the bars are there, then compare attention with mlp, and the first block with the last.",
        "Layers are not equal: a few carry most of the damage. Mixed precision keeps those in more bits. The changes "
        "of single layers rarely add up to what all of them do together.",
    ),
    Experiment(
        "Does it fit?",
        MISTRAL,
        "Find the 24 GB column: which uses fit, and what makes up the bars that do not?",
        "Weights are only a part. Training holds gradients and two moments for every trained number, and a long "
        "context fills the KV cache. QLoRA fits where full fine-tuning needs ten times as much.",
    ),
)
