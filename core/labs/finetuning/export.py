"""What becomes of a finished fine-tuning: a zip, a merged model, an ONNX graph, its event files, a push to the Hub.

Each is a run of its own, on the visitor's thread; what it makes lies in that run's folder and is announced by
``Artifact``. Merged models and graphs are compared, as written, with the model that decodes here, on the validation
rows of the training; the certificate stands in the log, in the result and in the zip. A certificate that fails ends
nothing: the files are there, and a warning says what differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from core import events
from core.catalog.catalog import Located
from core.catalog.facts import facts_from_folder
from core.errors import BadInput, Internal
from core.events import Artifact, Done, Event, Metric, Progress, Step
from core.labs.finetuning.certificate import Forward, batches, compare, forward_of
from core.labs.finetuning.export_request import EXPORT_TITLES, ExportKind, ExportRequest
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.result_card import result_card
from core.labs.finetuning.run import prepare
from core.measure.parity import Certificate
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.runtime.run_log import read_meta
from core.runtime.tuned import MODEL_FOLDER, PREFIX, Tuned
from core.training.hub_upload import check_reachable, push
from core.training.merging import check_mergeable, merge, save
from core.training.onnx_export import OnnxModel, export_onnx
from core.training.packaging import folder_bytes, pack

EVENTS_FOLDER = "tensorboard"
GRAPH = "model.onnx"
CERTIFICATE = "certificate.json"
FLOAT32 = 4
"""Bytes of a number in a graph, whatever the model computes in."""


def run(request: ExportRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one export, from ``Step("start")`` to ``Done``. Raises ``LabError``; ``NotFound`` for strangers."""
    source = context.own_run_folder(request.run)
    if request.kind is ExportKind.TENSORBOARD:
        name = f"tensorboard-{request.run[:4]}"
        yield from _zip_of(source / EVENTS_FOLDER, _folder(context), name, {}, kind="tensorboard")
        return
    tuned = pool.tuned.open(f"{PREFIX}{request.run}", context.owner)
    values = {"kind": request.kind.value, "title": EXPORT_TITLES[request.kind], "model": tuned.title}
    yield Step(name="start", index=0, values={**values, "run": request.run})
    yield from _EXPORTS[request.kind](request, tuned, pool, context)


def _zip(request: ExportRequest, tuned: Tuned, pool: Pool, context: RunContext) -> Iterator[Event]:
    yield from _zip_of(tuned.folder, _folder(context), _slug(tuned), {"README.md": result_card(tuned, "zip")})


def _hub(request: ExportRequest, tuned: Tuned, pool: Pool, context: RunContext) -> Iterator[Event]:
    check_reachable(pool.settings.offline)
    size = folder_bytes(tuned.folder)
    yield Progress(done=0, total=size, unit="bytes", note=f"Pushing to {request.repo}")
    texts = {"README.md": result_card(tuned, "hub")}
    address = push(tuned.folder, request.repo, private=request.private, token=context.secret, texts=texts)
    yield Progress(done=size, total=size, unit="bytes", note=f"Pushed to {request.repo}")
    yield Done(result={"kind": "hub", "files": [], "url": address, "repo": request.repo, "private": request.private})


def _merge(request: ExportRequest, tuned: Tuned, pool: Pool, context: RunContext) -> Iterator[Event]:
    check_mergeable(tuned)
    folder = _folder(context) / "merged"
    with ExitStack() as leases:
        adapted, base = _leased(leases, tuned, pool, context)
        yield Progress(done=0, note=f"Merging into {tuned.base} in {adapted.placement.dtype}")
        copies = 2 * base.bytes  # the one that the adapter is worked into, and what was written, read back
        leases.enter_context(pool.room_for_copies(base, copies, f"the merge of {tuned.title}"))
        merge(base, tuned, adapted.tokenizer, folder)
        context.check()
        spec = ModelSpec("merged", head=tuned.head)
        located = Located("merged", folder, facts_from_folder(folder, "merged"), "local")
        merged = load(located, adapted.placement, spec=spec, lane=adapted.lane)
        what = "merged weights, as written, against the adapter beside its base"
        forward = forward_of(merged, context.visitor)
        certificate = yield from _certified(request, adapted, forward, what, pool, context)
    yield from _packed(tuned, folder, f"{_slug(tuned)}-merged", "merge", certificate, context)


