"""One layer under the lens, and the model layer by layer: what a method does to weights, and what that costs the model.

Promises: the borrowed model is never changed (``core.quantization.effects``); perplexity, KL and top-1 agreement are of
the whole model on one short text, before and after; a sweep says each layer as soon as it is read, and one that is
stopped ends within a passage and sums up what it has. Importing this loads no torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.catalog.sizes import bytes_text
from core.errors import Busy, DoesNotFit, Stopped
from core.events import Done, Event, Progress, Step
from core.events import Warning as Notice
from core.labs.quantization.comparing import needs_text, start_values
from core.labs.quantization.layers import Layer, chosen_layer, layers_of, linear_layers
from core.labs.quantization.methods import is_pruning, method_title
from core.labs.quantization.passages import passages, scored_text
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.sentences import effect_sentence, lens_sentence, sweep_sentence
from core.runtime.loading import ModelSpec
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext

if TYPE_CHECKING:
    from core.labs.quantization.lens_reading import LensReading, Made
    from core.measure.agreement import Agreement

__all__ = ["layers_of", "look", "sweep"]

LOOKED_AT = 512
"""Tokens of a pass at most, the start token counted. A look takes one, so that it is over as the slider moves."""


def look(request: QuantizationRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """One layer, before and after: from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    yield Progress(done=0, note="Getting the model ready")
    with _reading(request, pool, context, LOOKED_AT - 1) as reading:
        begun = time.perf_counter()
        layer = chosen_layer(request.layer, reading.loaded.facts)
        layers = linear_layers(reading.loaded.facts) if request.everywhere else (layer,)
        yield _start(request, reading, layers)
        with pool.room_for_copies(reading.loaded, reading.bytes_for(layers), "the changed weights"):
            made = reading.make(layer, described=True)
            changed = {made.name: made.stored}
            others = [other for other in layers if other != layer]
            for number, other in enumerate(others, start=2):
                again = reading.make(other)
                changed[again.name] = again.stored
                yield Progress(done=number, total=len(layers), unit="layers", note="Changing the weights")
            effect = reading.effect(changed)
        values = _looked(request, reading, layer, made, effect, len(layers))
        values["seconds"] = round(time.perf_counter() - begun, 3)
        yield Step(name="lens", index=0, values=values)
    shown = ("before", "after", "channels", "layers")
    yield Done(result={name: value for name, value in values.items() if name not in shown})


