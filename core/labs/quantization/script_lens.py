"""The lens's and the sweep's part of the exported script: the weights are really replaced, one layer after the other.

Promises: the script holds the very functions that changed the weights, as source; the readings are taken by a plain
loop and equal the run's to rounding; whatever a visitor typed appears only as a Python literal. It expects ``model``
and ``tokenizer`` to be loaded, and ends with a JSON line for each layer, or for the one look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from core.catalog.facts import ModelFacts
from core.labs.quantization.choices import Method, Mode
from core.labs.quantization.layers import chosen_layer, linear_layers
from core.labs.quantization.lens import LOOKED_AT
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.script_text import passages_source, source_of, text_to_score

IMPORTS = (
    "import json",
    "import math",
    "from dataclasses import dataclass",
    "from pathlib import Path",
    "from typing import Any",
    "import torch",
    "from torch import Tensor",
    "from torch.nn import functional as F",
)
"""What these lines use, for the top of the script."""
READ = '''
def layer_of(name: str) -> Any:
    """The linear layer called ``name``; inside an adapter, the base's own."""
    found = [module for full, module in model.named_modules() if full == name or full.endswith("." + name)]
    return getattr(found[0], "base_layer", found[0])


def weight_of(layer: Any) -> Tensor:
    """Its weight as (out, in); GPT-2's Conv1D stores it the other way round."""
    weight = layer.weight.detach()
    return (weight.T if type(layer).__name__ == "Conv1D" else weight).float().cpu()


def change(layer: Any) -> dict[str, Any]:
    """Replace the layer's weight by what the method makes of it."""
    before = weight_of(layer)
    changed = method(before, 8 * layer.weight.element_size())
    signal, noise = float(before.double().square().sum()), float((before - changed.weight).double().square().sum())
    with torch.no_grad():  # only now: the weight before may be a view of the layer's own
        layer.weight.copy_(changed.weight.T if type(layer).__name__ == "Conv1D" else changed.weight)
    ratio = 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None
    return {"snr_db": ratio, "bits_per_weight": changed.bits}


@torch.inference_mode()
def read() -> list[tuple[Tensor, Tensor]]:
    """Log-probabilities (positions, vocabulary) and the tokens that came, for each passage."""
    found = []
    for passage in PASSAGES:
        ids = torch.tensor([passage], device=model.device)
        found.append((model(ids, use_cache=False).logits[0, :-1].float().log_softmax(-1), ids[0, 1:]))
    return found


