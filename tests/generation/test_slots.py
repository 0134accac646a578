"""The shared pass: the same numbers as the library's forward, whoever joins and leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.generation.llama_pass import is_plain_llama
from core.generation.slots import DecodePass, Newcomer, SlotCache
from tests.fakes_generation import gpt2, llama


def library_logits(model: Any, ids: list[int]) -> Tensor:
    """Logits after each of ``ids`` but the first, fed one at a time."""
    out = model(input_ids=torch.tensor([ids[:1]]), use_cache=True)
    rows = []
    for token in ids[1:]:
        out = model(input_ids=torch.tensor([[token]]), past_key_values=out.past_key_values, use_cache=True)
        rows.append(out.logits[0, -1].float())
    return torch.stack(rows)


def joined(model: Any, cache: SlotCache, prompts: list[list[int]], room: int = 2) -> DecodePass:
    decode = DecodePass(model)
    newcomers = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        newcomers.append(Newcomer(ids, decode.prefill(ids)[0], room))
    cache.join(newcomers)
    return decode


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4}])
@torch.inference_mode()
def test_a_llama_alone_has_the_librarys_numbers_to_the_last_bit(changes: dict[str, Any], dtype: torch.dtype) -> None:
    model = llama(**changes).to(dtype)
    assert is_plain_llama(model)
    ids = [3, 77, 140, 9, 12, 200]
    cache = SlotCache()
    decode = joined(model, cache, [ids[:1]])
    mine = torch.stack([decode.step(cache, torch.tensor([token]))[0] for token in ids[1:]])
    assert torch.equal(mine, library_logits(model, ids))


@pytest.mark.parametrize("make", [llama, gpt2])
@torch.inference_mode()
def test_sequences_of_all_lengths_come_and_go(make: Any) -> None:
    model, cache = make(), SlotCache()
    texts = [[5, 6, 7], [50, 51], [90, 91, 92, 93, 94, 95, 96]]
    decode = joined(model, cache, texts[:2])

    def step(tokens: list[int]) -> None:
        logits = decode.step(cache, torch.tensor(tokens))
        for row, token in enumerate(tokens):
            texts[row].append(token)
            expected = model(torch.tensor([texts[row]])).logits[0, -1]
            torch.testing.assert_close(logits[row], expected, rtol=1e-3, atol=1e-3)
        assert [row[row >= 0].tolist() for row in cache.so_far()] == texts[: len(tokens)]

    step([11, 12])
    longest = texts[2]
    cache.join([Newcomer(torch.tensor([longest]), decode.prefill(torch.tensor([longest]))[0], 3)])
    for token in range(20, 24):
        step([token, token + 1, token + 2])
    cache.leave(0)
    texts[0] = texts.pop()
    for token in range(70):  # beyond the room that was asked for: the block grows and closes up
        step([token % 30 + 100, token % 30 + 101])


@pytest.mark.parametrize("change", ["hook", "subclass", "layer", "rope"])
def test_anything_unusual_goes_through_the_models_own_forward(change: str) -> None:
    model: Any = llama(
        rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4} if change == "rope" else None
    )
    if change == "hook":
        model.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    if change == "subclass":
        model.__class__ = type("Own", (type(model),), {})
    if change == "layer":
        model.model.layers[0].mlp.up_proj = nn.Sequential(model.model.layers[0].mlp.up_proj, nn.Identity())
    assert not is_plain_llama(model)