def sweep(request: QuantizationRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """Each layer changed alone, then all at once: from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    yield Progress(done=0, note="Getting the model ready")
    with _reading(request, pool, context, request.scored_tokens) as reading:
        layers = linear_layers(reading.loaded.facts)
        if not layers:
            chosen_layer("", reading.loaded.facts)  # says what is wrong
        yield _start(request, reading, layers)
        rows: list[dict[str, Any]] = []
        together: dict[str, Any] | None = None
        try:
            yield from _layer_by_layer(reading, layers, rows)
            together = yield from _together(reading, layers, pool)
        except Stopped:
            if not context.cancelled():
                raise  # the app is closing
        summary = _summary(rows, together)
        if rows:
            yield Step(name="summary", index=0, values=summary)
    yield Done(reason="stopped" if context.cancelled() else "finished", result={**summary, "layers": rows})


@contextmanager
def _reading(request: QuantizationRequest, pool: Pool, context: RunContext, tokens: int) -> Iterator[LensReading]:
    """The model, borrowed, and the text. Raises ``LabError``."""
    spec = ModelSpec(base=request.model)
    with pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner) as loaded:
        needs_text(loaded)
        from core.labs.quantization.lens_reading import LensReading

        text, source = scored_text(request.text, pool.settings)
        read = passages(loaded.tokenizer, text, tokens, min(LOOKED_AT, loaded.facts.context))
        yield LensReading(request, loaded, read, source, context)


def _start(request: QuantizationRequest, reading: LensReading, layers: Sequence[Layer]) -> Step:
    values = {
        **start_values(request, reading.loaded, reading.text, reading.source),
        "method": request.method.value,
        "method_title": method_title(request),
        "total": len(layers),
    }
    return Step(name="start", index=0, values=values)


def _looked(
    request: QuantizationRequest, reading: LensReading, layer: Layer, made: Made, effect: Agreement, places: int
) -> dict[str, Any]:
    """The values of ``Step("lens")``, without the time it took."""
    from core.quantization.errors import thinned

    errors, counts = made.errors, made.histogram
    assert errors is not None
    assert counts is not None
    before, after = reading.before, effect.perplexity
    title = method_title(request)
    distinct = None if is_pruning(request) else errors.distinct
    change = lens_sentence(title, errors.snr_db, places, distinct=distinct, zeros=errors.zeros)
    cost = effect_sentence(before, after, effect.top1, effect.reference.positions)
    channels, each = thinned([rounded(ratio, 3) for ratio in errors.channels])
    worst = None if errors.worst is None else errors.channels[errors.worst]
    return {
        "layer": layer.name,
        "part": layer.part,
        "depth": layer.depth,
        "shape": list(layer.shape),
        "parameters": layer.parameters,
        "method": request.method.value,
        "method_title": title,
        "places": places,
        "sentence": f"{change} {cost}",
        "before": {"edges": [float(f"{edge:.6g}") for edge in counts.edges], "counts": list(counts.before)},
        "after": {"counts": list(counts.after)},
        "distinct": errors.distinct,
        "zeros": round(errors.zeros, 6),
        "bits_per_weight": round(made.bits, 4),
        "mse": errors.mse,
        "snr_db": rounded(errors.snr_db, 3),
        "worst": {"channel": errors.worst, "snr_db": rounded(worst, 3)},
        "channels": channels,
        "channels_each": each,
        "perplexity": {"before": rounded(before, 5), "after": rounded(after, 5)},
        "kl": rounded(effect.kl, 8),
        "top1": round(effect.top1, 6),
        "scored_tokens": effect.tokens,
        "compared_positions": effect.reference.positions,
        "layers": layers_of(reading.loaded.facts),
    }


def _layer_by_layer(reading: LensReading, layers: Sequence[Layer], rows: list[dict[str, Any]]) -> Iterator[Event]:
    """Each layer changed alone; what is read goes into ``rows`` at once. Raises ``Stopped``."""
    begun = time.perf_counter()
    for index, layer in enumerate(layers):
        made = reading.make(layer)
        effect = reading.effect({made.name: made.stored})
        rows.append(
            {
                "layer": layer.name,
                "title": layer.title,
                "part": layer.part,
                "depth": layer.depth,
                "parameters": layer.parameters,
                "bits_per_weight": round(made.bits, 4),
                "snr_db": rounded(made.snr_db, 3),
                **_cost(effect, reading.before),
            }
        )
        yield Step(name="layer", index=index, values=rows[-1])
        done, left = index + 1, len(layers) - index - 1
        seconds = (time.perf_counter() - begun) / done * left
        yield Progress(done=done, total=len(layers), unit="layers", note=layer.name, seconds_left=round(seconds, 1))


def _together(
    reading: LensReading, layers: Sequence[Layer], pool: Pool
) -> Generator[Event, None, dict[str, Any] | None]:
    """All layers changed at once; None where a second copy of their weights finds no room. Raises ``Stopped``."""
    count = reading.bytes_for(layers)
    try:
        with pool.room_for_copies(reading.loaded, count, "a second copy of the weights"):
            yield Progress(done=len(layers), total=len(layers), unit="layers", note="All layers at once")
            made = [reading.make(layer) for layer in layers]
            effect = reading.effect({one.name: one.stored for one in made})
    except (DoesNotFit, Busy):
        yield Notice(text=f"All layers at once were left out: there is no room for the {bytes_text(count)} it takes.")
        return None
    return _cost(effect, reading.before)


def _cost(effect: Agreement, before: float) -> dict[str, Any]:
    after = effect.perplexity
    return {
        "perplexity": rounded(after, 5),
        "delta": None if after is None else rounded(after - before, 6),
        "kl": rounded(effect.kl, 8),
        "top1": round(effect.top1, 6),
    }


def _summary(rows: Sequence[dict[str, Any]], together: dict[str, Any] | None) -> dict[str, Any]:
    """The layers in the order of what they cost: KL is less noisy than perplexity, which can even fall.

    A layer whose change breaks the model has no KL, and comes first.
    """
    ordered = sorted(rows, key=lambda row: -math.inf if row["kl"] is None else -row["kl"])
    if not ordered:
        return {"order": [], "most": None, "least": None, "all_at_once": None, "sum_of_deltas": None}
    deltas = [row["delta"] for row in rows]
    total = None if None in deltas else rounded(sum(deltas), 6)
    return {
        "order": [row["layer"] for row in ordered],
        "most": ordered[0]["layer"],
        "least": ordered[-1]["layer"],
        "sentence": sweep_sentence(ordered, together, total),
        "all_at_once": together,
        "sum_of_deltas": total,
    }


def rounded(value: float | None, digits: int) -> float | None:
    """Rounded for the log; None where there is no finite number."""
    return round(value, digits) if value is not None and math.isfinite(value) else None
