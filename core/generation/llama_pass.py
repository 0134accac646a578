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
    modules = list(model.modules())
    if any(module._forward_hooks or module._forward_pre_hooks for module in modules):
        return False
    return all(_is_the_librarys(module) for module in modules)


def _is_the_librarys(module: nn.Module) -> bool:
    """Whether a module computes what its class does: plain layers, and transformers' own."""
    if type(module) is nn.Linear:
        return type(module.weight) is nn.Parameter  # a quantized weight has products of its own
    plain = type(module) in (nn.Embedding, nn.SiLU, nn.ModuleList)
    return plain or type(module).__module__.startswith("transformers.")


class _Linear:
    """A linear layer whose transposed view is made once."""

    def __init__(self, linear: Any) -> None:
        self._transposed: Tensor = linear.weight.t()
        self._bias: Tensor | None = linear.bias

    def __call__(self, hidden: Tensor) -> Tensor:
        if self._bias is None:
            return torch.mm(hidden, self._transposed)
        return torch.addmm(self._bias, hidden, self._transposed)


class _Norm:
    def __init__(self, norm: Any) -> None:
        self._weight: Tensor = norm.weight
        self._epsilon: float = norm.variance_epsilon

    def __call__(self, hidden: Tensor) -> Tensor:
        wide = hidden.float()
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self._epsilon)
        return self._weight * scaled.to(hidden.dtype)


class _Layer:
    """One layer's parts, looked up once."""

    def __init__(self, layer: Any, index: int) -> None:
        self._attention, mlp = layer.self_attn, layer.mlp
        self._index = index
        projections = (self._attention.q_proj, self._attention.k_proj, self._attention.v_proj)
        self._query, self._key, self._value = map(_Linear, projections)
        self._output = _Linear(self._attention.o_proj)
        self._gate, self._up, self._down = map(_Linear, (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
        self._activation = mlp.act_fn
        self._norm_1, self._norm_2 = _Norm(layer.input_layernorm), _Norm(layer.post_attention_layernorm)

    def __call__(self, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: LayerCache) -> Tensor:
        hidden = hidden + self._attend(self._norm_1(hidden), cos, sin, mask, cache)
        inner = self._norm_2(hidden)
        return hidden + self._down(self._activation(self._gate(inner)) * self._up(inner))

    def _attend(self, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: LayerCache) -> Tensor:
        rows = hidden.shape[0]
        shape = (rows, -1, 1, self._attention.head_dim)
        query = _rotated(self._query(hidden).view(shape), cos, sin)
        key = _rotated(self._key(hidden).view(shape), cos, sin)
        keys, values = cache.update(key, self._value(hidden).view(shape), self._index)
        mixed, _ = sdpa_attention_forward(self._attention, query, keys, values, mask, scaling=self._attention.scaling)
        return self._output(mixed.reshape(rows, -1))


class LlamaPass:
    """Steps a model for which ``is_plain_llama`` holds; it looks up the weights once."""

    def __init__(self, model: Any) -> None:
        self._rotary_embedding = model.model.rotary_emb
        self._embedding: Tensor = model.model.embed_tokens.weight
        self._layers = [_Layer(layer, index) for index, layer in enumerate(model.model.layers)]
        self._norm, self._head = _Norm(model.model.norm), _Linear(model.lm_head)
        self._rotations: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, tokens: Tensor, positions: Tensor, mask: Tensor | None, cache: LayerCache, columns: int
    ) -> Tensor:
        """Logits (B, vocab) after ``tokens`` (B,) at ``positions`` (B, 1), all of which are below ``columns``."""
        hidden = F.embedding(tokens, self._embedding)
        cos, sin = self._rotary(hidden, positions, columns)
        for layer in self._layers:
            hidden = layer(hidden, cos, sin, mask, cache)
        return self._head(self._norm(hidden))

    def _rotary(self, hidden: Tensor, positions: Tensor, columns: int) -> tuple[Tensor, Tensor]:
        """(cos, sin), each (B, 1, 1, size), looked up among those of all positions there is room for."""
        if self._rotations is None or self._rotations[0].shape[0] < columns:
            every = torch.arange(columns, device=hidden.device)[None]
            cos, sin = self._rotary_embedding(hidden, position_ids=every)
            self._rotations = cos[0, :, None], sin[0, :, None]
        return self._rotations[0][positions], self._rotations[1][positions]


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """``heads`` (B, heads, 1, size), each pair (i, i + size / 2) turned by its angle."""
    first, second = heads.chunk(2, dim=-1)
    return (heads * cos) + (torch.cat((-second, first), dim=-1) * sin)
