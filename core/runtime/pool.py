"""Models are borrowed, never held: ``with pool.lease(spec) as loaded: ...``

Promises
- A spec is loaded once, however many threads ask at the same moment; a failed load reaches each of them and leaves
  nothing behind, so that the next lease tries again.
- A borrowed model is never evicted. Idle ones go, least recently used first, when a new one needs their room on its
  device. Room that only borrowed models hold is refused at once with ``Busy``: nobody waits for it.
- What is planned for is what is reserved: weights, KV cache and activations, in this process's page of the ledger too.
- An out-of-memory, while loading or in a lease's body, is one ``OutOfMemory``; idle models are let go for it, and the
  pool works on.
- Somebody who may not read a model on the Hub does not get it from here either, even when another visitor's token
  has loaded it.

A lease that waits for somebody else's load can be cancelled; a load in progress cannot.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from core.catalog.catalog import Catalog, Located
from core.catalog.facts import ModelFacts
from core.catalog.known import is_known
from core.errors import BadInput, Busy, DoesNotFit, LabError, OutOfMemory, Stopped
from core.runtime.devices import Device, detect_devices, give_back
from core.runtime.lanes import Lane, Lanes
from core.runtime.ledger import Ledger
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Placement, Policy, place, room_on
from core.runtime.translate import is_out_of_memory, translate, translating
from core.settings import Settings

__all__ = ["LoadedModel", "ModelSpec", "Pool", "PoolEntry"]

PLANNED_ROWS = 4
"""Rows of context each model is planned for: as many as the columns that decode side by side."""
CANCEL_POLL = 0.05
"""Seconds between two looks at a waiting lease's ``cancelled``."""

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
class _Entry:
    """A model in the pool or on its way there. All fields are guarded by the pool's condition."""

    spec: ModelSpec
    title: str
    borrowers: int = 0
    used: float = 0.0
    placement: Placement | None = None
    loaded: LoadedModel | None = None
    error: LabError | None = None

    @property
    def device(self) -> str:
        return self.placement.device if self.placement is not None else ""


