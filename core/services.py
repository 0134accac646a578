"""The composition root: everything the page needs, built once from the settings. A job's process is ``core.worker``.

Importing and building this loads no torch. What needs torch (the pool, the labs' ``run``) is imported on first use;
``warm_up`` does that after the page is up, so that the first click does not pay for it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from core.catalog.catalog import Catalog
from core.events import Event
from core.labs.base import Request
from core.labs.table import LABS, LabEntry, load_lab
from core.runtime.devices import Device, detect_devices
from core.runtime.identity import Identity
from core.runtime.job_process import shares_devices
from core.runtime.job_queue import job_devices
from core.runtime.jobs import Jobs
from core.runtime.lanes import Lanes
from core.runtime.ledger import Ledger
from core.runtime.runner import RunContext, Runner
from core.runtime.runs import Parent, RunLog, RunStore
from core.runtime.translate import translate
from core.runtime.uploads import Uploads
from core.settings import Settings

if TYPE_CHECKING:
    from core.runtime.pool import Pool

__all__ = ["LABS", "LabEntry", "Services"]

Readiness = Literal["warming up", "ready", "failed"]
log = logging.getLogger(__name__)


class Services:
    """One per app. Closing it stops the live runs and the lanes; jobs go on in their own processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.identity = Identity(settings.home)
        self.store = RunStore(settings)
        self.uploads = Uploads(settings)
        self.runner = Runner(self.store, settings, translate=translate, uploads=self.uploads)
        self.catalog = Catalog(settings)
        self.ledger = Ledger(settings)
        self.lanes = Lanes()
        self.jobs = Jobs(settings, self.store, self._job_devices, lambda lab: LABS[lab].module)
        self.readiness: Readiness = "warming up"
        self._pool_lock = threading.Lock()

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """The devices of this machine, best first; the first call imports torch."""
        return detect_devices()

    @cached_property
    def pool(self) -> Pool:
        """The model pool; the first call imports torch."""
        with self._pool_lock:
            from core.runtime.pool import Pool

            return Pool(self.settings, self.catalog, self.ledger, self.lanes)

    def lab(self, name: str) -> Any:
        """A lab's module; the first call imports what it runs on."""
        return load_lab(LABS[name].module)

    def start(
        self,
        lab: str,
        request: Request,
        visitor: str,
        *,
        parent: Parent | None = None,
        secret: str | None = None,
    ) -> RunLog:
        """Start a run on its own thread, or put a job in the queue; returns its log, to be followed.

        ``secret`` is the visitor's Hub token, never stored. Raises ``Busy`` when a limit is reached.
        """
        data = request.model_dump(mode="json")
        if LABS[lab].kind == "job":
            return self.jobs.submit(lab, visitor, data, parent, title=request.summary(), secret=secret)

        def body(context: RunContext) -> Iterator[Event]:
            yield from self.lab(lab).run(request, self.pool, context)

        return self.runner.start(
            lab, visitor, data, body, parent, title=request.summary(), by_hand=request.paced, secret=secret
        )

    def stop(self, run_id: str, visitor: str) -> bool:
        """Ask the visitor's own run or job to stop; False when it is over. Raises ``NotFound`` for anybody else's."""
        run = self.store.open(run_id, visitor)
        return self.runner.stop(run.id) or (run.meta.kind == "job" and self.jobs.stop(run.id))

    def warm_up(self) -> None:
        """Tidy the runs' folder, import what the labs run on, load the bundled model. Never raises: see ``status``."""
        try:
            self.store.recover()
            self.store.prune()
            self.uploads.prune()
            self.jobs.watch()  # what an earlier app left goes on
            for name in (name for name, lab in LABS.items() if lab.warm):
                self.lab(name).warm_up(self.pool)
            self.readiness = "ready"
        except Exception:
            log.exception("The warm-up failed; labs load what they need when they are used.")
            self.readiness = "failed"

    def status(self) -> dict[str, Any]:
        """What the status strip shows; cheap, and imports nothing new. Sizes in bytes."""
        warm = self.readiness == "ready"
        entries = self.pool.snapshot() if warm else ()
        device = self.devices[0] if warm else None
        return {
            "state": self.readiness,
            "offline": self.settings.offline,
            "device": device.label if device else f"CPU {os.cpu_count()} cores",
            "models": len(entries),
            "bytes": sum(entry.bytes for entry in entries),
            "budget": self.settings.memory_budget or (device.total_bytes if device else None),
            "queue": self.lanes.depth() + self.jobs.waiting(),
        }

    def close(self) -> None:
        """Stop live runs, then the lanes. Jobs, those that wait too, are found again by the next app."""
        self.jobs.close()
        self.runner.close()
        self.store.close()
        self.lanes.close()

    def _job_devices(self) -> tuple[str, ...]:
        names = [device.name for device in self.devices]
        return job_devices(names, shared=shares_devices(self.settings))
