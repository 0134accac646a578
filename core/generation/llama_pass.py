"""One decoding step of a plain Llama, without what the library works out anew at every call.

Promises: the operations of ``LlamaForCausalLM`` in their order, so that every number is the same to the last bit (the
tests compare). For a small model a third of the time of a pass goes into preparing keyword arguments and masks and
into calling modules; a step here is the arithmetic only. Not here: anything but the library's own class with its own
layers; a model that is wrapped, adapted, quantized or spread over devices goes through its own forward.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_FIXED_ROPE = ("default", "linear", "llama3")
"""Rotary embeddings that depend on a position only, not on the length of the sequence."""


class LayerCache(Protocol):
    """Takes a layer's new keys and values (B, heads, 1, size) and returns all of them up to now."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]: ...


def is_plain_llama(model: Any) -> bool:
    """Whether this module may step the model: a subclass or a wrapper may do something else in its forward."""
    if type(model) is not LlamaForCausalLM or hasattr(model, "hf_device_map"):
        return False
    rope: Any = model.config.rope_parameters
    if rope["rope_type"] not in _FIXED_ROPE or model.config._attn_implementation != "sdpa":
        return False
    own = (nn.Linear, nn.Embedding, nn.SiLU)
    inner = [module for module in model.model.modules() if not list(module.children())]
    return all(
        type(module) in own or type(module).__module__.startswith("transformers.") for module in inner
    ) and not any(module._forward_hooks or module._forward_pre_hooks for module in model.model.modules())


class _Layer:
    """One layer's weights, looked up once."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.attention = attention
        self.query, self.key, self.value = attention.q_proj, attention.k_proj, attention.v_proj
        self.output = attention.o_proj
        self.gate, self.up, self.down, self.activation = mlp.gate_proj, mlp.up_proj, mlp.down_proj, mlp.act_fn
        self.norm_1, self.norm_2 = layer.input_layernorm, layer.post_attention_layernorm


class LlamaPass:
    """Steps a model for which ``is_plain_llama`` holds."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers = [_Layer(layer) for layer in model.model.layers]
        self._rotations: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, tokens: Tensor, positions: Tensor, mask: Tensor | None, cache: LayerCache, columns: int
    ) -> Tensor:
        """Logits (B, 1, vocab) after ``tokens`` (B,) at ``positions`` (B, 1), all of which are below ``columns``."""
        body = self._model.model
        hidden = body.embed_tokens(tokens[:, None])
        cos, sin = self._rotary(hidden, positions, columns)
        for index, layer in enumerate(self._layers):
            hidden = hidden + _attend(layer, index, _norm(layer.norm_1, hidden), cos, sin, mask, cache)
            inner = _norm(layer.norm_2, hidden)
            gated = layer.activation(_linear(layer.gate, inner)) * _linear(layer.up, inner)
            hidden = hidden + _linear(layer.down, gated)
        logits: Tensor = self._model.lm_head(_norm(body.norm, hidden))
        return logits

    def _rotary(self, hidden: Tensor, positions: Tensor, columns: int) -> tuple[Tensor, Tensor]:
        """(cos, sin), each (B, 1, 1, size), looked up among those of all positions there is room for."""
        if self._rotations is None or self._rotations[0].shape[0] < columns:
            every = torch.arange(columns, device=hidden.device)[None]
            cos, sin = self._model.model.rotary_emb(hidden, position_ids=every)
            self._rotations = cos[0, :, None], sin[0, :, None]
        return self._rotations[0][positions], self._rotations[1][positions]


def _attend(
    layer: _Layer, index: int, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: LayerCache
) -> Tensor:
    shape = (hidden.shape[0], 1, -1, layer.attention.head_dim)
    query = _linear(layer.query, hidden).view(shape).transpose(1, 2)
    key = _linear(layer.key, hidden).view(shape).transpose(1, 2)
    value = _linear(layer.value, hidden).view(shape).transpose(1, 2)
    keys, values = cache.update(_rotated(key, cos, sin), value, index)
    mixed, _ = sdpa_attention_forward(
        layer.attention, _rotated(query, cos, sin), keys, values, mask, scaling=layer.attention.scaling
    )
    return _linear(layer.output, mixed.reshape(hidden.shape[0], 1, -1))


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = heads.chunk(2, dim=-1)
    return (heads * cos) + (torch.cat((-second, first), dim=-1) * sin)


def _norm(norm: Any, hidden: Tensor) -> Tensor:
    wide = hidden.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
    normed: Tensor = norm.weight * scaled.to(hidden.dtype)
    return normed


def _linear(linear: Any, hidden: Tensor) -> Tensor:
    return F.linear(hidden, linear.weight, linear.bias)