class Pool:
    """The models in this process's memory."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        ledger: Ledger,
        lanes: Lanes,
        loader: Loader = load,
        *,
        devices: Callable[[], tuple[Device, ...]] = detect_devices,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = settings.memory_budget
        self._catalog = catalog
        self._ledger = ledger
        self._lanes = lanes
        self._loader = loader
        self._devices = devices
        self._clock = clock
        self._entries: dict[ModelSpec, _Entry] = {}
        self._changed = threading.Condition()

    @contextmanager
    def lease(
        self, spec: ModelSpec, token: str | None = None, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[LoadedModel]:
        """Borrow a model for the body. Raises ``LabError`` if it cannot be had, ``Stopped`` when ``cancelled``."""
        if spec.adapter is not None or spec.head is not None:
            raise BadInput("This version attaches no adapters or heads.", "Leave them out.")
        self._catalog.authorize(spec.base, token)
        entry, loaded = self._borrow(spec, token, cancelled)
        try:
            yield loaded
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.drop_idle(entry.device)
            with translating():
                raise
        finally:
            self._return(entry)

    def plan(self, spec: ModelSpec, token: str | None = None) -> Placement:
        """Where ``spec`` would go now, idle models making room; loads nothing, and downloads nothing."""
        self._catalog.authorize(spec.base, token)
        with self._changed:
            return self._placed(self._catalog.facts(spec.base), spec)

    def snapshot(self) -> tuple[PoolEntry, ...]:
        """What is in memory and who borrows it, most recently used first."""
        now = self._clock()
        with self._changed:
            entries = sorted(self._entries.values(), key=lambda entry: -entry.used)
            return tuple(
                PoolEntry(
                    spec=entry.spec,
                    title=entry.title,
                    bytes=entry.loaded.bytes if entry.loaded else 0,
                    reserved=entry.placement.total_bytes if entry.placement else 0,
                    device=entry.device,
                    borrowers=entry.borrowers,
                    idle_seconds=0.0 if entry.borrowers else now - entry.used,
                    state="ready" if entry.loaded else "loading",
                )
                for entry in entries
            )

    def drop_idle(self, device: str | None = None) -> int:
        """Let go of all idle models (on one device, if named); returns how many."""
        with self._changed:
            idle = self._idle(device)
            homes = {entry.device for entry in idle}
            for entry in idle:
                self._evict(entry)
        for home in homes:
            give_back(home)
        return len(idle)

    def _borrow(self, spec: ModelSpec, token: str | None, cancelled: Callable[[], bool]) -> tuple[_Entry, LoadedModel]:
        """The entry of ``spec``, counted as borrowed, and its model. The first who asks loads; the others wait."""
        if cancelled():
            raise Stopped("Stopped.")
        with self._changed:
            entry = self._entries.get(spec)
            first = entry is None
            if entry is None:
                entry = self._entries[spec] = _Entry(spec, spec.base, used=self._clock())
            entry.borrowers += 1
        try:
            loaded = self._load(entry, token) if first else self._wait(entry, cancelled)
            if cancelled():
                raise Stopped("Stopped.")
        except BaseException:
            self._return(entry)
            raise
        return entry, loaded

    def _wait(self, entry: _Entry, cancelled: Callable[[], bool]) -> LoadedModel:
        with self._changed:
            while entry.loaded is None:
                if entry.error is not None:
                    raise type(entry.error)(entry.error.what, entry.error.todo) from entry.error
                if cancelled():
                    raise Stopped("Stopped.")
                self._changed.wait(CANCEL_POLL)
            return entry.loaded

    def _return(self, entry: _Entry) -> None:
        with self._changed:
            entry.borrowers -= 1
            entry.used = self._clock()

    def _load(self, entry: _Entry, token: str | None) -> LoadedModel:
        try:
            located = self._locate(entry.spec, token)
            placement = self._admit(entry, located.facts)
            lane = self._lanes.for_device(placement.device)
            loaded = self._loader(located, placement, spec=entry.spec, lane=lane)
        except BaseException as error:
            self._failed(entry, translate(error))
            with translating():
                raise
        with self._changed:
            entry.loaded = loaded
            self._changed.notify_all()
        return loaded

    def _locate(self, spec: ModelSpec, token: str | None) -> Located:
        """The files; what cannot fit is refused before it is downloaded."""
        if is_known(spec.base):
            with self._changed:
                self._placed(self._catalog.facts(spec.base), spec)
        largest = max(device.total_bytes for device in self._devices())
        return self._catalog.locate(spec.base, token, 2 * largest)  # stored in float32, they may be computed in 16 bits

    def _admit(self, entry: _Entry, facts: ModelFacts) -> Placement:
        """Place the model, evict what is idle until it has room, and reserve that room."""
        with self._changed:
            placement = self._placed(facts, entry.spec)
            device = next(device for device in self._devices() if device.name == placement.device)
            gone: list[_Entry] = []
            for idle in self._idle(device.name):
                if placement.total_bytes <= room_on(_without(device, gone), self._policy(entry.spec, gone)):
                    break
                gone.append(idle)
            for idle in gone:
                self._evict(idle)
            self._ledger.reserve(device.name, placement.total_bytes, device.total_bytes)
            entry.title, entry.placement = facts.title, placement
        if gone:
            give_back(device.name)
        return placement

    def _placed(self, facts: ModelFacts, spec: ModelSpec) -> Placement:
        """The placement if every idle model were gone. Raises ``Busy`` when only borrowed ones are in the way."""
        try:
            return self._placed_without(self._idle(), facts, spec)
        except DoesNotFit:
            in_use = [entry for entry in self._entries.values() if entry.placement and entry.borrowers]
            self._placed_without([*self._idle(), *in_use], facts, spec)
            others = f"{len(in_use)} other model{'s are' if len(in_use) > 1 else ' is'}"
            raise Busy(
                f"There is no room for {facts.title} while {others} in use.",
                "Try again when those runs have ended, or choose a model that is loaded already.",
            ) from None

    def _placed_without(self, gone: Sequence[_Entry], facts: ModelFacts, spec: ModelSpec) -> Placement:
        return place(facts, [_without(device, gone) for device in self._devices()], self._policy(spec, gone))

    def _policy(self, spec: ModelSpec, gone: Sequence[_Entry]) -> Policy:
        """What is wanted, and what is promised on each device once ``gone`` are evicted."""
        staying = [e.placement for e in self._entries.values() if e.placement is not None and e not in gone]
        mine = [(placement.device, placement.total_bytes) for placement in staying]
        others = [(device.name, self._ledger.reserved_by_others(device.name)) for device in self._devices()]
        return Policy(
            purpose=spec.purpose,
            batch=PLANNED_ROWS,
            budget_bytes=self._budget,
            promised=(*mine, *others),
            device=spec.device,
            dtype=spec.dtype,
        )

    def _idle(self, device: str | None = None) -> list[_Entry]:
        """Loaded entries that nobody borrows (on one device, if named), least recently used first."""
        idle = [
            entry
            for entry in self._entries.values()
            if entry.loaded is not None and not entry.borrowers and device in (None, entry.device)
        ]
        return sorted(idle, key=lambda entry: entry.used)

    def _evict(self, entry: _Entry) -> None:
        del self._entries[entry.spec]
        entry.loaded = None
        if entry.placement is not None:
            self._ledger.release(entry.placement.device, entry.placement.total_bytes)

    def _failed(self, entry: _Entry, error: LabError) -> None:
        """Take a load that failed out of the pool, tell the waiters why, and make room if there was none."""
        with self._changed:
            del self._entries[entry.spec]
            if entry.placement is not None:
                self._ledger.release(entry.placement.device, entry.placement.total_bytes)
            entry.error = error
            self._changed.notify_all()
        if isinstance(error, OutOfMemory):
            self.drop_idle(entry.device or None)


def _without(device: Device, gone: Sequence[_Entry]) -> Device:
    """``device`` with the memory it will have when ``gone`` are evicted."""
    freed = sum(entry.loaded.bytes for entry in gone if entry.loaded is not None and entry.device == device.name)
    return replace(device, free_bytes=device.free_bytes + freed)
