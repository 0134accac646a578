"""A quantized checkpoint: written, read back through the same door, and compared with what was in memory.

Promises: the certificate compares the model that was saved with the one read back, on the same text; how far both are
from full precision stands beside it and is no part of the verdict. The zip holds safetensors, JSON and text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BadInput, Busy, DoesNotFit, LabError
from core.events import Artifact, Done, Event, Metric, Progress, Step
from core.events import Warning as Notice
from core.labs.quantization.choices import SchemeName
from core.labs.quantization.comparing import scheme_spec, start_values, text_of
from core.labs.quantization.request import QuantizationRequest
from core.runtime.devices import detect_devices
from core.runtime.loading import LoadedModel
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.runtime.schemes import SCHEMES, refusal, scheme_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from core.measure.agreement import Reference
    from core.measure.parity import Certificate

CERTIFICATE = "certificate.json"
COLUMNS = ("measure", "measured", "allowed", "result")
STEPS = 4
Passages = Sequence[Sequence[int]]


def save(request: QuantizationRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    if context.folder is None:
        raise BadInput("This run has no folder for files.", "Start it from the page or the API.")
    name = request.scheme.value
    yield Progress(done=0, total=STEPS, unit="steps", note="Measuring full precision")
    reference, note = _full_precision(request, pool, context)
    if note:
        yield Notice(text=note)
    yield Progress(done=1, total=STEPS, unit="steps", note=f"Quantizing to {SCHEMES[name].title}")
    spec = scheme_spec(request.model, name)
    with pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner) as loaded:
        device = next(one for one in detect_devices() if one.name == loaded.placement.device)
        why = refusal(name, loaded.facts, device)
        if why is not None:
            raise BadInput(why, "Choose another scheme.")
        read, source = text_of(request, loaded, pool)
        yield Step(name="start", index=0, values=start_values(request, loaded, read, source))
        yield from _saved(name, loaded, read, reference, pool, context)


def _saved(
    name: str, loaded: LoadedModel, read: Passages, reference: Reference | None, pool: Pool, context: RunContext
) -> Iterator[Event]:
    from core.runtime.quantized_files import load_saved, save_quantized
    from core.training.packaging import pack

    assert context.folder is not None
    folder = context.folder / "checkpoint"
    yield Progress(done=2, total=STEPS, unit="steps", note="Writing the files")
    size = loaded.lane.call(lambda: save_quantized(loaded, folder), visitor=context.visitor)  # before the first pass
    yield Step(name="files", index=0, values=_files(folder, size, loaded))
    before, distance = _predictions(loaded, read, context, reference)
    context.check()
    yield Progress(done=3, total=STEPS, unit="steps", note="Reading them back")
    with pool.room_for_copies(loaded, loaded.bytes, "the checkpoint, read back,"):
        after, _ = _predictions(load_saved(folder, loaded), read, context, None)
    certificate = _certificate(name, loaded.placement.dtype, before, after)
    values = {**certificate.plain(), "columns": COLUMNS, "rows": certificate.lines(), "distance": distance}
    yield Step(name="certificate", index=0, values=values)
    yield Metric(name="parity", value="pass" if certificate.passed else "fail")
    if not certificate.passed:
        yield Notice(text=f"The certificate fails: {'; '.join(certificate.faults)}.")
    stem = f"{re.sub(r'[^a-z0-9]+', '-', loaded.facts.title.lower()).strip('-')[:40] or 'model'}-{name}"
    texts = {CERTIFICATE: json.dumps({**certificate.plain(), "distance": distance}, indent=2) + "\n"}
    packed = pack(folder, context.folder / f"{stem}.zip", inside=stem, extra=texts)
    yield Artifact(name=f"{stem}.zip", path=f"{stem}.zip", bytes=packed)
    result = {"scheme": name, "bytes": size, "file": f"{stem}.zip", **certificate.plain(), "distance": distance}
    yield Done(result=result)


def _full_precision(
    request: QuantizationRequest, pool: Pool, context: RunContext
) -> tuple[Reference | None, str | None]:
    """The model in float32 on the text; without it, where it has no room, the reason."""
    from core.measure.agreement import Reference
    from core.quantization.measuring import Meter

    spec = scheme_spec(request.model, SchemeName.FLOAT32.value)
    reference = Reference()
    try:
        with pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner) as loaded:
            read, _ = text_of(request, loaded, pool)
            meter = Meter(loaded, visitor=context.visitor, cancelled=context.cancelled)
            for logits, targets in meter.predictions(read):
                reference.add(logits, targets)
    except (DoesNotFit, Busy) as error:
        return None, _without_reference(error)
    return reference, None


def _without_reference(error: LabError) -> str:
    return f"The distance from full precision is left out: {error.what}"


def _predictions(
    loaded: LoadedModel, read: Passages, context: RunContext, reference: Reference | None
) -> tuple[list[tuple[Tensor, Tensor]], dict[str, Any] | None]:
    """Logits and targets of each passage, and how far they are from the reference's."""
    from core.measure.agreement import Agreement
    from core.quantization.measuring import Meter

    meter = Meter(loaded, visitor=context.visitor, cancelled=context.cancelled)
    found = [(logits.cpu(), targets.cpu()) for logits, targets in meter.predictions(read)]
    if reference is None:
        return found, None
    agreement = Agreement(reference)
    for logits, targets in found:
        agreement.add(logits, targets)
    return found, {
        "perplexity": agreement.perplexity,
        "full_perplexity": reference.perplexity,
        "kl": agreement.kl,
        "top1": agreement.top1,
    }


def _certificate(
    name: str, dtype: str, before: list[tuple[Tensor, Tensor]], after: list[tuple[Tensor, Tensor]]
) -> Certificate:
    import torch

    from core.measure.parity import Parity

    parity = Parity("perplexity", dtype)
    for (first, targets), (second, _) in zip(before, after, strict=True):
        parity.add(first[None], second[None], targets[None], torch.ones_like(targets[None], dtype=torch.bool))
    return parity.certificate(f"{SCHEMES[name].title}, read back from the files, against what was in memory")


def _files(folder: Path, size: int, loaded: LoadedModel) -> dict[str, Any]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "files": [{"name": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size} for path in files],
        "bytes": size,
        "full_bytes": scheme_bytes(loaded.facts, SchemeName.FLOAT32.value),
    }
