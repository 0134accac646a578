"""What the pool keeps of each model, and pure questions about many of them. The pool guards them with its lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from core.catalog.catalog import Located
from core.errors import LabError
from core.runtime.devices import Device
from core.runtime.lanes import Lane
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.placement import Placement
from core.runtime.tuned import Tuned

State = Literal["loading", "ready"]


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


def base_spec(spec: ModelSpec, tuned: Tuned) -> ModelSpec:
    """The base in full precision, whatever it was trained beside; with a head of the model's labels if it labels."""
    labels = tuned.card.labels if tuned.head is not None else ()
    return replace(spec, base=tuned.base, head=tuned.head, labels=labels, seed=tuned.card.seed if labels else 0)
