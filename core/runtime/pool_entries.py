"""What the pool keeps of each model, and pure questions about many of them. The pool guards them with its lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from core.catalog.catalog import Located
from core.catalog.facts import ModelFacts
from core.catalog.sizes import bytes_text
from core.errors import BadInput, DoesNotFit, LabError
from core.runtime.attaching import adapter_bytes
from core.runtime.devices import Device
from core.runtime.lanes import Lane
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.placement import Placement, Policy
from core.runtime.tuned import Tuned

State = Literal["loading", "ready"]
_DOES = {None: "writes text", "classification": "labels whole texts", "tokens": "labels words"}


LENT_ONCE = ("train", "measure")
"""Purposes for which a model is nobody else's, and is gone when it comes back."""
PLANNED_ROWS = 4
"""Rows of context each model is planned for: as many as the columns that decode side by side."""


class Loader(Protocol):
    """What ``core.runtime.loading.load`` is to the pool."""

    def __call__(self, located: Located, placement: Placement, *, spec: ModelSpec, lane: Lane) -> LoadedModel: ...


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """A line of the System tab. ``bytes`` is what the weights take, ``reserved`` what is planned with caches."""

    spec: ModelSpec
    title: str
    bytes: int
    reserved: int
    device: str
    borrowers: int
    idle_seconds: float
    state: State


@dataclass(slots=True, eq=False)
class Entry:
    """A model in the pool or on its way there. All fields are guarded by the pool's condition."""

    spec: ModelSpec
    title: str
    tuned: Tuned | None = None
    base: Entry | None = None  # what it is attached to, and borrows as long as it is here
    borrowers: int = 0
    used: float = 0.0
    placement: Placement | None = None
    loaded: LoadedModel | None = None
    error: LabError | None = None
    copies: int = 0  # bytes that a borrower of the base makes beside it: no model that anybody could borrow

    @property
    def device(self) -> str:
        return self.placement.device if self.placement is not None else ""

    def line(self, now: float) -> PoolEntry:
        """The entry as it is at ``now``, on the pool's clock."""
        return PoolEntry(
            spec=self.spec,
            title=self.title,
            bytes=self.loaded.bytes if self.loaded else 0,
            reserved=self.placement.total_bytes if self.placement else 0,
            device=self.device,
            borrowers=self.borrowers,
            idle_seconds=0.0 if self.borrowers else now - self.used,
            state="ready" if self.loaded else "loading",
        )


def idle_entries(entries: Iterable[Entry], device: str | None) -> list[Entry]:
    """Loaded entries that nobody borrows (on one device, if named), least recently used first.

    A base that only idle ones are attached to is idle too, and comes after them.
    """
    ready = [entry for entry in entries if entry.loaded is not None and device in (None, entry.device)]
    holds = Counter(entry.base for entry in ready if entry.base is not None and not entry.borrowers)
    idle = [entry for entry in ready if entry.borrowers == holds[entry]]
    return sorted(idle, key=lambda entry: (entry.used, entry.base is None))


def without(device: Device, gone: Sequence[Entry]) -> Device:
    """``device`` with the memory it will have when ``gone`` are evicted."""
    freed = sum(entry.loaded.bytes for entry in gone if entry.loaded is not None and entry.device == device.name)
    return replace(device, free_bytes=device.free_bytes + freed)


def policy_of(spec: ModelSpec, promised: tuple[tuple[str, int], ...], budget_bytes: int | None) -> Policy:
    """What ``spec`` asks of the placement."""
    return Policy(
        purpose=spec.purpose,
        batch=PLANNED_ROWS if spec.rows is None else spec.rows,
        context=spec.context,
        budget_bytes=budget_bytes,
        promised=promised,
        device=spec.device,
        dtype=spec.dtype,
        trainable=spec.trainable,
        quantization=spec.quantization,
        checkpointing=spec.checkpointing,
    )


def placed_beside(entry: Entry, room: int) -> Placement:
    """Where the base is, with weights of its own and the base's room for rows once more.

    Raises ``DoesNotFit`` when that is more than ``room`` bytes.
    """
    assert entry.base is not None
    assert entry.base.placement is not None
    like = entry.base.placement
    own = adapter_bytes(entry.tuned) if entry.tuned is not None else entry.copies
    why = f"beside {entry.base.title}, which is in memory once: {bytes_text(own)} of its own. {like.why}"
    placement = replace(like, weight_bytes=own, why=why)
    if placement.total_bytes > room:
        raise DoesNotFit(
            f"{entry.title} needs {bytes_text(placement.total_bytes)} beside its base; {like.device} has "
            f"{bytes_text(room)} to give.",
            "End what else uses memory there, or choose a smaller model.",
        )
    return placement


def own_spec(spec: ModelSpec, tuned: Tuned | None) -> ModelSpec:
    """``spec`` as the pool keeps it: a fine-tuned model's head is its own, however it is asked for.

    Raises ``BadInput`` when another head is asked for, or it is to be trained.
    """
    if tuned is None:
        return spec
    if spec.purpose == "train":
        todo = "Train its base, or resume its run." if tuned.run else f"Train its base, {tuned.base}."
        raise BadInput(f"{tuned.title} is fine-tuned already.", todo)
    if tuned.shares and (spec.quantization is not None or spec.purpose == "measure"):
        raise BadInput(
            f"{tuned.title} was trained beside {tuned.base}; only whole models are quantized and measured.",
            f"Choose {tuned.base}.",
        )
    if spec.head not in (None, tuned.head):
        raise BadInput(f"{tuned.title} {_DOES[tuned.head]}.", f"Choose a model that {_DOES[spec.head]}.")
    return replace(spec, head=None, labels=(), seed=0)


def base_spec(spec: ModelSpec, tuned: Tuned) -> ModelSpec:
    """The base without a head, in full precision, whatever it was trained beside: one for all that attach to it."""
    return replace(spec, base=tuned.base, head=None, labels=(), seed=0)


def alike(entries: Iterable[Entry], spec: ModelSpec, placed: Callable[[ModelFacts], Placement]) -> Entry | None:
    """A loaded entry that differs from ``spec`` only in what was wished for, and lies where ``spec`` would go."""
    for entry in entries:
        same = replace(entry.spec, device=spec.device, dtype=spec.dtype) == spec
        if same and spec.purpose == "infer" and entry.loaded is not None and entry.placement is not None:
            wished = placed(entry.loaded.facts)
            if (wished.device, wished.dtype) == (entry.placement.device, entry.placement.dtype):
                return entry
    return None
