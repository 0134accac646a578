"""What each use of a model takes in memory and where it fits, from its facts alone.

Promises: pure; every number is ``core.runtime.placement``'s own, worked out for a device that has room without end, so
that a plan and the placement of a real run agree. A verdict counts the tenth of a device that placement leaves alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from core.catalog.facts import ModelFacts
from core.catalog.linears import linear_modules_of, low_rank_parameters
from core.catalog.sizes import bytes_text, count_text
from core.errors import LabError
from core.labs.quantization.choices import Use
from core.labs.quantization.request import QuantizationRequest
from core.runtime.devices import Device
from core.runtime.placement import Dtype, Placement, Policy, place, room_on
from core.runtime.schemes import SCHEMES, Quantized, is_quantized

FEWEST_TOKENS = 128
"""A shorter context than this is not offered as a way to fit."""
_ENDLESS = 10**18


@dataclass(frozen=True, slots=True)
class Footprint:
    """A use of the model under a scheme. ``trainable`` parameters, None meaning all of them or none is trained."""

    scheme: str
    use: Use
    batch: int
    context: int
    trainable: int | None = None

    @property
    def trains(self) -> bool:
        """Whether weights change."""
        return self.use is not Use.INFERENCE

    def policy(self, device: Device) -> Policy:
        """What ``place`` is asked for. What a scheme does not pack is 16 bits wide where the device computes so."""
        packed = cast(Quantized, self.scheme) if is_quantized(self.scheme) else None
        dtype = cast(Dtype, self.scheme) if packed is None else "bfloat16"
        if dtype == "bfloat16" and not device.bf16 and (packed is not None or self.trains):
            dtype = "float32" if self.trains else "float16"
        return Policy(
            purpose="train" if self.trains else "infer",
            batch=self.batch,
            context=self.context,
            dtype=dtype,
            trainable=self.trainable,
            quantization=packed,
        )


def footprints(request: QuantizationRequest, facts: ModelFacts, context: int) -> Iterator[Footprint]:
    """A row for each scheme of the request in inference, then one for each kind of training."""
    if Use.INFERENCE in request.use:
        for scheme in request.schemes:
            yield Footprint(scheme.value, Use.INFERENCE, request.batch, context)
    trained = adapter_parameters(facts, request.rank)
    if Use.LORA in request.use:
        yield Footprint("bfloat16", Use.LORA, request.batch, context, trained)
    if Use.QLORA in request.use:
        yield Footprint("nf4-double", Use.QLORA, request.batch, context, trained)
    if Use.FULL in request.use:
        yield Footprint("float32", Use.FULL, request.batch, context)


def adapter_parameters(facts: ModelFacts, rank: int) -> int:
    """What LoRA trains when it is attached to every linear layer inside the model."""
    return low_rank_parameters(linear_modules_of(facts), r=rank)


def needed(footprint: Footprint, facts: ModelFacts, device: Device, *, checkpointing: bool = False) -> Placement:
    """Bytes of each part on ``device``, however much it has. Raises ``LabError`` for what it cannot compute at all."""
    endless = replace(device, total_bytes=_ENDLESS, free_bytes=_ENDLESS)
    return place(facts, [endless], replace(footprint.policy(device), checkpointing=checkpointing))


def row(footprint: Footprint, facts: ModelFacts, device: Device) -> dict[str, Any]:
    """A row of the plan as the page draws it, in bytes. Raises ``LabError`` as ``needed`` does."""
    parts = needed(footprint, facts, device)
    return {
        "scheme": footprint.scheme,
        "title": SCHEMES[footprint.scheme].title,
        "use": footprint.use.value,
        "parts": {
            "weights": parts.weight_bytes,
            "kv": parts.kv_bytes,
            "activations": parts.activation_bytes,
            "gradients": parts.gradient_bytes,
            "optimizer": parts.optimizer_bytes,
        },
        "total": parts.total_bytes,
        "note": _note(footprint, facts),
    }


def _note(footprint: Footprint, facts: ModelFacts) -> str:
    if footprint.use is Use.INFERENCE:
        packed = is_quantized(footprint.scheme)
        return "Quantized schemes keep embeddings, norms and what reads out in bfloat16." if packed else ""
    if footprint.use is Use.FULL:
        return "Full: 16 bytes a parameter: weights, gradients and both moments of AdamW in float32."
    trained = count_text(footprint.trainable or 0)
    base = "bfloat16" if footprint.use is Use.LORA else "NF4 with double quantization"
    name = "LoRA" if footprint.use is Use.LORA else "QLoRA"
    return f"{name}: {trained} trained parameters in float32 on every linear layer, beside a frozen base in {base}."


def verdict(footprint: Footprint, facts: ModelFacts, device: Device, budget: int | None = None) -> dict[str, Any]:
    """Whether it fits on ``device``: at once, ``with`` a change that is named, or not.

    ``share`` is of the device's bytes, before any change.
    """
    try:
        taken = needed(footprint, facts, device)
    except LabError as error:
        return {"verdict": "not", "with": error.what, "share": None}
    room = room_on(device, Policy(budget_bytes=budget))
    share = round(taken.total_bytes / device.total_bytes, 4) if device.total_bytes else None
    if taken.total_bytes <= room:
        return {"verdict": "fits", "with": "", "share": share}
    change = _change(footprint, facts, device, room)
    if change:
        return {"verdict": "with", "with": change, "share": share}
    alone = taken.weight_bytes + taken.gradient_bytes + taken.optimizer_bytes
    held = "weights, gradients and optimizer" if footprint.trains else "weights"
    least = f"{held} alone take {bytes_text(alone)}" if alone > room else "even its shortest context is too long"
    return {"verdict": "not", "with": least, "share": share}


def _change(footprint: Footprint, facts: ModelFacts, device: Device, room: int) -> str:
    """The first change, of those that cost least, with which it fits; empty without one."""

    def fits(one: Footprint, checkpointing: bool = False) -> bool:
        return needed(one, facts, device, checkpointing=checkpointing).total_bytes <= room

    single, several = replace(footprint, batch=1), footprint.batch > 1
    if footprint.trains and fits(footprint, True):
        return "activation checkpointing"
    if several and fits(single):
        return "one row at a time"
    if several and footprint.trains and fits(single, True):
        return "one row at a time and activation checkpointing"
    for one in (footprint, single) if several else (footprint,):
        tokens = _most_tokens(one, footprint.trains, fits)
        if tokens:
            rows = "" if one is footprint else "one row at a time, "
            kept = "activation checkpointing and " if footprint.trains else ""
            return f"{rows}{kept}a context of {tokens:,} tokens at most"
    return ""


def _most_tokens(footprint: Footprint, checkpointing: bool, fits: Callable[[Footprint, bool], bool]) -> int:
    """The longest context that fits, a multiple of ``FEWEST_TOKENS``; 0 where not even that many do."""
    fewest, most = 0, footprint.context // FEWEST_TOKENS
    while fewest < most:
        middle = (fewest + most + 1) // 2
        if fits(replace(footprint, context=middle * FEWEST_TOKENS), checkpointing):
            fewest = middle
        else:
            most = middle - 1
    return fewest * FEWEST_TOKENS
