"""Foreign exceptions become ours here, and nowhere else.

Promises
- ``translate`` returns one ``LabError`` for any exception; an unknown one is ``Internal``, whose sentence tells nothing
  of the cause (the caller chains it, and the log keeps it).
- No sentence repeats foreign text, which may hold an address, a path or a token. Only pydantic's own messages about a
  request's fields are passed on, without the value that was refused.
- Nothing is imported for it: classes are recognised by name.

What concerns transfers (the Hub, the network, the disk) stands in ``core.catalog.transfer_errors``, which the catalog
needs below this layer; this module takes that table in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from core.catalog.transfer_errors import explain_transfer
from core.errors import BadInput, BadModel, Internal, LabError, OutOfMemory
from core.refusals import sentences

_ALLOCATION_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate", "bad_alloc")


def translate(error: BaseException, titles: Mapping[str, str] | None = None) -> LabError:
    """Our error for ``error``. ``titles`` names a request's fields as the page does, for its validation errors."""
    if isinstance(error, LabError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(
            "The device ran out of memory.",
            "Choose a smaller model, a shorter text or fewer things at once; what was running elsewhere goes on.",
        )
    for ancestor in type(error).__mro__:
        name = f"{ancestor.__module__}.{ancestor.__qualname__}"
        if name == "pydantic_core._pydantic_core.ValidationError":
            refused: Any = error
            return BadInput(sentences(refused, titles or {}), "Change it and try again.")
        if name in _BY_CLASS:
            return _BY_CLASS[name]()
    return explain_transfer(error) or Internal(
        "Something went wrong inside Benchtop.", "Try again; if it happens twice, report it with the log."
    )


@contextmanager
def translating(titles: Mapping[str, str] | None = None) -> Iterator[None]:
    """Raise what the body raises as a ``LabError``, the original as its cause; let interrupts and exits pass."""
    try:
        yield
    except LabError:
        raise
    except Exception as error:
        raise translate(error, titles) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left: torch says so in three ways, Python in one."""
    if isinstance(error, OutOfMemory | MemoryError):
        return True
    names = {f"{a.__module__}.{a.__qualname__}" for a in type(error).__mro__}
    if names & {"torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError"}:
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _ALLOCATION_WORDS)


_BY_CLASS: dict[str, Callable[[], LabError]] = {
    "safetensors._safetensors_rust.SafetensorError": lambda: BadModel(
        "The model's weights are damaged or cut short.", "Download or copy the model again."
    ),
    "json.decoder.JSONDecodeError": lambda: BadInput("The text is no valid JSON.", "Check it and try again."),
    "builtins.UnicodeDecodeError": lambda: BadInput("The file is no UTF-8 text.", "Save it as UTF-8 and try again."),
}