def cost(readings: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Perplexity; over the first positions, KL divergence from the unchanged model and agreement of first choices."""
    nats, tokens, divergence, agreed, compared, left = 0.0, 0, 0.0, 0, 0, KEPT_BYTES
    for (logs, targets), (before, _) in zip(readings, REFERENCE):
        nats += float(F.nll_loss(logs, targets, reduction="sum"))
        tokens += targets.numel()
        few = max(left // (4 * logs.shape[1]), 0 if compared else 1)
        before, logs = before[:few], logs[:few]
        left -= 4 * before.numel()
        divergence += float((before.exp() * (before - logs)).sum())
        agreed += int((before.argmax(-1) == logs.argmax(-1)).sum())
        compared += len(before)
    kl, top1 = max(divergence / compared, 0.0), agreed / compared
    return {"perplexity": math.exp(nats / tokens) if nats / tokens < 700 else None, "kl": kl, "top1": top1}


PASSAGES = passages(tokenizer, TEXT, TOKENS, WINDOW)
REFERENCE = read()
print(json.dumps({"layer": None, **cost(REFERENCE)}))
'''
LOOK = """
notes = {name: change(layer_of(name)) for name in LAYERS}
print(json.dumps({"layer": LAYERS[0], **notes[LAYERS[0]], **cost(read())}))
"""
SWEEP = """
for name in LAYERS:
    layer = layer_of(name)
    kept = layer.weight.detach().clone()
    note = change(layer)
    print(json.dumps({"layer": name, **note, **cost(read())}))
    with torch.no_grad():
        layer.weight.copy_(kept)
for name in LAYERS:
    change(layer_of(name))
print(json.dumps({"layer": "all at once", **cost(read())}))
"""


def lines(request: QuantizationRequest, facts: ModelFacts) -> str:
    """The part of a lens's or a sweep's script that follows the loading. Raises ``BadInput`` for a layer not there."""
    from core.quantization.effects import KEPT_BYTES
    from core.quantization.weights import SCALE_BITS, Changed

    sweeps = request.mode is Mode.SWEEP
    names = [layer.name for layer in linear_layers(facts)]
    if not sweeps:
        first = chosen_layer(request.layer, facts).name
        names = [first, *(name for name in names if name != first and request.everywhere)]
    tokens = request.scored_tokens if sweeps else LOOKED_AT - 1
    made, call = _method(request)
    parts = [
        f"LAYERS = {_listed(names)}\nTOKENS, WINDOW = {tokens}, {min(LOOKED_AT, facts.context)}\n"
        f"KEPT_BYTES = {KEPT_BYTES}\nSCALE_BITS = {SCALE_BITS}\n"
        f"{_constants(request)}{text_to_score(request.text, tokens)}",
        *(source_of(one) for one in (Changed, *made)),
        f'def method(weight: Tensor, width: int) -> Changed:\n    """What is done to a weight."""\n    return {call}\n',
        passages_source(),
        READ,
        SWEEP if sweeps else LOOK,
    ]
    return "\n\n".join(part.strip("\n") + "\n" for part in parts)


def _method(request: QuantizationRequest) -> tuple[Sequence[Callable[..., Any]], str]:
    """The functions of a method in reading order, and its call on ``weight`` and ``width``."""
    from core.quantization import codebooks, pruning, uniform

    used: tuple[Callable[..., Any], ...]
    match request.method:
        case Method.UNIFORM:
            used = (uniform._without_zero, uniform._symmetric, uniform._asymmetric, uniform._ranges)
            how = f"symmetric={request.symmetric!r}, granularity={request.granularity.value!r}"
            call = f"quantize_uniform(weight, {request.bits}, {how}, group_size={request.group_size})"
            return (*used, uniform.quantize_uniform), call
        case Method.NF4:
            return (codebooks.quantize_nf4,), f"quantize_nf4(weight, {request.group_size})"
        case Method.KMEANS:
            used = (codebooks._means, codebooks._cuts, codebooks._from_histogram, codebooks.kmeans_levels)
            return (*used, codebooks.cluster_weights), f"cluster_weights(weight, {request.bits})"
        case Method.MAGNITUDE:
            used = (pruning._order, pruning._largest, pruning.prune_magnitude)
            return used, f"prune_magnitude(weight, {request.sparsity!r}, width=width)"
        case Method.STRUCTURED:
            used = (pruning._order, pruning._largest, pruning.prune_channels)
            return used, f"prune_channels(weight, {request.sparsity!r}, width=width)"
        case Method.N_M:
            used = (pruning._order, pruning.prune_n_of_m)
            return used, f"prune_n_of_m(weight, {request.n}, {request.m}, width=width)"


def _constants(request: QuantizationRequest) -> str:
    """The modules' own numbers that the method's functions name."""
    from core.quantization import codebooks, uniform

    if request.method is Method.UNIFORM:
        return f"Granularity, BITS = str, range({uniform.BITS.start}, {uniform.BITS.stop})\n"
    if request.method is Method.NF4:
        return f"NF4_LEVELS = {_listed(codebooks.NF4_LEVELS)}\n"
    if request.method is Method.KMEANS:
        numbers = ("CELLS", "CELLS_EACH", "_REACH", "_ITERATIONS", "_SETTLED")
        return "".join(f"{name} = {getattr(codebooks, name)!r}\n" for name in numbers)
    return ""


def _listed(values: Sequence[Any]) -> str:
    return "(\n" + "".join(f"    {value!r},\n" for value in values) + ")"
