"""What the body of a run is given: whom it works for, whether to go on, and when its next turn is.

The same object serves a run on the page, a job's worker and a notebook: nothing in it says who carries the run.
"""

from __future__ import annotations

import threading
from pathlib import Path

from core.errors import Stopped


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
    ) -> None:
        self.run_id = run_id
        self.visitor = visitor
        self.folder = folder  # where artifacts go
        self.secret = secret
        self._changed = threading.Condition()
        self._cancelled = False
        self._turns: int | None = 0 if by_hand else None  # None: run freely

    def __repr__(self) -> str:
        return f"RunContext({self.run_id!r})"

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
