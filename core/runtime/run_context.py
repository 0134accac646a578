"""What the body of a run is given: whom it works for, whether to go on, and when its next turn is.

The same object serves a run on the page, a job's worker and a notebook: nothing in it says who carries the run. In a
worker the visitor's token isn't known and ``visitor`` is empty; ``owner`` says everywhere whose run it is.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from core.errors import NotFound, Stopped
from core.runtime.run_log import owner_of, read_meta
from core.runtime.uploads import Uploads


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What a job may take; None is no limit. The worker sees to time and bytes, the lab itself to its steps."""

    seconds: float | None = None
    steps: int | None = None
    bytes: int | None = None


class RunContext:
    """What a body gets of its run: who it is for, whether to go on, and when the next turn is."""

    def __init__(
        self,
        run_id: str,
        visitor: str,
        folder: Path | None = None,
        *,
        secret: str | None = None,
        by_hand: bool = False,
        owner: str = "",
        uploads: Uploads | None = None,
        store_folder: Path | None = None,
        limits: JobLimits | None = None,
    ) -> None:
        self.run_id = run_id
        self.visitor = visitor
        self.owner = owner or (owner_of(visitor) if visitor else "")  # the SHA-256 of the visitor's token
        self.folder = folder  # where artifacts go
        self.store_folder = store_folder  # where all runs are
        self.secret = secret
        self.limits = limits or JobLimits()
        self._uploads = uploads
        self._changed = threading.Condition()
        self._cancelled = False
        self._turns: int | None = 0 if by_hand else None  # None: run freely

    def __repr__(self) -> str:
        return f"RunContext({self.run_id!r})"

    @property
    def uploads(self) -> Uploads:
        """The visitors' files; ask for one with ``owner``. Raises ``NotFound`` where a run has none."""
        if self._uploads is None:
            raise NotFound("There are no uploaded files here.", "Choose a bundled set.")
        return self._uploads

    def upload(self, name: str) -> tuple[Path, str]:
        """A file of this run's owner, and what it is called. Raises ``NotFound``."""
        return self.uploads.open(name, self.owner)

    def own_run_folder(self, run_id: str) -> Path:
        """The folder of another run of this run's owner. Raises ``NotFound`` for a missing one and anybody else's."""
        try:
            meta = read_meta(self.store_folder, run_id) if self.store_folder is not None else None
        except ValueError:  # damaged
            meta = None
        if meta is None or self.store_folder is None or not self.owner or meta.owner != self.owner:
            raise NotFound("There is no such run among yours.", "Choose one from the list of runs.")
        return self.store_folder / meta.id

    def cancelled(self) -> bool:
        """Whether the run was stopped; cheap enough to ask before each token, from any thread."""
        return self._cancelled

    def check(self) -> None:
        """Raise ``Stopped`` when the run was stopped."""
        if self._cancelled:
            raise Stopped("Stopped.")

    def would_wait(self) -> bool:
        """Whether ``wait_for_turn`` would block now: the moment to say so with an event."""
        return self._turns == 0 and not self._cancelled

    def wait_for_turn(self) -> None:
        """By hand: block until the visitor asks for one more step. Otherwise return at once. Raises ``Stopped``."""
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or self._turns != 0)
            if self._turns:
                self._turns -= 1
        self.check()

    def advance(self, steps: int | None) -> None:
        """Allow so many more turns; None lets it run freely from here on. No effect on a run that isn't by hand."""
        with self._changed:
            if self._turns is not None:
                self._turns = None if steps is None else self._turns + max(steps, 0)
            self._changed.notify_all()

    def cancel(self) -> None:
        """Ask the body to stop."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
