"""4-bit models stay exact under training: after an evaluation, gradients and merges equal the dequantized model's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from core.catalog.catalog import Located
from core.catalog.facts import facts_from_folder
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Policy, place
from core.runtime.quantized import keep_plain, quantized_bytes, quantized_layers
from tests.fakes_models import TINY_LLAMA, cpu, write_model

LLAMA: dict[str, Any] = {**TINY_LLAMA, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
GPT2: dict[str, Any] = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 64, "n_embd": 64, "n_layer": 2,
    "n_head": 2, "n_positions": 32, "dtype": "float32", "embd_pdrop": 0, "attn_pdrop": 0, "resid_pdrop": 0,
}  # fmt: skip
IDS = torch.tensor([[5, 9, 23, 7, 41, 2], [8, 30, 3, 17, 60, 11]])


@pytest.fixture(params=[LLAMA, GPT2], ids=["llama", "gpt2"])
def located(request: pytest.FixtureRequest, tmp_path: Path) -> Located:
    """A small model with random weights."""
    folder = write_model(tmp_path / "m", request.param)
    torch.manual_seed(11)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return Located("m", folder, facts_from_folder(folder), "local")


def _nf4(located: Located, **wishes: Any) -> LoadedModel:
    spec = ModelSpec("m", quantization="nf4", **wishes)
    return load(located, place(located.facts, (cpu(),), Policy(purpose=spec.purpose)), spec=spec)


def _dequantized(located: Located, model: Any) -> Any:
    """The full-precision model with the very numbers that the 4-bit layers stand for."""
    import bitsandbytes

    plain = load(located, place(located.facts, (cpu(),), Policy())).model
    transposed = type(plain).__name__ == "GPT2LMHeadModel"
    for name, layer in model.named_modules():
        if type(layer).__name__ == "Linear4bit":
            weight = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            plain.get_submodule(name).weight.data.copy_(weight.T if transposed else weight)
    return plain


def _adapted(model: Any) -> PeftModel:
    """LoRA on every linear layer, the same random numbers each time, both matrices away from zero."""
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(5)
    for name, parameter in sorted(adapted.named_parameters()):
        if "lora_" in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    return adapted


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_linear_layers_are_quantized_and_heads_are_not(located: Located) -> None:
    loaded = _nf4(located)
    layers = list(quantized_layers(loaded.model))
    assert len(layers) == 2 * (7 if located.facts.architecture.startswith("Llama") else 4)
    assert type(loaded.model.get_output_embeddings()) is torch.nn.Linear
    numbers = sum(layer.in_features * layer.out_features for layer in layers)
    assert sum(layer.weight.numel() for layer in layers) == numbers / 2
    assert quantized_bytes(loaded.model) == pytest.approx(numbers / 64 * 4, abs=64 * 4 * len(layers))
    assert loaded.bytes < 4 * located.facts.parameters


@pytest.mark.parametrize("head", ["classification", "tokens"])
def test_a_new_head_on_a_4_bit_model_is_not_quantized(located: Located, head: Any) -> None:
    loaded = _nf4(located, head=head, labels=("a", "b"), purpose="train")
    read_out = getattr(loaded.model, "score", None) or loaded.model.classifier
    assert type(read_out) is torch.nn.Linear
    assert read_out.weight.abs().sum() > 0


def test_gradients_after_an_evaluation_are_right(located: Located) -> None:
    model = _nf4(located, purpose="train").model
    reference = _dequantized(located, model)
    tuned, expected = _adapted(model), _adapted(reference)
    with torch.no_grad():
        seen = tuned.eval()(input_ids=IDS).logits
        assert torch.allclose(seen, expected.eval()(input_ids=IDS).logits, atol=1e-4)
    assert not any(
        getattr(layer.weight.quant_state, "packing_format_for_cpu", False) for layer in quantized_layers(model)
    )
    got, wanted = _gradients(tuned), _gradients(expected)
    assert got.keys() == wanted.keys()
    assert got
    for name, gradient in got.items():
        assert (gradient - wanted[name]).norm() <= 1e-4 * wanted[name].norm(), name


def test_a_merge_after_an_evaluation_is_right(located: Located) -> None:
    """Merged into the 4-bit base, so that its rounding is what remains: far less than garbage would differ."""
    model = _nf4(located, purpose="train").model
    reference = _dequantized(located, model)
    tuned, expected = _adapted(model), _adapted(reference)
    with torch.no_grad():
        tuned.eval()(input_ids=IDS)
        merged, plain = tuned.merge_and_unload(), expected.merge_and_unload()
    again = _dequantized(located, merged)
    for name, weight in again.named_parameters():
        assert (weight - plain.get_parameter(name)).norm() <= 0.15 * plain.get_parameter(name).norm() + 1e-6, name


def test_for_decoding_the_fast_layout_stays_allowed(located: Located) -> None:
    from bitsandbytes.nn.modules import has_avx512bf16

    for_decoding, for_training = _nf4(located).model, _nf4(located, purpose="train").model
    fits = [layer for layer in quantized_layers(for_decoding) if layer.out_features % 32 == 0]
    assert {layer.support_avx512bf16_for_cpu for layer in fits} == {has_avx512bf16()}
    assert {layer.support_avx512bf16_for_cpu for layer in quantized_layers(for_training)} == {False}


def test_what_is_repacked_already_is_not_taken_for_plain(located: Located) -> None:
    model = _nf4(located).model
    for layer in quantized_layers(model):
        layer.weight.quant_state = copy.copy(layer.weight.quant_state)
        layer.weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(RuntimeError, match="repacked"):
        keep_plain(model)


def test_models_without_4_bit_layers_are_left_alone(located: Located) -> None:
    model = load(located, place(located.facts, (cpu(),), Policy())).model
    keep_plain(model)
    assert quantized_bytes(model) == 0
