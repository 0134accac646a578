"""Plan memory: what a model takes in each use, against the sizes of devices, before any of its weights is loaded.

Promises: an estimate from shapes alone, said to be one; nothing is loaded, and of a model on the Hub no more than its
config and the headers of its weights travel. The numbers are placement's own (see ``footprints``); how exact they are
is measured by ``python -m bench memory_quant`` (weights) and ``python -m bench memory_plan`` (training).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from core.catalog.catalog import Catalog
from core.catalog.facts import ModelFacts
from core.catalog.sizes import bytes_text, count_text
from core.errors import BadInput, LabError
from core.events import Done, Event, Progress, Step
from core.events import Warning as Notice
from core.labs.quantization.choices import Use
from core.labs.quantization.footprints import Footprint, footprints, row, verdict
from core.labs.quantization.request import QuantizationRequest
from core.runtime.devices import Device, detect_devices
from core.runtime.placement import kv_cache_bytes
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext

GB = 10**9
SIZES = (8, 16, 24, 40, 80, 141)
"""Gigabytes of memory that graphics cards are sold with."""
CONTEXTS = tuple(2**power for power in range(7, 20))
_EXACT = (
    "An estimate from shapes. Against loaded models the bytes of weights are checked to 2% (python -m bench "
    "memory_quant) and the peak of training to 15% (python -m bench memory_plan)."
)


def plan(request: QuantizationRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one plan, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    yield Progress(done=0, note=f"Reading the shape of {request.model}")
    facts, exact = _facts(request.model, pool, context)
    about = _about(facts)
    yield Step(name="start", index=0, values={"mode": request.mode.value, "model": about})
    values, refused = memory_plan(request, facts, detect_devices(), pool.settings.memory_budget)
    for text in refused:
        yield Notice(text=text)
    context.check()
    shown = {"model": about, **values, "exact": exact}
    yield Step(name="plan", index=0, values=shown)
    yield Done(result=shown)


def memory_plan(
    request: QuantizationRequest, facts: ModelFacts, here: Sequence[Device] = (), budget: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Rows, devices, verdicts (rows x devices), KV cache and a sentence; then why some schemes are left out.

    ``here`` are this machine's devices, which give what is free on them, within ``budget``. Raises ``BadInput`` when
    no row is left.
    """
    sizes = [Device(f"cuda:{size}", f"{size} GB", size * GB, size * GB, None, True) for size in SIZES]
    context = min(request.context, facts.context)
    planned: list[tuple[Footprint, dict[str, Any]]] = []
    refused: list[str] = []
    for one in footprints(request, facts, context):
        try:
            planned.append((one, row(one, facts, sizes[-1])))
        except LabError as error:
            refused.append(error.what)
    if not planned:
        raise BadInput(f"Nothing can be planned for {facts.title}. {refused[0]}", "Choose other schemes or uses.")
    verdicts = [
        [
            *(verdict(one, facts, device) for device in sizes),
            *(verdict(one, facts, _free(device), budget) for device in here),
        ]
        for one, _ in planned
    ]
    rows = [shown for _, shown in planned]
    devices = [{"title": device.label, "bytes": device.total_bytes} for device in sizes]
    devices += [{"title": f"{device.label} (free here)", "bytes": device.free_bytes} for device in here]
    return {
        "rows": rows,
        "devices": devices,
        "verdicts": verdicts,
        "kv": _kv(facts, request.batch),
        "sentence": _sentence(request, facts, context, rows),
    }, list(dict.fromkeys(refused))


def _facts(name: str, pool: Pool, context: RunContext) -> tuple[ModelFacts, bool]:
    """The model's facts, and whether they come from its own files and not from a config alone."""
    tuned = pool.named(name, context.owner)
    if tuned is not None and not tuned.shares:
        return tuned.located().facts, True
    return Catalog(pool.settings).shape(name if tuned is None else tuned.base, context.secret)


def _free(device: Device) -> Device:
    """What of a device is free, as a device: shares are of that."""
    return replace(device, total_bytes=device.free_bytes)


def _about(facts: ModelFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "title": facts.title,
        "parameters": facts.parameters,
        "layers": facts.layers,
        "hidden": facts.hidden_size,
        "kv_heads": None if facts.kind == "encoder" else facts.kv_heads,
        "context": facts.context,
        "licence": facts.licence,
    }


def _kv(facts: ModelFacts, batch: int) -> dict[str, Any]:
    """The cache in bfloat16: of one token, and of the whole batch by context up to the model's own."""
    if facts.kind == "encoder":
        return {"per_token": 0, "by_context": []}
    contexts = sorted({*(length for length in CONTEXTS if length < facts.context), facts.context})
    return {
        "per_token": kv_cache_bytes(facts, "bfloat16", 1, 1),
        "by_context": [
            {"context": length, "bytes": kv_cache_bytes(facts, "bfloat16", length, batch)} for length in contexts
        ],
    }


def _sentence(request: QuantizationRequest, facts: ModelFacts, context: int, rows: Sequence[dict[str, Any]]) -> str:
    many = f"{request.batch} rows" if request.batch > 1 else "One row"
    cut = f" (the most it reads, of the {request.context:,} asked for)" if context < request.context else ""
    said = f"{many} of {context:,} tokens{cut}, {count_text(facts.parameters)} parameters: "
    inference = [one for one in rows if one["use"] == Use.INFERENCE]
    said += _span("inference takes", inference) if inference else ""
    training = [one for one in rows if one["use"] != Use.INFERENCE]
    joined = "; " if inference and training else ""
    said += joined + _span("training takes", training) if training else ""
    cache = "" if facts.kind != "encoder" else " It reads texts whole, so there is no KV cache."
    return f"{said}.{cache} {_EXACT}"


def _span(what: str, rows: Sequence[dict[str, Any]]) -> str:
    least, most = (choose(rows, key=lambda one: one["total"]) for choose in (min, max))
    if least is most:
        return f"{what} {bytes_text(least['total'])} ({_called(least)})"
    ends = [f"{bytes_text(one['total'])} ({_called(one)})" for one in (least, most)]
    return f"{what} from {' to '.join(ends)}"


def _called(one: dict[str, Any]) -> str:
    names = {Use.LORA.value: "LoRA", Use.QLORA.value: "QLoRA", Use.FULL.value: "full"}
    return str(names.get(one["use"], one["title"]))
