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
  has loaded it; a fine-tuned model (``tuned:<run>``) is lent to its owner only, a bundled head to everybody.
- Whatever was trained beside a base is attached to the one in memory, which stays as long as they do: one without a
  head, however many heads are in use.
- A model that is lent to be trained or measured is lent once, and is gone when it comes back. Two who measure the same
  have one each; two who train the same take turns.

A lease that waits for somebody else's load can be cancelled; a load in progress cannot.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from core.catalog.catalog import Catalog, Located
from core.catalog.facts import ModelFacts
from core.catalog.known import is_known
from core.errors import BadInput, Busy, DoesNotFit, LabError, OutOfMemory, Stopped
from core.runtime.attaching import attach
from core.runtime.bundled_heads import bundled_head
from core.runtime.devices import Device, detect_devices, give_back
from core.runtime.lanes import Lanes
from core.runtime.ledger import Ledger
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Placement, Policy, place, room_on
from core.runtime.pool_entries import (
    LENT_ONCE,
    Entry,
    Loader,
    PoolEntry,
    alike,
    base_spec,
    idle_entries,
    own_spec,
    placed_beside,
    policy_of,
    without,
)
from core.runtime.translate import is_out_of_memory, translate, translating
from core.runtime.tuned import Tuned, TunedModels, is_tuned
from core.settings import Settings

__all__ = ["LoadedModel", "ModelSpec", "Pool", "PoolEntry"]

