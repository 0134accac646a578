"""Which method a request asks for, in words, and its application to a layer's weight.

Promises: the words name every number that counts. torch is imported when a method is first applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import BadInput
from core.labs.quantization.choices import Granularity, Method
from core.labs.quantization.request import QuantizationRequest

if TYPE_CHECKING:
    from torch import Tensor

    from core.quantization.weights import Changed


def is_pruning(request: QuantizationRequest) -> bool:
    """Whether the method sets weights to zero and keeps the others."""
    return request.method in (Method.MAGNITUDE, Method.STRUCTURED, Method.N_M)


def method_title(request: QuantizationRequest) -> str:
    """The method and its numbers in a few words, for titles."""
    match request.method:
        case Method.UNIFORM:
            kind = "symmetric" if request.symmetric else "asymmetric"
            return f"Uniform, {request.bits} bits, {kind}, {_ranges(request)}"
        case Method.NF4:
            return f"NF4, blocks of {request.group_size}"
        case Method.KMEANS:
            return f"k-means, {2**request.bits} shared values"
        case Method.MAGNITUDE:
            return f"The smallest {request.sparsity:.0%} of the weights set to zero"
        case Method.STRUCTURED:
            return f"The {request.sparsity:.0%} of the output channels with the smallest norm set to zero"
        case Method.N_M:
            return f"{request.n} of every {request.m} weights kept"


def _ranges(request: QuantizationRequest) -> str:
    ranges = {Granularity.TENSOR: "one scale", Granularity.CHANNEL: "a scale per output channel"}
    return ranges.get(request.granularity, f"a scale for each {request.group_size} inputs")


def apply_method(request: QuantizationRequest, weight: Tensor, width: int) -> Changed:
    """What the request's method makes of ``weight`` (out, in), whose numbers the model keeps in ``width`` bits.

    Raises ``BadInput`` for weights that are not finite.
    """
    from core.quantization.codebooks import cluster_weights, quantize_nf4
    from core.quantization.pruning import prune_channels, prune_magnitude, prune_n_of_m
    from core.quantization.uniform import quantize_uniform

    if not bool(weight.isfinite().all()):
        raise BadInput("This layer holds weights that are not finite.", "Choose another layer or model.")
    match request.method:
        case Method.UNIFORM:
            return quantize_uniform(
                weight,
                request.bits,
                symmetric=request.symmetric,
                granularity=request.granularity.value,
                group_size=request.group_size,
            )
        case Method.NF4:
            return quantize_nf4(weight, request.group_size)
        case Method.KMEANS:
            return cluster_weights(weight, request.bits)
        case Method.MAGNITUDE:
            return prune_magnitude(weight, request.sparsity, width=width)
        case Method.STRUCTURED:
            return prune_channels(weight, request.sparsity, width=width)
        case Method.N_M:
            return prune_n_of_m(weight, request.n, request.m, width=width)
