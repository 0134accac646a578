"""A quantization run, by its mode: compare schemes, plan memory, look at layers, show chat formats, or save.

Promises: what cannot be done is refused before a model is loaded; the model is borrowed for the run and no longer; a
run that is stopped ends within a slice and keeps what it has.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

from core.events import Event
from core.labs.quantization.choices import Mode
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.script import script
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext

__all__ = ["run", "script"]

Run = Callable[[QuantizationRequest, Pool, RunContext], Iterator[Event]]
_MODES = {
    Mode.COMPARE: ("comparing", "compare"),
    Mode.PLAN: ("planning", "plan"),
    Mode.LENS: ("lens", "look"),
    Mode.SWEEP: ("lens", "sweep"),
    Mode.CHAT: ("chat", "render"),
    Mode.SAVE: ("saving", "save"),
}


def run(request: QuantizationRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one run, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    module, name = _MODES[request.mode]
    carried: Run = getattr(importlib.import_module(f"core.labs.quantization.{module}"), name)
    yield from carried(request, pool, context)
