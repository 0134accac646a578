"""An entities run, by its mode: find, compare five ways, align, or measure.

Promises: one forward pass per text whatever is made of it; the model is borrowed for the run and no longer; a run that
is stopped keeps what it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.errors import BadInput
from core.events import Event, Progress
from core.labs.entities.choices import DOCUMENTS, Mode
from core.labs.entities.evaluating import evaluate
from core.labs.entities.request import EntitiesRequest
from core.labs.entities.script import script
from core.labs.entities.subwords import alignments, five_ways
from core.labs.entities.tagging import find_entities
from core.runtime.labelling import label_spec, labels_of
from core.runtime.loading import LoadedModel
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext

__all__ = ["run", "script"]


def run(request: EntitiesRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one run, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    if request.data == DOCUMENTS and not request.documents and request.mode in (Mode.TAG, Mode.EVALUATE):
        raise BadInput("There are no documents to read.", "Upload some, or read something else.")
    if request.mode is Mode.ALIGNMENT and request.tags.strip():
        labels = sorted({tag for tag in request.tags.split() if tag != "O"})
        about = {"mode": request.mode.value, "model": None, "labels": ["O", *labels]}
        yield from alignments(request, pool.settings, None, context, about)
        return
    yield Progress(done=0, note="Getting the model ready")
    spec = label_spec(request.model, "tokens", pool.settings)
    with pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner) as loaded:
        yield from _with(request, pool, loaded, context)


def _with(request: EntitiesRequest, pool: Pool, loaded: LoadedModel, context: RunContext) -> Iterator[Event]:
    start = _start(request, loaded)
    if request.mode is Mode.TAG:
        return find_entities(request, pool.settings, loaded, context, start)
    if request.mode is Mode.STRATEGIES:
        return five_ways(request, loaded, context, start)
    if request.mode is Mode.ALIGNMENT:
        return alignments(request, pool.settings, loaded, context, start)
    return evaluate(request, pool.settings, loaded, context, start)


def _start(request: EntitiesRequest, loaded: LoadedModel) -> dict[str, Any]:
    model = {
        "name": request.model,
        "title": loaded.facts.title,
        "device": loaded.placement.device,
        "dtype": loaded.placement.dtype,
        "why": loaded.placement.why,
        "parameters": loaded.facts.parameters,
        "labels": list(labels_of(loaded)),
    }
    return {"mode": request.mode.value, "model": model, "labels": list(labels_of(loaded))}
