"""A sentiment run, by its mode: label, explain, change, probe for bias, evaluate, or compare.

Promises: data is read, and refused, before a model is loaded; the model is borrowed for the run and no longer; a run
that is stopped ends within a batch and keeps what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.events import Event, Progress
from core.labs.sentiment.changing import bias_probe, what_if
from core.labs.sentiment.choices import Mode
from core.labs.sentiment.comparing import compare
from core.labs.sentiment.evaluating import evaluate
from core.labs.sentiment.explaining import explain_row, explain_texts
from core.labs.sentiment.labelling_run import label_texts
from core.labs.sentiment.relabel import retrain_request
from core.labs.sentiment.request import SentimentRequest
from core.labs.sentiment.script import script
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext

__all__ = ["explain_row", "retrain_request", "run", "script"]

_MODES: dict[Mode, Callable[[SentimentRequest, Pool, RunContext], Iterator[Event]]] = {
    Mode.LABEL: label_texts,
    Mode.EXPLAIN: explain_texts,
    Mode.WHATIF: what_if,
    Mode.BIAS: bias_probe,
    Mode.EVALUATE: evaluate,
    Mode.COMPARE: compare,
}


def run(request: SentimentRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one run, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    yield Progress(done=0, note="Getting the model ready")
    yield from _MODES[request.mode](request, pool, context)
