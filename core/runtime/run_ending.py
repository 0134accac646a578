"""How a run is carried to its end, the same on a thread of the app and in a job's process.

Promises: whatever the body does, there is exactly one last event: the body's own ``Done`` or ``Failed``; else ``Done``
when it returns, ``Done("stopped")`` for ``Stopped``, and ``Failed`` with the sentence of any other error, whose cause
goes to ``error.log`` in the run's folder. A visitor's secret reaches neither the sentence nor that file.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from core.errors import Internal, LabError, Stopped
from core.events import Done, Event, Failed
from core.runtime.run_context import RunContext
from core.runtime.run_writer import LogClosed

Body = Callable[[RunContext], Iterator[Event]]
Translate = Callable[[BaseException], LabError]
_log = logging.getLogger(__name__)


class Log(Protocol):
    """What a run's body speaks into."""

    @property
    def id(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    def append(self, event: Event) -> int: ...


def unexpected(error: BaseException) -> LabError:
    """The translation of last resort; ``core.runtime.translate`` knows better."""
    return Internal("Something went wrong inside Benchtop.", "Try again; the run's error.log holds the cause.")


def carry(context: RunContext, log: Log, body: Body, translate: Translate) -> Done | Failed | None:
    """Append what the body yields; the last event that is still missing, or None when the log has it."""
    try:
        return _drain(context, log, body)
    except Stopped:
        return Done(reason="stopped")
    except LogClosed:
        return None  # somebody ended it: nobody waited for this one
    except BaseException as error:  # noqa: BLE001 - the log must end, SystemExit of a library included
        return failure(log, error, context.secret, translate)


def failure(log: Log, error: BaseException, secret: str | None, translate: Translate) -> Done | Failed:
    """The last event for ``error``, whose cause is kept beside the log."""
    told = error if isinstance(error, LabError) else _translated(error, translate)
    if isinstance(told, Stopped):
        return Done(reason="stopped")
    if told is not error or error.__cause__ is not None:
        _keep_cause(log, error, secret)
    return Failed(error=type(told).__name__, what=_plain(told.what, secret), todo=_plain(told.todo, secret))


def _drain(context: RunContext, log: Log, body: Body) -> Done | Failed | None:
    said = body(context)
    try:
        for event in said:
            log.append(event)
            if isinstance(event, Done | Failed):
                return None
        return Done()
    finally:
        close = getattr(said, "close", None)
        if close is not None:
            close()


def _translated(error: BaseException, translate: Translate) -> LabError:
    try:
        return translate(error)
    except Exception:  # noqa: BLE001 - a fault in it must not hide the run's own
        _log.exception("the translation of %s failed", type(error).__name__)
        return unexpected(error)


def _keep_cause(log: Log, error: BaseException, secret: str | None) -> None:
    text = _plain("".join(traceback.format_exception(error)), secret)
    _log.error("run %s failed with %s: see its error.log", log.id, type(error).__name__)
    try:
        with (log.folder / "error.log").open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        _log.exception("run %s: no error.log could be written for\n%s", log.id, text)


def _plain(text: str, secret: str | None) -> str:
    """Text that can be written as UTF-8 and doesn't hold the secret."""
    if secret:
        text = text.replace(secret, "[secret]")
    return text.encode("utf-8", "replace").decode()
