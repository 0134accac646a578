"""Schemes side by side: each is loaded from the files, measured on the same text and prompt, and let go.

Promises
- What this device cannot do, or has no room for, is skipped before it loads, with the reason.
- The reference, full precision where it fits, comes first; everything is measured in this run, by the same code, one
  scheme in memory at a time. Predictions stand beside what was measured.
- A run that is stopped ends within a pass and sums up the schemes it has.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.catalog.facts import ModelFacts
from core.errors import BadInput, Busy, DoesNotFit, Stopped
from core.events import Artifact, Done, Event, Progress, Step
from core.labs.base import inert
from core.labs.quantization.choices import SchemeName
from core.labs.quantization.passages import passages, scored_text
from core.labs.quantization.request import QuantizationRequest
from core.runtime.devices import detect_devices
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.placement import Placement
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.runtime.schemes import SCHEMES, is_quantized, loading_peak, refusal, scheme_bytes

if TYPE_CHECKING:
    from core.measure.agreement import Reference
    from core.quantization.reasons import TokenTime

WINDOW = 512
"""Tokens of a passage that is scored."""
COLUMNS = (
    "scheme", "title", "dtype", "bytes", "bytes_predicted", "peak", "peak_predicted", "load_seconds",
    "prefill_tokens_per_second", "decode_tokens_per_second", "perplexity", "kl", "top1", "text",
)  # fmt: skip


@dataclass(slots=True)
class _Comparison:
    """What is known so far: the rows of the table, the reference on the text, and each scheme's time of a token."""

    request: QuantizationRequest
    context: RunContext
    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: ModelFacts | None = None
    read: tuple[tuple[int, ...], ...] = ()
    reference: Reference | None = None
    ids: tuple[int, ...] = ()
    times: dict[str, TokenTime] = field(default_factory=dict)


def scheme_spec(model: str, scheme: str) -> ModelSpec:
    """What to lease to measure a model under a scheme."""
    if is_quantized(scheme):
        return ModelSpec(model, quantization=scheme, purpose="measure")  # type: ignore[arg-type]  # a name of SCHEMES
    return ModelSpec(model, dtype=scheme, purpose="measure")  # type: ignore[arg-type]


def compare(request: QuantizationRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    yield Progress(done=0, note="Getting the model ready")
    reference = _reference(request, pool, context)
    names = [reference, *(name.value for name in request.schemes if name.value != reference)]
    found = _Comparison(request, context)
    try:
        for number, name in enumerate(names):
            yield Progress(done=number, total=len(names), unit="schemes", note=SCHEMES[name].title)
            yield from _scheme(name, found, pool)
            if found.rows:
                yield Step(name="front", index=number, values={"names": _front(found.rows)})
    except Stopped:
        if not context.cancelled():
            raise  # the app is closing
    yield Step(name="reading", index=0, values={"lines": _lines(found)})
    yield from _files(found, context)
    result = {"reference": reference, "schemes": [_plain(row) for row in found.rows], "front": _front(found.rows)}
    yield Done(reason="stopped" if context.cancelled() else "finished", result=result)


def _reference(request: QuantizationRequest, pool: Pool, context: RunContext) -> str:
    """Full precision, or half where that does not fit. Raises ``DoesNotFit`` with the plan as the reason."""
    try:
        _planned(SchemeName.FLOAT32.value, request, pool, context)
    except DoesNotFit:
        _planned(SchemeName.BFLOAT16.value, request, pool, context)
        return SchemeName.BFLOAT16.value
    return SchemeName.FLOAT32.value


def _planned(name: str, request: QuantizationRequest, pool: Pool, context: RunContext) -> Placement:
    return pool.plan(scheme_spec(request.model, name), token=context.secret, owner=context.owner)


def _scheme(name: str, found: _Comparison, pool: Pool) -> Iterator[Event]:
    """One scheme: ``Step("start")`` before the first, then ``Step("scheme")`` or ``Step("skipped")``."""
    request, context = found.request, found.context
    try:
        why = _refused(name, found, pool)
        if why is None:
            spec = scheme_spec(request.model, name)
            with pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner) as loaded:
                if not found.rows:
                    found.facts = loaded.facts
                    found.read, source = text_of(request, loaded, pool)
                    yield _start(found, loaded, source)
                row = _measured(name, loaded, found)
                found.rows.append(row)
                yield Step(name="scheme", index=len(found.rows) - 1, values=row)
            return
    except (DoesNotFit, Busy) as error:
        if not found.rows:
            raise  # there is no reference
        why = str(error)
    yield Step(name="skipped", index=0, values={"scheme": name, "title": SCHEMES[name].title, "why": why})


