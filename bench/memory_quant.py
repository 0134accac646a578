"""What each scheme is predicted to take, against fresh processes that load it: weights, then the peak of the loading.

Random models of over 300M parameters, two shapes, every scheme that runs on a CPU; the parts of the model that are not
quantized in float32, and once in bfloat16. The ratio is the worst deviation over the allowed one (2 % of the weights,
10 % of the peak above the imports), so 1 or less keeps both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.memory_plan import REPOSITORY, SHAPES, make

NAME = "memory_quant"
GOAL = 1.0
HIGHER_IS_BETTER = False

WEIGHTS_MAY, PEAK_MAY = 0.02, 0.10
TINY: dict[str, dict[str, Any]] = {
    "llama": {"vocab_size": 5000, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
              "num_attention_heads": 2},
    "gpt2": {"vocab_size": 5000, "n_embd": 64, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0},
}  # fmt: skip
"""Models whose loading brings in every import and touches hardly any memory."""
IN_BFLOAT16 = ("nf4", "int8-dynamic")
"""Schemes that are also measured with the rest of the model in bfloat16."""


def one(folder: Path, scheme: str, dtype: str) -> dict[str, int]:
    """Predict and measure in this process. A tiny model is loaded beforehand, so that no import is counted."""
    loaded(folder / "tiny", scheme, dtype)
    model = loaded(folder, scheme, dtype)
    return figures(model, scheme, dtype)


def loaded(folder: Path, scheme: str, dtype: str) -> Any:
    """The model as the lab loads it to measure it."""
    from core.catalog.catalog import Located
    from core.catalog.facts import facts_from_folder
    from core.runtime.loading import ModelSpec, load
    from core.runtime.placement import Placement
    from core.runtime.schemes import is_quantized

    located = Located(folder.name, folder, facts_from_folder(folder), "local")
    wish: Any = scheme if is_quantized(scheme) else None
    placed: Any = dtype
    spec = ModelSpec(folder.name, purpose="measure", quantization=wish)
    return load(located, Placement("cpu", placed, 0, 0, 0, 0, 0, ""), spec=spec)


def figures(model: Any, scheme: str, dtype: str) -> dict[str, int]:
    """Predicted and measured bytes of a model that has just been loaded."""
    from core.runtime.schemes import loading_peak, scheme_bytes

    assert model.loading is not None
    assert model.loading.peak_bytes is not None, "this system does not say how much memory was in use"
    return {
        "predicted_weights": scheme_bytes(model.facts, scheme, dtype),
        "weights": model.bytes,
        "predicted_peak": loading_peak(model.facts, scheme, dtype),
        "peak": model.loading.peak_bytes,
    }


def cases(shape: str, folder: Path) -> Iterator[tuple[str, str]]:
    """The schemes that a CPU can run for this shape, with the dtype of what is not quantized."""
    from core.catalog.facts import facts_from_folder
    from core.runtime.devices import Device
    from core.runtime.schemes import SCHEMES, is_quantized, refusal

    facts, cpu = facts_from_folder(folder), Device("cpu", "CPU", 0, 0, 1, True)
    for scheme in SCHEMES:
        if refusal(scheme, facts, cpu) is None:
            yield scheme, "float32" if is_quantized(scheme) else scheme
            if scheme in IN_BFLOAT16:
                yield scheme, "bfloat16"


def deviations(seen: dict[str, int]) -> Iterator[tuple[str, float]]:
    """Each deviation over the allowed one."""
    for what, may in (("weights", WEIGHTS_MAY), ("peak", PEAK_MAY)):
        yield what, abs(seen[f"predicted_{what}"] / seen[what] - 1) / may


def measure() -> float:
    """The worst deviation over the allowed one; prints each case, and the ratio that is furthest from 1."""
    found: list[tuple[float, str]] = []
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as name:
            run = [sys.executable, "-m", "bench.memory_quant", shape, name]
            subprocess.run([*run, "make", ""], cwd=REPOSITORY, check=True)
            for scheme, dtype in cases(shape, Path(name)):
                text = subprocess.run([*run, scheme, dtype], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout
                seen = json.loads(text.decode().splitlines()[-1])
                for what, deviation in deviations(seen):
                    predicted, measured = seen[f"predicted_{what}"], seen[what]
                    found.append((deviation, f"{shape} {scheme} {dtype} {what}: {predicted / measured:.4f}"))
                    print(
                        f"  {shape} {scheme} ({dtype}) {what}: predicted {predicted / 1e6:.1f} MB, "
                        f"measured {measured / 1e6:.1f} MB",
                        flush=True,
                    )
    worst, which = max(found)
    print(f"  furthest from 1: {which}")
    return worst


if __name__ == "__main__":
    _, given_shape, given_folder, given_scheme, given_dtype = sys.argv
    if given_scheme == "make":
        make(given_shape, Path(given_folder), SHAPES[given_shape])
        make(given_shape, Path(given_folder) / "tiny", TINY[given_shape])
    else:
        print(json.dumps(one(Path(given_folder), given_scheme, given_dtype)), flush=True)
