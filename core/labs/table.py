"""Which labs there are, and how their runs are carried. Names only: nothing of a lab is imported for it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from core.labs.base import Request


class LabEntry(NamedTuple):
    """A lab's module, imported on first use. It offers ``run``, often ``script``, and ``warm_up`` where it is warmed.

    An interactive run has a thread of the app; a job waits in a queue for a process of its own. What is ``warm`` is
    imported and warmed up as soon as the page is up.
    """

    module: str
    kind: Literal["interactive", "job"] = "interactive"
    warm: bool = False


LABS: dict[str, LabEntry] = {
    "decoding": LabEntry("core.labs.decoding.run", warm=True),
    "quantization": LabEntry("core.labs.quantization.run"),
    "finetuning": LabEntry("core.labs.finetuning.run", "job"),
    "finetuning_export": LabEntry("core.labs.finetuning.export"),
    "strategies": LabEntry("core.labs.strategies.run"),
    "sentiment": LabEntry("core.labs.sentiment.run"),
    "entities": LabEntry("core.labs.entities.run"),
}


def request_of(module: Any, data: Mapping[str, Any]) -> Request:
    """A stored request as the type that the module's ``run`` names for its parameter ``request``."""
    named = inspect.signature(module.run).parameters["request"].annotation
    kind = getattr(module, named) if isinstance(named, str) else named
    request: Request = kind.model_validate(data)
    return request


def load_lab(module: str) -> Any:
    """The module by this name; the first call imports what the lab runs on."""
    return importlib.import_module(module)
