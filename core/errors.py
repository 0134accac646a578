"""The one error tree. Its root says what happened and what to do; everything a visitor sees is one of these.

    LabError
    +-- BadInput            the request or a file cannot be used as it is
    +-- NotFound            no such model, run, file or share link (or not yours)
    +-- AccessDenied        the Hub wants a token, or a licence accepted
    +-- Unreachable         no network, the Hub or an endpoint is down, or a transfer broke off
    +-- BadModel            the files are there but are no model that can be loaded safely
    +-- DoesNotFit          refused before loading: the plan does not fit the device
    +-- OutOfMemory         the device ran out while working
    +-- Busy                a limit on queued or stored work was reached
    +-- Stopped             the visitor stopped it (not a failure; carries no advice)
    +-- Internal            a fault of ours; the log holds the cause

Foreign exceptions are translated in ``core.runtime.translate``, nowhere else.
"""

from __future__ import annotations


class LabError(Exception):
    """What happened and what to do about it, as one readable sentence each."""

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what, todo)
        self.what = what
        self.todo = todo

    def __str__(self) -> str:
        return f"{self.what} {self.todo}".strip()


class BadInput(LabError):
    """The request or a file cannot be used as it is."""


class NotFound(LabError):
    """No such model, run, file or share link, or it belongs to somebody else."""


class AccessDenied(LabError):
    """The Hub or an endpoint refuses this visitor."""


class Unreachable(LabError):
    """No network, the other side is down, or a transfer broke off."""


class BadModel(LabError):
    """The files are there, but they are no model that can be loaded safely."""


class DoesNotFit(LabError):
    """Refused before loading: the memory plan does not fit the device."""


class OutOfMemory(LabError):
    """The device ran out of memory while working."""


class Busy(LabError):
    """A limit on queued or stored work was reached."""


class Stopped(LabError):
    """The visitor stopped the work."""


class Internal(LabError):
    """A fault of ours. The visitor gets a sentence, the log keeps the cause."""