def _refused(name: str, found: _Comparison, pool: Pool) -> str | None:
    """Why a scheme is skipped; the reference never is. Raises ``DoesNotFit`` or ``Busy`` where there is no room."""
    if found.facts is None:
        return None
    wished = SchemeName.FLOAT32.value if name == SchemeName.FLOAT16.value else name  # its own refusal says more
    planned = _planned(wished, found.request, pool, found.context)
    device = next(device for device in detect_devices() if device.name == planned.device)
    return refusal(name, found.facts, device)


def needs_text(loaded: LoadedModel) -> None:
    """Raises ``BadInput`` for a model that has no perplexity."""
    if loaded.facts.kind != "causal" or loaded.spec.head is not None:
        raise BadInput(f"{loaded.facts.title} writes no text, so it has no perplexity.", "Choose a causal model.")


def text_of(request: QuantizationRequest, loaded: LoadedModel, pool: Pool) -> tuple[tuple[tuple[int, ...], ...], str]:
    """The passages to score, and where they are from. Raises ``BadInput``."""
    needs_text(loaded)
    text, source = scored_text(request.text, pool.settings)
    return passages(loaded.tokenizer, text, request.scored_tokens, min(WINDOW, loaded.facts.context)), source


def model_values(request: QuantizationRequest, loaded: LoadedModel) -> dict[str, Any]:
    """What ``Step("start")`` says of the model."""
    return {
        "name": request.model,
        "title": loaded.facts.title,
        "device": loaded.placement.device,
        "dtype": loaded.placement.dtype,
        "why": loaded.placement.why,
        "parameters": loaded.facts.parameters,
        "layers": loaded.facts.layers,
    }


def start_values(
    request: QuantizationRequest, loaded: LoadedModel, read: Sequence[Sequence[int]], source: str
) -> dict[str, Any]:
    """What ``Step("start")`` says of the model and the text."""
    return {
        "mode": request.mode.value,
        "model": model_values(request, loaded),
        "scored_tokens": sum(len(passage) - 1 for passage in read),
        "source": source,
    }


def _start(found: _Comparison, loaded: LoadedModel, source: str) -> Step:
    from core.generation.prompts import encode_prompt

    values = {
        **start_values(found.request, loaded, found.read, source),
        "schemes": [name.value for name in found.request.schemes],
        "prompt_tokens": len(encode_prompt(loaded, found.request.prompt)),
    }
    return Step(name="start", index=0, values=values)


def _measured(name: str, loaded: LoadedModel, found: _Comparison) -> dict[str, Any]:
    """A row of the table. The first one is the reference."""
    from core.generation.prompts import encode_prompt
    from core.measure.agreement import Agreement, Reference
    from core.quantization.measuring import Meter
    from core.quantization.reasons import token_time

    request, context = found.request, found.context
    meter = Meter(loaded, visitor=context.visitor, cancelled=context.cancelled)
    first = found.reference is None
    reference = found.reference or Reference()
    agreement = Agreement(reference)
    for logits, targets in meter.predictions(found.read):
        if first:
            reference.add(logits, targets)
        agreement.add(logits, targets)
    prompt = encode_prompt(loaded, request.prompt)[-(loaded.facts.context - request.new_tokens - 1) :]
    ids, text = _sampled(loaded, prompt, request, context)
    speed = meter.speed(prompt, request.repeats)
    time = token_time(meter.operations(prompt), speed.decode_seconds)
    found.reference, found.times[name] = reference, time
    found.ids = ids if first else found.ids
    reading = loaded.loading
    dtype = loaded.placement.dtype
    return {
        "scheme": name,
        "title": SCHEMES[name].title,
        "bits": SCHEMES[name].bits,
        "dtype": dtype,
        "bytes": {
            "measured": loaded.bytes,
            "predicted": scheme_bytes(loaded.facts, name, dtype),
            "constants": _constants(loaded),
        },
        "peak": {
            "measured": reading.peak_bytes if reading else None,
            "predicted": loading_peak(loaded.facts, name, dtype),
        },
        "steady": reading.steady_bytes if reading else None,
        "load_seconds": round(reading.seconds, 4) if reading else None,
        "prefill": {
            "seconds": round(speed.prefill_seconds, 6),
            "tokens_per_second": round(speed.prompt_tokens / speed.prefill_seconds, 2),
        },
        "decode": {"tokens_per_second": round(1 / speed.decode_seconds, 2)},
        "perplexity": agreement.perplexity,
        "kl": agreement.kl,
        "top1": agreement.top1,
        "text": text,
        "same_tokens": _shared(found.ids, ids),
        "tokens": len(ids),
        "parts": {**{f"{part}_seconds": took for part, took in time.parts.items()}, "kernel": time.kernel},
    }


