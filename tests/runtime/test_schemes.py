"""What a scheme takes, from facts alone: against bytes worked out by hand, and the reasons for which one is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import ceil

import pytest

from core.catalog.known import CONFIGS, known_facts
from core.errors import BadInput, DoesNotFit
from core.runtime.placement import Policy, place
from core.runtime.schemes import SCHEMES, is_quantized, loading_peak, packed_tensors, refusal, scheme_bytes
from tests.fakes_models import GB, cpu, cuda, mps

LLAMA = known_facts("meta-llama/Llama-3.2-1B")
GPT2 = known_facts("gpt2")
QUANTIZED = [name for name in SCHEMES if is_quantized(name)]


def _by_hand(scheme: str, layers: int, shapes: list[tuple[int, int]], rest: int, size: int) -> int:
    """``shapes`` (outputs, inputs) of one layer's linear modules; ``rest`` numbers of ``size`` bytes elsewhere."""
    total = rest * size
    for outputs, inputs in shapes:
        blocks = ceil(outputs * inputs / 64)
        total += (
            layers
            * {
                "int8": outputs * inputs + 4 * outputs,
                "nf4": outputs * inputs // 2 + 4 * blocks + 64,
                "fp4": outputs * inputs // 2 + 4 * blocks + 64,
                "nf4-double": outputs * inputs // 2 + blocks + 4 * ceil(blocks / 256) + 64 + 1024 + 4,
                "fp4-double": outputs * inputs // 2 + blocks + 4 * ceil(blocks / 256) + 64 + 1024 + 4,
                "int8-weight-only": outputs * inputs + 5 * outputs,
                "int8-dynamic": outputs * inputs + 5 * outputs,
            }[scheme]
        )
    return total


@pytest.mark.parametrize("scheme", QUANTIZED)
def test_a_llama_by_hand(scheme: str) -> None:
    """Llama 3.2 1B: 32 heads of 64, 8 of them for keys, an inner size of 8192, tied embeddings."""
    shapes = [(2048, 2048), (512, 2048), (512, 2048), (2048, 2048), (8192, 2048), (8192, 2048), (2048, 8192)]
    rest = 128256 * 2048 + 16 * 2 * 2048 + 2048
    assert LLAMA.parameters == rest + 16 * sum(outputs * inputs for outputs, inputs in shapes)
    assert scheme_bytes(LLAMA, scheme, "bfloat16") == _by_hand(scheme, 16, shapes, rest, 2)


@pytest.mark.parametrize("scheme", [name for name in QUANTIZED if SCHEMES[name].library == "bitsandbytes"])
def test_a_gpt2_by_hand(scheme: str) -> None:
    """Its matrices are stored transposed, and its biases are not quantized."""
    shapes = [(2304, 768), (768, 768), (3072, 768), (768, 3072)]
    biases = 2304 + 768 + 3072 + 768
    rest = 50257 * 768 + 1024 * 768 + 12 * (biases + 4 * 768) + 2 * 768
    assert GPT2.parameters == rest + 12 * sum(outputs * inputs for outputs, inputs in shapes)
    assert scheme_bytes(GPT2, scheme) == _by_hand(scheme, 12, shapes, rest, 4)


def test_a_dtype_stores_everything_in_it() -> None:
    assert scheme_bytes(LLAMA, "float32") == scheme_bytes(LLAMA, "float32", "bfloat16") == 4 * LLAMA.parameters
    assert scheme_bytes(LLAMA, "bfloat16") == scheme_bytes(LLAMA, "float16") == 2 * LLAMA.parameters


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_known_model_can_be_sized(name: str) -> None:
    facts = known_facts(name)
    sizes = [scheme_bytes(facts, scheme, "float32") for scheme in ("float32", "int8", "nf4", "nf4-double")]
    assert sizes == sorted(sizes, reverse=True)
    inside = {part: count for part, count in facts.parts if part in ("attention", "mlp")}
    biases = sum(t.count for t in facts.tensors if t.name.endswith("bias"))
    kept = sum(t.count for t in facts.tensors if t.name.endswith((".wo.weight", "relative_attention_bias.weight")))
    packed = sum(tensor.count for tensor in packed_tensors(facts))
    assert sum(inside.values()) - biases - kept <= packed <= sum(inside.values())