def _onnx(request: ExportRequest, tuned: Tuned, pool: Pool, context: RunContext) -> Iterator[Event]:
    folder = _folder(context) / "onnx"
    with ExitStack() as leases:
        adapted, base = _leased(leases, tuned, pool, context)
        yield Progress(done=0, note="Tracing the model for onnxruntime")
        copies = 3 * FLOAT32 * base.facts.parameters  # the one that is traced, its graph, and the graph as it runs
        leases.enter_context(pool.room_for_copies(base, copies, f"the graph of {tuned.title}"))
        model = onnx_source(adapted, base, tuned)
        export_onnx(model, folder / GRAPH)
        adapted.model.config.save_pretrained(str(folder))
        save(adapted.tokenizer, adapted.tokenizer, folder)
        context.check()
        graph = OnnxModel(folder / GRAPH)
        what = "the graph, run by onnxruntime, against the model in torch"
        certificate = yield from _certified(request, adapted, graph, what, pool, context)
    yield from _packed(tuned, folder, f"{_slug(tuned)}-onnx", "onnx", certificate, context)


def onnx_source(adapted: LoadedModel, base: LoadedModel, tuned: Tuned) -> Any:
    """A model of its own to trace, in float32: merged where there is an adapter, for then the graph is smaller."""
    import copy

    from core.runtime.attaching import merged_model

    mergeable = tuned.attaches and tuned.kind != "prompt"
    model = merged_model(base.model, tuned, base.fresh) if mergeable else copy.deepcopy(adapted.model)
    return model.float().cpu().eval()


_EXPORTS: dict[ExportKind, Callable[[ExportRequest, Tuned, Pool, RunContext], Iterator[Event]]] = {
    ExportKind.ZIP: _zip,
    ExportKind.MERGE: _merge,
    ExportKind.ONNX: _onnx,
    ExportKind.HUB: _hub,
}


def _leased(leases: ExitStack, tuned: Tuned, pool: Pool, context: RunContext) -> tuple[LoadedModel, LoadedModel]:
    """The model as it decodes here, and the base it is attached to (itself, when it is whole)."""

    def lease(spec: ModelSpec) -> LoadedModel:
        lent = pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner)
        return leases.enter_context(lent)

    adapted = lease(ModelSpec(tuned.name))
    return adapted, lease(pool.base_of(tuned)) if tuned.attaches else adapted


def _certified(
    request: ExportRequest, adapted: LoadedModel, after: Forward, what: str, pool: Pool, context: RunContext
) -> Generator[Event, None, Certificate]:
    """Compare on the validation rows; returns the certificate."""
    assert context.store_folder is not None  # own_run_folder has looked there
    meta = read_meta(context.store_folder, request.run)
    assert meta is not None
    training = FinetuningRequest.model_validate(meta.request)
    yield Progress(done=0, note="Reading the validation rows")
    rows = batches(prepare(training, pool.settings, context), adapted.tokenizer, training)
    before = forward_of(adapted, context.visitor)
    dtype = adapted.placement.dtype
    for item in compare(before, after, rows, context, what=what, dtype=dtype, task=training.task):
        if isinstance(item, Certificate):
            yield Metric(name="parity", value="pass" if item.passed else "fail")
            if not item.passed:
                yield events.Warning(text=f"The certificate fails: {'; '.join(item.faults)}.")
            return item
        yield item
    raise Internal("The comparison ended without a certificate.", "Try again; the log has the cause.")


def _packed(
    tuned: Tuned, folder: Path, name: str, kind: str, certificate: Certificate, context: RunContext
) -> Iterator[Event]:
    text = json.dumps(certificate.plain(), indent=2)
    extra = {CERTIFICATE: text + "\n", "README.md": result_card(tuned, kind, certificate)}
    yield from _zip_of(folder, _folder(context), name, extra, kind=kind, certificate=certificate.plain())


def _zip_of(
    folder: Path, target: Path, name: str, extra: dict[str, str], *, kind: str = "zip", **result: Any
) -> Iterator[Event]:
    yield Progress(done=0, note="Packing")
    size = pack(folder, target / f"{name}.zip", inside=name, extra=extra, events=kind == "tensorboard")
    file = {"name": f"{name}.zip", "path": f"{name}.zip", "bytes": size}
    yield Artifact(name=f"{name}.zip", path=f"{name}.zip", bytes=size)
    yield Done(result={"kind": kind, "files": [file], **result})


def _folder(context: RunContext) -> Path:
    if context.folder is None:
        raise BadInput("This run has no folder for files.", "Start it from the page or the API.")
    return context.folder


def _slug(tuned: Tuned) -> str:
    """The title as a file's name, told apart by the run."""
    words = re.sub(r"[^a-z0-9]+", "-", tuned.title.lower()).strip("-")[:40]
    return f"{words or MODEL_FOLDER}-{tuned.run[:4]}"
