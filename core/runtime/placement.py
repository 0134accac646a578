"""Where a model goes and in which dtype, decided from sizes alone before a weight is loaded.

Promises: pure (the same facts, devices and policy give the same answer, and nothing is measured or imported); the first
device, in the order given, on which everything fits; a sentence with the numbers behind the choice or the refusal.

Estimates, all in bytes
- weights: parameters x dtype, or what a quantized scheme stores (see ``schemes``).
- KV cache: 2 x layers x kv_heads x head_dim x context x batch x dtype; twice that for encoder-decoders, whose decoder
  also keeps keys and values of the input; none for encoders and for training.
- activations: for inference one layer's and the logits of one position.
- training: see ``training_memory``.

Does not split a model over several devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.catalog.facts import ModelFacts
from core.catalog.sizes import bytes_text
from core.errors import BadInput, DoesNotFit
from core.runtime.devices import Device
from core.runtime.schemes import DTYPE_BYTES as DTYPE_BYTES
from core.runtime.schemes import SCHEMES, Quantized, refusal, scheme_bytes
from core.runtime.schemes import Dtype as Dtype
from core.runtime.training_memory import TrainingDetails, training_plan

COMFORTABLE_SHARE = 0.25
"""On a CPU float32 is exact and no slower, so small models keep it while they take at most this share of memory."""
SMALL_PARAMETERS = 1_000_000_000
PLANNED_CONTEXT = 4096
"""Tokens a row is planned for when nobody says how many; long-context models would reserve far too much."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the model is wanted for.

    ``batch`` rows of ``context`` tokens (by default the model's own context, at most ``PLANNED_CONTEXT``).
    ``budget_bytes`` bounds what may be reserved on each device (by default all of it), and ``promised`` says how much
    of that is reserved already, as (device, bytes) pairs. ``reserve_share`` of the free memory is left alone.
    ``device`` and ``dtype`` are wishes that are kept or refused. ``trainable`` counts trained parameters (None: all).
    ``quantization`` packs the linear layers' weights; ``checkpointing`` is activation checkpointing. To measure takes
    what inference takes.
    """

    purpose: Literal["infer", "train", "measure"] = "infer"
    batch: int = 1
    context: int | None = None
    budget_bytes: int | None = None
    promised: tuple[tuple[str, int], ...] = ()
    reserve_share: float = 0.1
    device: str | None = None
    dtype: Dtype | None = None
    trainable: int | None = None
    quantization: Quantized | None = None
    checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """A decision: where, in which dtype, how many bytes of what, and why."""

    device: str
    dtype: Dtype
    weight_bytes: int
    kv_bytes: int
    activation_bytes: int
    optimizer_bytes: int
    gradient_bytes: int
    why: str

    @property
    def total_bytes(self) -> int:
        """Everything together, in bytes."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes + self.optimizer_bytes + self.gradient_bytes


def place(facts: ModelFacts, devices: Sequence[Device], policy: Policy) -> Placement:
    """The placement of a model on the first of ``devices`` that takes it.

    Raises ``DoesNotFit`` with what is needed, what there is, and what to do, ``BadInput`` for a quantized scheme that
    none of them can run.
    """
    wanted = [device for device in devices if policy.device in (None, device.name, device.type)]
    if not wanted:
        names = ", ".join(device.name for device in devices)
        raise DoesNotFit(f"There is no device {policy.device} here.", f"Choose one of: {names}.")
    if policy.quantization is not None:
        wanted = _able(facts, wanted, policy.quantization)
    passed: list[str] = []
    refusals: list[tuple[int, int, Device, Dtype]] = []
    for device in wanted:
        for dtype in _dtypes(facts, device, policy):
            plan = _plan(facts, device, dtype, policy)
            room = room_on(device, policy)
            if plan.total_bytes <= room:
                return _explained(plan, device, policy, facts, passed)
            refusals.append((plan.total_bytes, room, device, dtype))
        passed.append(f"{device.label} has {bytes_text(room_on(device, policy))} to give")
    raise _refusal(facts, policy, refusals)


def _able(facts: ModelFacts, devices: Sequence[Device], scheme: Quantized) -> list[Device]:
    """Those of ``devices`` that can run the scheme."""
    reasons = [refusal(scheme, facts, device) for device in devices]
    able = [device for device, reason in zip(devices, reasons, strict=True) if reason is None]
    if not able:
        what = next(reason for reason in reasons if reason is not None)
        raise BadInput(f"{SCHEMES[scheme].title} is not possible here. {what}", "Choose another scheme or model.")
    return able


def kv_cache_bytes(facts: ModelFacts, dtype: str, context: int, batch: int) -> int:
    """Bytes of the keys and values of ``batch`` rows of ``context`` tokens."""
    if facts.kind == "encoder":
        return 0
    one = 2 * facts.layers * facts.kv_heads * facts.head_dim * context * batch * DTYPE_BYTES[dtype]
    return 2 * one if facts.kind == "seq2seq" else one


def _dtypes(facts: ModelFacts, device: Device, policy: Policy) -> tuple[Dtype, ...]:
    """Dtypes to try on ``device``, best first. float16 is never computed on a CPU: it is many times slower there."""
    if device.type == "cpu":
        if policy.dtype == "float16":
            raise DoesNotFit("float16 is not computed on a CPU.", "Choose float32 or bfloat16.")
        if policy.dtype is not None:
            return (policy.dtype,)
        if policy.purpose == "train":
            return ("float32",)
        full = facts.parameters * DTYPE_BYTES["float32"]
        comfortable = facts.parameters < SMALL_PARAMETERS and full <= COMFORTABLE_SHARE * device.total_bytes
        return ("float32", "bfloat16") if comfortable else ("bfloat16",)
    if policy.dtype == "bfloat16" and not device.bf16:
        raise DoesNotFit(f"{device.label} does not compute in bfloat16.", "Choose float16 or float32.")
    if policy.dtype is not None:
        return (policy.dtype,)
    if device.bf16:
        return ("bfloat16",)
    return ("float32",) if policy.purpose == "train" else ("float16",)  # float16 gradients vanish without scaling


def _plan(facts: ModelFacts, device: Device, dtype: Dtype, policy: Policy) -> Placement:
    size, context = DTYPE_BYTES[dtype], planned_context(facts, policy)
    if policy.purpose == "train":
        return _training_plan(facts, device, dtype, policy)
    activations = context * policy.batch * (4 * facts.hidden_size + 2 * facts.intermediate_size) * size
    return Placement(
        device=device.name,
        dtype=dtype,
        weight_bytes=scheme_bytes(facts, policy.quantization or dtype, dtype),
        kv_bytes=kv_cache_bytes(facts, dtype, context, policy.batch),
        activation_bytes=activations + policy.batch * facts.vocab_size * 4,
        optimizer_bytes=0,
        gradient_bytes=0,
        why="",
    )


def _training_plan(facts: ModelFacts, device: Device, dtype: Dtype, policy: Policy) -> Placement:
    details = TrainingDetails(
        rows=policy.batch,
        context=planned_context(facts, policy),
        trainable=policy.trainable,
        quantization=policy.quantization,
        checkpointing=policy.checkpointing,
        bytes_per_number=DTYPE_BYTES[dtype],
        heap=device.type == "cpu",
    )
    memory = training_plan(facts, details)
    return Placement(
        device=device.name,
        dtype=dtype,
        weight_bytes=memory.weights,
        kv_bytes=0,
        activation_bytes=memory.activations,
        optimizer_bytes=memory.optimizer,
        gradient_bytes=memory.gradients,
        why="",
    )


def planned_context(facts: ModelFacts, policy: Policy) -> int:
    """Tokens per row that memory is planned for."""
    return policy.context if policy.context is not None else min(facts.context, PLANNED_CONTEXT)


def room_on(device: Device, policy: Policy) -> int:
    """Bytes that ``device`` can give: free beyond the reserve, and neither promised nor over the budget."""
    promised = sum(count for name, count in policy.promised if name == device.name)
    most = device.total_bytes if policy.budget_bytes is None else min(device.total_bytes, policy.budget_bytes)
    return max(0, min(int(device.free_bytes * (1 - policy.reserve_share)), most - promised))


def _explained(plan: Placement, device: Device, policy: Policy, facts: ModelFacts, passed: Sequence[str]) -> Placement:
    parts = [f"{bytes_text(plan.weight_bytes)} of weights"]
    if plan.kv_bytes:
        rows = f"{policy.batch} row{'s' * (policy.batch > 1)} of {planned_context(facts, policy):,} tokens"
        parts.append(f"{bytes_text(plan.kv_bytes)} of KV cache for {rows}")
    parts.append(f"{bytes_text(plan.activation_bytes)} of activations")
    if plan.gradient_bytes:
        parts.append(f"{bytes_text(plan.gradient_bytes)} of gradients")
        parts.append(f"{bytes_text(plan.optimizer_bytes)} of optimizer state")
    where = device.label if device.type != "cpu" else "CPU"
    budget = "" if policy.budget_bytes is None else f", within a budget of {bytes_text(policy.budget_bytes)}"
    sentence = f"{plan.dtype} on {where}: {' + '.join(parts)} of {bytes_text(device.free_bytes)} free{budget}"
    if passed:
        sentence += f"; too little elsewhere: {', '.join(passed)}"
    return Placement(
        plan.device, plan.dtype, plan.weight_bytes, plan.kv_bytes, plan.activation_bytes, plan.optimizer_bytes,
        plan.gradient_bytes, f"{sentence}.",
    )  # fmt: skip


def _refusal(facts: ModelFacts, policy: Policy, refusals: Sequence[tuple[int, int, Device, Dtype]]) -> DoesNotFit:
    """The nearest miss as a sentence."""
    needed, room, device, dtype = min(refusals, key=lambda refusal: refusal[0] - refusal[1])
    use = "to train" if policy.purpose == "train" else "to run"
    where = "the CPU" if device.type == "cpu" else device.label
    return DoesNotFit(
        f"{facts.title} needs {bytes_text(needed)} {use} in {dtype}; {where} has {bytes_text(room)} to give.",
        "Choose a smaller model, a shorter context or fewer rows, or end what else uses memory there.",
    )
