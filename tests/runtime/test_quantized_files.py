"""Quantized models written and read back: the same numbers, before and after the fast layout has been used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.catalog.catalog import Located
from core.errors import BadInput
from core.runtime.quantized import quantized_layers, unpack
from core.runtime.quantized_files import load_saved, save_quantized
from core.runtime.schemes import Quantized
from tests.runtime.test_quantized import GPT2, IDS
from tests.runtime.test_quantized_schemes import NAMES, load_as, write_random

TRANSPOSED: list[Any] = ["int8", "nf4-double"]
"""What is tried on GPT-2 as well, whose layers are written the other way round."""


@pytest.fixture
def located(tmp_path: Path) -> Located:
    """A small Llama."""
    return write_random(tmp_path / "m")


def _logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(IDS).logits
    return logits


@pytest.mark.parametrize(
    ("config", "scheme"),
    [*((None, name) for name in NAMES), *((GPT2, name) for name in TRANSPOSED)],
    ids=[*(f"llama-{name}" for name in NAMES), *(f"gpt2-{name}" for name in TRANSPOSED)],
)
def test_what_is_read_back_computes_the_same(config: Any, scheme: Quantized, tmp_path: Path) -> None:
    loaded = load_as(write_random(tmp_path / "m", config), scheme)
    written = save_quantized(loaded, tmp_path / "saved")
    files = {path.name: path.stat() for path in (tmp_path / "saved").iterdir()}
    assert written == sum(stat.st_size for stat in files.values())
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= set(files)
    assert {stat.st_mode & 0o777 for stat in files.values()} == {0o644}
    again = load_saved(tmp_path / "saved", loaded)
    assert torch.equal(_logits(again.model), _logits(loaded.model))
    assert (again.spec, again.placement, again.facts) == (loaded.spec, loaded.placement, loaded.facts)
    assert again.bytes == loaded.bytes or scheme.endswith("-double")  # its tables are one for all when read back
    assert again.tokenizer.padding_side == "left"


@pytest.mark.parametrize("scheme", ["int8", "nf4", "fp4-double", "int8-dynamic"])
def test_after_a_pass_the_files_are_right_too(located: Located, scheme: Quantized, tmp_path: Path) -> None:
    loaded = load_as(located, scheme, "bfloat16")
    fresh = _logits(loaded.model)
    save_quantized(loaded, tmp_path / "saved")
    kept = _logits(loaded.model)
    again = load_saved(tmp_path / "saved", loaded)
    assert torch.equal(_logits(again.model), kept)
    rounding = 0.02 if scheme.endswith("-double") else 0
    assert (kept - fresh).abs().max() <= rounding * fresh.abs().max()


def test_transformers_alone_opens_what_was_saved(located: Located, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    loaded = load_as(located, "nf4-double")
    save_quantized(loaded, tmp_path / "saved")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", device_map={"": "cpu"}).eval()
    assert torch.allclose(_logits(plain), _logits(loaded.model), atol=1e-5)


@pytest.mark.parametrize("scheme", ["fp4", "nf4-double"])
def test_taking_the_fast_layout_back_brings_the_weights_back(located: Located, scheme: Quantized) -> None:
    """Against the numbers before the first pass, dequantized; scales come back rounded to bfloat16."""
    from bitsandbytes.functional import dequantize_4bit

    model = load_as(located, scheme).model

    def weights() -> list[torch.Tensor]:
        return [dequantize_4bit(layer.weight.data, layer.weight.quant_state) for layer in quantized_layers(model)]

    before = weights()
    _logits(model)
    unpack(model)
    for old, new in zip(before, weights(), strict=True):
        assert (new - old).norm() <= 0.01 * old.norm()


def test_a_plain_model_is_not_saved_as_quantized(located: Located, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not quantized"):
        save_quantized(load_as(located, None), tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
