"""A borrowed model and a text, ready to be read with some of its weights changed.

Promises: weights are changed in the model's lane, a layer per slice, and passes run there too; the model stays as it
is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from core.errors import BadModel
from core.labs.quantization.layers import Layer
from core.labs.quantization.methods import apply_method
from core.labs.quantization.request import QuantizationRequest
from core.measure.agreement import Agreement
from core.quantization.effects import Passages, Probe
from core.quantization.errors import Histogram, WeightErrors, decibels, histogram, weight_errors
from core.quantization.weights import as_stored, layer_module, weight_of
from core.runtime.loading import LoadedModel
from core.runtime.run_context import RunContext

_WORKING_BYTES = 40
"""Bytes for each weight of a layer while it is changed and compared: copies in double precision, sorted places."""


@dataclass(frozen=True, slots=True)
class Made:
    """A layer's changed weight as the model stores it, by its parameter's full name.

    ``bits`` are bits per weight with constants; errors and the histogram are there where they were asked for.
    """

    name: str
    stored: Tensor
    bits: float
    snr_db: float | None
    errors: WeightErrors | None = None
    histogram: Histogram | None = None


class LensReading:
    """What both modes read: layers changed by the request's method, and the model's predictions on one text."""

    def __init__(
        self, request: QuantizationRequest, loaded: LoadedModel, text: Passages, source: str, context: RunContext
    ) -> None:
        self.loaded, self.text, self.source = loaded, text, source
        self._request = request
        self._probe = Probe(loaded, text, visitor=context.visitor, cancelled=context.cancelled)

    def bytes_for(self, layers: Sequence[Layer]) -> int:
        """Memory that changing these layers takes beside the model."""
        largest = max(layer.parameters for layer in layers)
        width = self._probe_width(layers[0])
        return sum(layer.parameters for layer in layers) * width + largest * _WORKING_BYTES

    def make(self, layer: Layer, *, described: bool = False) -> Made:
        """The layer's weight changed by the request's method. Raises ``Stopped``, ``BadInput``."""
        made: Made = self._probe.in_lane(partial(self._made, layer, described))
        return made

    @property
    def before(self) -> float:
        """Perplexity of the unchanged model. Raises ``Stopped``, ``BadModel``."""
        found = self._probe.reference().perplexity
        if found is None:
            raise BadModel(f"{self.loaded.facts.title} finds this text impossible.", "Choose another model or text.")
        return found

    def effect(self, changed: Mapping[str, Tensor]) -> Agreement:
        """The model with these parameters changed. Raises ``Stopped``."""
        return self._probe.effect(changed)

    def _probe_width(self, layer: Layer) -> int:
        return int(layer_module(self.loaded.model, layer.name)[1].weight.element_size())

    def _made(self, layer: Layer, described: bool) -> Made:
        full, module = layer_module(self.loaded.model, layer.name)
        before = weight_of(module)
        changed = apply_method(self._request, before, 8 * module.weight.element_size())
        stored = as_stored(changed.weight, module)
        after = changed.weight
        noise, signal = float((before - after).double().square().sum()), float(before.double().square().sum())
        return Made(
            f"{full}.weight",
            stored,
            changed.bits,
            decibels(signal, noise),
            weight_errors(before, after) if described else None,
            histogram(before, after) if described else None,
        )