def _constants(loaded: LoadedModel) -> int:
    from core.runtime.quantized import quantized_bytes

    return quantized_bytes(loaded.model)


def _sampled(
    loaded: LoadedModel, prompt: list[int], request: QuantizationRequest, context: RunContext
) -> tuple[tuple[int, ...], str]:
    """The tokens that follow the prompt, and their text. Raises ``Stopped``."""
    from core.generation.engine import generate
    from core.generation.parameters import SamplingParameters, StopConditions

    greedy = request.temperature == 0
    sampling = SamplingParameters(
        do_sample=not greedy, temperature=1.0 if greedy else request.temperature, seed=request.seed
    )
    stop = StopConditions(max_new_tokens=request.new_tokens)
    readings = generate(loaded, prompt, sampling, stop, visitor=context.visitor, cancelled=context.cancelled)
    ids = tuple(one.id for one in readings)
    context.check()
    return ids, loaded.tokenizer.decode(ids, skip_special_tokens=True)


def _shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens both begin with."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _front(rows: list[dict[str, Any]]) -> list[str]:
    from core.quantization.front import pareto_front

    return pareto_front(
        {row["scheme"]: (row["bytes"]["measured"], -row["decode"]["tokens_per_second"], row["kl"]) for row in rows}
    )


def _lines(found: _Comparison) -> list[dict[str, str]]:
    """A sentence for each scheme that is slower than the reference."""
    from core.quantization.reasons import why_slow

    if not found.rows:
        return []
    first = found.rows[0]
    lines = []
    for row in found.rows[1:]:
        text = why_slow(row["title"], found.times[row["scheme"]], first["title"], found.times[first["scheme"]])
        if text is not None:
            lines.append({"scheme": row["scheme"], "text": text})
    return lines


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the files and the API have it, one number a name."""
    return {
        "scheme": row["scheme"],
        "title": row["title"],
        "dtype": row["dtype"],
        "bytes": row["bytes"]["measured"],
        "bytes_predicted": row["bytes"]["predicted"],
        "peak": row["peak"]["measured"],
        "peak_predicted": row["peak"]["predicted"],
        "load_seconds": row["load_seconds"],
        "prefill_tokens_per_second": row["prefill"]["tokens_per_second"],
        "decode_tokens_per_second": row["decode"]["tokens_per_second"],
        "perplexity": row["perplexity"],
        "kl": row["kl"],
        "top1": row["top1"],
        "text": row["text"],
    }


def _files(found: _Comparison, context: RunContext) -> Iterator[Event]:
    """The table as CSV and JSON, where the run has a folder."""
    if context.folder is None or not found.rows:
        return
    rows = [_plain(row) for row in found.rows]
    table = context.folder / "schemes.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows([{**row, "text": inert(row["text"])} for row in rows])
    data = context.folder / "schemes.json"
    data.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in (table, data):
        yield _artifact(path)


def _artifact(path: Path) -> Artifact:
    return Artifact(name=path.name, path=path.name, bytes=path.stat().st_size)
