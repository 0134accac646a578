"""What the pool keeps of each model, and pure questions about many of them. The pool guards them with its lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from core.catalog.catalog import Located
from core.catalog.facts import ModelFacts
from core.errors import BadInput, LabError
from core.runtime.devices import Device
from core.runtime.lanes import Lane
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.placement import Placement
from core.runtime.tuned import Tuned

State = Literal["loading", "ready"]
_DOES = {None: "writes text", "classification": "labels whole texts", "tokens": "labels words"}


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


def own_spec(spec: ModelSpec, tuned: Tuned | None) -> ModelSpec:
    """``spec`` as the pool keeps it: a fine-tuned model's head is its own, however it is asked for.

    Raises ``BadInput`` when another head is asked for, or it is to be trained.
    """
    if tuned is None:
        return spec
    if spec.purpose == "train":
        todo = "Train its base, or resume its run." if tuned.run else f"Train its base, {tuned.base}."
        raise BadInput(f"{tuned.title} is fine-tuned already.", todo)
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
