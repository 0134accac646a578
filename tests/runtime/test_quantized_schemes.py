"""Every scheme on real tiny models: which layers it changes, what its numbers are, and how many bytes it keeps."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from core.catalog.catalog import Located
from core.catalog.facts import facts_from_folder
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Dtype, Policy, place
from core.runtime.quantized import model_bytes, quantized_layers, quiet_libraries
from core.runtime.schemes import SCHEMES, Quantized, is_quantized, refusal, scheme_bytes
from tests.fakes_models import cpu, write_model
from tests.runtime.test_quantized import GPT2, IDS, LLAMA
from tests.training.tiny_models import Family, folder_of

NAMES: list[Any] = [name for name in SCHEMES if is_quantized(name)]
ERROR = {"int8": 0.03, "int8-weight-only": 0.03, "int8-dynamic": 0.05}
"""How far logits may be from full precision's, as a share; 4 bits: 0.4 on random weights."""


@pytest.fixture(params=[None, GPT2], ids=["llama", "gpt2"])
def located(request: pytest.FixtureRequest, tmp_path: Path) -> Located:
    """A small model of either family."""
    return write_random(tmp_path / "m", request.param)


def write_random(folder: Path, config: dict[str, Any] | None = None) -> Located:
    """A model with random weights, by default a Llama of sizes that the fast layout takes."""
    write_model(folder, config or {**LLAMA, "num_key_value_heads": 2})
    torch.manual_seed(11)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return Located("m", folder, facts_from_folder(folder), "local")


def load_as(
    located: Located, scheme: Quantized | None, dtype: Dtype = "float32", purpose: Any = "infer"
) -> LoadedModel:
    """The model under a scheme; skips those that it cannot have."""
    if scheme is not None and refusal(scheme, located.facts, cpu()):
        pytest.skip(f"{scheme} does not see these layers")
    placement = place(located.facts, (cpu(),), Policy(dtype=dtype, quantization=scheme))
    return load(located, placement, spec=ModelSpec("m", quantization=scheme, dtype=dtype, purpose=purpose))


def walked_bytes(model: Any) -> int:
    """Every tensor that can be reached from a module, found without any knowledge of the schemes, once each."""
    found: dict[int, int] = {}
    seen: set[int] = set()
    stack: list[Any] = [*model.parameters(), *model.buffers(), *(m.__dict__ for m in model.modules())]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if hasattr(item, "__tensor_flatten__"):
            stack += [getattr(item, name) for name in item.__tensor_flatten__()[0]]
        elif isinstance(item, torch.Tensor):
            found[item.data_ptr()] = item.numel() * item.element_size()
            stack += list(item.__dict__.values())
        elif isinstance(item, dict):
            stack += list(item.values())
        elif type(item).__module__.startswith("bitsandbytes") and not isinstance(item, torch.nn.Module):
            stack += list(vars(item).values())
    return sum(found.values())


def _buffers(model: Any) -> int:
    return sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())


@pytest.mark.parametrize("scheme", NAMES)
def test_bytes_and_numbers(located: Located, scheme: Quantized) -> None:
    """Bytes are those of the tensors and those predicted; logits stay near full precision's."""
    loaded = load_as(located, scheme)
    assert loaded.loading is None
    assert loaded.bytes == walked_bytes(loaded.model)
    assert loaded.bytes == scheme_bytes(located.facts, scheme, "float32") + _buffers(loaded.model)
    assert loaded.placement.weight_bytes == scheme_bytes(located.facts, scheme, "float32")
    assert type(loaded.model.get_output_embeddings()) is torch.nn.Linear
    full = AutoModelForCausalLM.from_pretrained(located.path).eval()
    with torch.no_grad():
        got, wanted = loaded.model(IDS).logits, full(IDS).logits
    assert 0 < (got - wanted).norm() / wanted.norm() < ERROR.get(scheme, 0.4)


@pytest.mark.parametrize("scheme", ["int8", "nf4-double", "int8-weight-only"])
def test_what_is_not_quantized_has_the_dtype_it_was_placed_in(tmp_path: Path, scheme: Quantized) -> None:
    located = write_random(tmp_path / "m")
    loaded = load_as(located, scheme, "bfloat16")
    assert loaded.model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert loaded.bytes == walked_bytes(loaded.model)
    assert loaded.bytes == scheme_bytes(located.facts, scheme, "bfloat16") + _buffers(loaded.model)


@pytest.mark.parametrize("scheme", ["int8", "nf4"])
def test_bytes_after_a_pass_are_still_those_of_the_tensors(tmp_path: Path, scheme: Quantized) -> None:
    model = load_as(write_random(tmp_path / "m"), scheme).model
    with torch.no_grad():
        model(IDS)
    assert model_bytes(model) == walked_bytes(model)


@pytest.mark.parametrize(("family", "scheme"), [("llama", "nf4"), ("gpt2", "fp4-double")])
def test_layers_that_do_not_go_into_the_fast_layout_work_too(family: Family, scheme: Quantized) -> None:
    """The width is 32, and half of that for keys: no whole block of 64 inputs, no 32 outputs."""
    folder = folder_of(family)
    loaded = load_as(Located(family, folder, facts_from_folder(folder), "local"), scheme)
    assert {layer.support_avx512bf16_for_cpu for layer in quantized_layers(loaded.model) if layer.in_features % 64} == {
        False
    }
    with torch.no_grad():
        assert loaded.model(torch.tensor([[4, 7, 9]])).logits.isfinite().all()


@pytest.mark.parametrize("scheme", [None, "nf4-double", "int8-dynamic"])
def test_a_load_to_be_measured_is_read(tmp_path: Path, scheme: Quantized | None) -> None:
    located = write_random(tmp_path / "m")
    loaded = load_as(located, scheme, purpose="measure")
    reading = loaded.loading
    assert reading is not None
    assert reading.seconds > 0
    assert reading.peak_bytes is not None
    assert reading.steady_bytes is not None
    assert reading.peak_bytes >= reading.steady_bytes
    assert not loaded.model.training


def _said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_a_load_adds_no_noise_to_the_log() -> None:
    """In a fresh process: what the libraries say at import, and transformers imports torchao in each load."""
    folder = folder_of("llama")
    code = f"""
from pathlib import Path
from core.catalog.catalog import Located
from core.catalog.facts import facts_from_folder
from core.runtime.loading import ModelSpec, load
from core.runtime.placement import Placement
import torch
path = Path({str(folder)!r})
located = Located("m", path, facts_from_folder(path), "local")
for scheme in ("int8", "int8-weight-only"):
    loaded = load(located, Placement("cpu", "bfloat16", 0, 0, 0, 0, 0, ""), spec=ModelSpec("m", quantization=scheme))
    loaded.model(torch.tensor([[4, 7, 9]]))
"""
    assert _said(code) == ""


@pytest.fixture
def levels() -> Iterator[None]:
    """Put back what a test changes."""
    loggers = [logging.getLogger(name) for name in ("torchao", "bitsandbytes.autograd._functions")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def test_errors_of_the_libraries_are_still_heard(levels: None, caplog: pytest.LogCaptureFixture) -> None:
    quiet_libraries()
    logging.getLogger("torchao.kernel").warning("a kernel for another processor")
    logging.getLogger("torchao.kernel").error("broken")
    assert [record.message for record in caplog.records] == ["broken"]


def test_a_turn_changes_nothing_but_the_name() -> None:
    assert replace(ModelSpec("m", purpose="measure"), turn=3) != ModelSpec("m", purpose="measure")