def test_bits_are_what_a_large_layer_takes() -> None:
    for scheme in QUANTIZED:
        numbers = sum(tensor.count for tensor in packed_tensors(LLAMA))
        rest = 4 * (LLAMA.parameters - numbers)
        assert 8 * (scheme_bytes(LLAMA, scheme) - rest) / numbers == pytest.approx(SCHEMES[scheme].bits, rel=0.005)


def test_the_peak_of_a_load_holds_the_files_beside_what_is_made_of_them() -> None:
    stored = LLAMA.weight_bytes
    assert stored == 2 * LLAMA.parameters
    assert loading_peak(LLAMA, "bfloat16", "bfloat16") == stored
    assert loading_peak(LLAMA, "float32", "float32") == stored + 4 * LLAMA.parameters
    assert loading_peak(LLAMA, "nf4", "bfloat16") == stored + scheme_bytes(LLAMA, "nf4", "bfloat16")
    largest = 2 * 8192 * 2048
    assert loading_peak(LLAMA, "nf4", "bfloat16", "cuda:0") == scheme_bytes(LLAMA, "nf4", "bfloat16") + largest
    assert loading_peak(LLAMA, "bfloat16", "bfloat16", "cuda:0") == stored


@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        ("float16", "many times slower"),
        ("int8-dynamic", "Conv1D"),
        ("int8-weight-only", "Conv1D"),
    ],
)
def test_what_a_cpu_cannot_do_for_gpt2_is_said(scheme: str, says: str) -> None:
    assert says in (refusal(scheme, GPT2, cpu()) or "")


def test_what_can_be_done_is_not_refused() -> None:
    assert [name for name in SCHEMES if refusal(name, LLAMA, cpu())] == ["float16"]
    assert [name for name in SCHEMES if refusal(name, LLAMA, cuda())] == []
    assert [name for name in SCHEMES if refusal(name, LLAMA, cuda(bf16=False))] == ["bfloat16"]
    assert [name for name in SCHEMES if refusal(name, LLAMA, mps())] == ["int8-dynamic"]


def test_models_that_cannot_be_quantized_are_refused() -> None:
    packed = replace(LLAMA, tensors=tuple(replace(t, dtype="U8") for t in LLAMA.tensors))
    assert "already" in (refusal("nf4", packed, cpu()) or "")
    bare = replace(LLAMA, tensors=tuple(t for t in LLAMA.tensors if "embed" in t.name))
    assert "no linear layers" in (refusal("nf4", bare, cpu()) or "")


def test_a_library_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refusal("nf4", LLAMA, cpu()) == "bitsandbytes is not installed here."
    assert refusal("int8-dynamic", LLAMA, cpu()) == "torchao is not installed here."
    assert refusal("bfloat16", LLAMA, cpu()) is None


def test_a_quantized_wish_is_placed_with_its_own_bytes() -> None:
    wish = Policy(quantization="nf4", dtype="float32", purpose="measure", context=128)
    placement = place(LLAMA, (cpu(),), wish)
    assert placement.weight_bytes == scheme_bytes(LLAMA, "nf4", "float32")
    assert (placement.device, placement.dtype, placement.gradient_bytes) == ("cpu", "float32", 0)
    small = cpu(free=1.2 * GB)
    with pytest.raises(DoesNotFit, match=r"needs .* GB to run in float32; the CPU has 1\.1 GB to give"):
        place(LLAMA, (small,), wish)


def test_a_wish_that_no_device_can_run_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(BadInput, match="Conv1D"):
        place(GPT2, (cuda(), cpu()), Policy(quantization="int8-dynamic"))
    assert place(LLAMA, (mps(), cpu()), Policy(quantization="int8-dynamic")).device == "cpu"


def test_nothing_heavy_is_imported() -> None:
    heavy = {"torch", "bitsandbytes", "torchao", "transformers"}
    code = f"import sys, core.runtime.schemes; print({heavy!r} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