CANCEL_POLL = 0.05
"""Seconds between two looks at a waiting lease's ``cancelled``."""


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
        self.settings = settings
        self._catalog = catalog
        self.tuned = TunedModels(settings)
        self._ledger = ledger
        self._lanes = lanes
        self._loader = loader
        self._devices = devices
        self._clock = clock
        self._entries: dict[ModelSpec, Entry] = {}
        self._turns = itertools.count(1)
        self._changed = threading.Condition()

    @contextmanager
    def lease(
        self,
        spec: ModelSpec,
        token: str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        owner: str = "",
    ) -> Iterator[LoadedModel]:
        """Borrow a model for the body. ``owner`` (``runs.owner_of``) is asked for by fine-tuned ones only.

        Raises ``LabError`` if it cannot be had, ``Stopped`` when ``cancelled``.
        """
        spec, tuned = self._allowed(spec, token, owner)
        entry, loaded = self._borrow(spec, tuned, token, cancelled)
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

    @contextmanager
    def room_for_copies(self, beside: LoadedModel, count: int, title: str) -> Iterator[None]:
        """Keep ``count`` bytes free where a borrowed model is, for what the body makes of it.

        Raises ``DoesNotFit`` or ``Busy``, with ``title`` as what needs them, before the body.
        """
        with self._changed:
            base = next(entry for entry in self._entries.values() if entry.loaded is beside)
            entry = Entry(base.spec, title, base=base, borrowers=1, used=self._clock(), copies=count)
            entry.spec = replace(base.spec, base=title, seed=id(entry))  # its own, whoever copies the same at once
            base.borrowers += 1
            self._entries[entry.spec] = entry
        try:
            self._admit(entry, beside.facts)
            yield
        finally:
            with self._changed:
                self._evict(entry)

    def plan(self, spec: ModelSpec, token: str | None = None, owner: str = "") -> Placement:
        """Where ``spec`` would go now, idle models making room; loads nothing, and downloads nothing.

        What is attached to a base goes where the base goes.
        """
        spec, tuned = self._allowed(spec, token, owner)
        if tuned is not None and tuned.shares:
            spec, tuned = base_spec(spec, tuned), None
        with self._changed:
            facts = tuned.located().facts if tuned is not None else self._catalog.facts(spec.base)
            return self._placed(facts, spec)

    def base_of(self, tuned: Tuned) -> ModelSpec:
        """What to lease for the base that ``tuned`` is attached to: the very one in memory."""
        return base_spec(ModelSpec(tuned.name), tuned)

    def named(self, name: str, owner: str = "") -> Tuned | None:
        """The owner's fine-tuned model or the bundled head of this name; None for a name of the catalog's."""
        return self.tuned.open(name, owner) if is_tuned(name) else bundled_head(self.settings, name)

    def _allowed(self, spec: ModelSpec, token: str | None, owner: str) -> tuple[ModelSpec, Tuned | None]:
        """What is kept for ``spec``, and the fine-tuned model it names, if any. Raises for whoever may not have it."""
        if spec.adapter is not None:
            raise BadInput("Such adapters are not attached.", "Choose the fine-tuned model by its name.")
        tuned = self.named(spec.base, owner)
        spec = own_spec(spec, tuned)
        if tuned is None or tuned.shares:
            self._catalog.authorize(spec.base if tuned is None else tuned.base, token)
        return spec, tuned

    def snapshot(self) -> tuple[PoolEntry, ...]:
        """What is in memory and who borrows it, most recently used first."""
        now = self._clock()
        with self._changed:
            return tuple(e.line(now) for e in sorted(self._entries.values(), key=lambda entry: -entry.used))

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

    def _borrow(
        self, spec: ModelSpec, tuned: Tuned | None, token: str | None, cancelled: Callable[[], bool]
    ) -> tuple[Entry, LoadedModel]:
        """The entry of ``spec``, counted as borrowed, and its model. The first who asks loads; the others wait."""
        if cancelled():
            raise Stopped("Stopped.")
        with self._changed:
            if spec.purpose == "measure":
                spec = replace(spec, turn=next(self._turns))
            entry = self._entries.get(spec) or self._alike(spec)
            first = entry is None
            if entry is None:
                entry = self._entries[spec] = Entry(spec, spec.base, tuned, used=self._clock())
            elif spec.purpose == "train":
                raise Busy(f"{entry.title} is being trained here.", "Try again when that has ended.")
            entry.borrowers += 1
        try:
            loaded = self._load(entry, token) if first else self._wait(entry, cancelled)
            if cancelled():
                raise Stopped("Stopped.")
        except BaseException:
            self._return(entry)
            raise
        return entry, loaded

    def _alike(self, spec: ModelSpec) -> Entry | None:
        """The same model in memory under other wishes, where they come to the same device and dtype."""

        def placed(facts: ModelFacts) -> Placement:
            return self._placed_without(list(self._entries.values()), facts, spec, None)

        try:
            return alike(self._entries.values(), spec, placed)
        except DoesNotFit:
            return None

    def _wait(self, entry: Entry, cancelled: Callable[[], bool]) -> LoadedModel:
        with self._changed:
            while entry.loaded is None:
                if entry.error is not None:
                    raise type(entry.error)(entry.error.what, entry.error.todo) from entry.error
                if cancelled():
                    raise Stopped("Stopped.")
                self._changed.wait(CANCEL_POLL)
            return entry.loaded

    def _return(self, entry: Entry) -> None:
        with self._changed:
            entry.borrowers -= 1
            entry.used = self._clock()
            if entry.base is not None:
                entry.base.used = entry.used
            if entry.spec.purpose in LENT_ONCE and self._entries.get(entry.spec) is entry:
                if entry.loaded is not None and entry.spec.purpose == "measure":
                    entry.loaded.model = None  # whoever still holds the lease's object holds no weights
                self._evict(entry)  # after training its numbers are no longer those of the files

    def _load(self, entry: Entry, token: str | None) -> LoadedModel:
        try:
            shares = entry.tuned is not None and entry.tuned.shares
            loaded = self._load_beside(entry, token) if shares else self._load_whole(entry, token)
        except BaseException as error:
            self._failed(entry, translate(error))
            with translating():
                raise
        with self._changed:
            entry.loaded = loaded
            self._changed.notify_all()
        return loaded

    def _load_whole(self, entry: Entry, token: str | None) -> LoadedModel:
        spec = entry.spec
        if entry.tuned is None:
            located = self._locate(spec, token)
        else:
            located, spec = entry.tuned.located(), replace(spec, head=entry.tuned.head)
        placement = self._admit(entry, located.facts)
        return self._loader(located, placement, spec=spec, lane=self._lanes.for_device(placement.device))

    def _load_beside(self, entry: Entry, token: str | None) -> LoadedModel:
        assert entry.tuned is not None
        base, loaded = self._borrow(base_spec(entry.spec, entry.tuned), None, token, lambda: False)
        with self._changed:
            entry.base = base
        return attach(loaded, entry.tuned, self._admit(entry, loaded.facts), entry.spec)

    def _locate(self, spec: ModelSpec, token: str | None) -> Located:
        """The files; what cannot fit is refused before it is downloaded."""
        if is_known(spec.base):
            with self._changed:
                self._placed(self._catalog.facts(spec.base), spec)
        largest = max(device.total_bytes for device in self._devices())
        return self._catalog.locate(spec.base, token, 2 * largest)  # stored in float32, they may be computed in 16 bits

    def _admit(self, entry: Entry, facts: ModelFacts) -> Placement:
        """Place the model, evict what is idle until it has room, and reserve that room."""
        with self._changed:
            if not entry.copies:
                entry.title = facts.title if entry.tuned is None else entry.tuned.title
            placement = self._placed(facts, entry.spec, entry)
            device = self._device(placement.device)
            gone: list[Entry] = []
            for idle in self._idle(device.name):
                if placement.total_bytes <= room_on(without(device, gone), self._policy(entry.spec, gone)):
                    break
                gone.append(idle)
            for idle in gone:
                self._evict(idle)
            self._ledger.reserve(device.name, placement.total_bytes, device.total_bytes)
            entry.placement = placement
        if gone:
            give_back(device.name)
        return placement

    def _device(self, name: str) -> Device:
        return next(device for device in self._devices() if device.name == name)

    def _placed(self, facts: ModelFacts, spec: ModelSpec, entry: Entry | None = None) -> Placement:
        """The placement if every idle model were gone. Raises ``Busy`` when only borrowed ones are in the way."""
        try:
            return self._placed_without(self._idle(), facts, spec, entry)
        except DoesNotFit:
            in_use = [e for e in self._entries.values() if e.placement and e.borrowers]
            self._placed_without([*self._idle(), *in_use], facts, spec, entry)
            others = f"{len(in_use)} other model{'s are' if len(in_use) > 1 else ' is'}"
            raise Busy(
                f"There is no room for {entry.title if entry else facts.title} while {others} in use.",
                "Try again when those runs have ended, or choose a model that is loaded already.",
            ) from None

    def _placed_without(
        self, gone: Sequence[Entry], facts: ModelFacts, spec: ModelSpec, entry: Entry | None
    ) -> Placement:
        if entry is not None and entry.base is not None:
            device = without(self._device(entry.base.device), gone)
            return placed_beside(entry, room_on(device, self._policy(entry.spec, gone)))
        return place(facts, [without(device, gone) for device in self._devices()], self._policy(spec, gone))

    def _policy(self, spec: ModelSpec, gone: Sequence[Entry]) -> Policy:
        """What is wanted, and what is promised on each device once ``gone`` are evicted."""
        staying = [e.placement for e in self._entries.values() if e.placement is not None and e not in gone]
        mine = [(placement.device, placement.total_bytes) for placement in staying]
        others = [(device.name, self._ledger.reserved_by_others(device.name)) for device in self._devices()]
        return policy_of(spec, (*mine, *others), self.settings.memory_budget)

    def _idle(self, device: str | None = None) -> list[Entry]:
        return idle_entries(self._entries.values(), device)

    def _evict(self, entry: Entry) -> None:
        del self._entries[entry.spec]
        entry.loaded = None
        self._let_go(entry)

    def _let_go(self, entry: Entry) -> None:
        if entry.base is not None:
            entry.base.borrowers -= 1
        if entry.placement is not None:
            self._ledger.release(entry.placement.device, entry.placement.total_bytes)

    def _failed(self, entry: Entry, error: LabError) -> None:
        """Take a load that failed out of the pool, tell the waiters why, and make room if there was none."""
        with self._changed:
            del self._entries[entry.spec]
            self._let_go(entry)
            entry.error = error
            self._changed.notify_all()
        if isinstance(error, OutOfMemory):
            self.drop_idle(entry.device or None)
