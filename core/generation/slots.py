"""The keys and values of many sequences in one growing block, and the forward pass of one token for each of them.

Sequences are aligned to the right: they all write at the same column, and one that is shorter begins further to the
right. With one sequence, or several of the same length, the pass needs no mask and works on the very numbers that
``generate()`` works on; otherwise a mask hides what lies left of a sequence's beginning.

Promises: sequences join and leave without changing a number of the others. Not here: models whose layers see only a
window, carry a recurrent state or attend with kernels that take no mask (``can_share`` says no to them).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from core.generation.llama_pass import LlamaPass, is_plain_llama
from core.generation.stages import ABSENT

_STEP = 64
"""The block grows by multiples of this many columns."""

_MASKED_ATTENTION = ("sdpa", "eager")


def can_share(model: Any) -> bool:
    """Whether several sequences of this model can go through one forward pass here."""
    config = model.config
    if config.is_encoder_decoder or config._attn_implementation not in _MASKED_ATTENTION:
        return False
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    layers = DynamicCache(config=config).layers
    return all(type(layer) is DynamicLayer for layer in layers)


@dataclass(frozen=True, slots=True, eq=False)
class Newcomer:
    """A sequence (1, T) that was read alone, its cache, and how many more tokens it may get."""

    ids: Tensor
    cache: DynamicCache
    room: int


class SlotCache(Cache):
    """A cache of transformers' kind in which row i of a batch is slot i. ``column`` is where the next token goes."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.rows = 0
        self.column = 0
        self.low = 0
        self.starts: list[int] = []
        self.ids = torch.empty(0)
        self._mask: Tensor | None = None
        self._blocks: list[tuple[Tensor, Tensor]] = []

    @property
    def capacity(self) -> tuple[int, int]:
        """(slots, columns) that the block has room for."""
        return (self.ids.shape[0], self.ids.shape[1]) if self._blocks else (0, 0)

    @property
    def token_bytes(self) -> int:
        """Bytes that one token of one sequence takes."""
        return sum(2 * keys.shape[1] * keys.shape[3] * keys.element_size() for keys, _ in self._blocks)

    def join(self, newcomers: Sequence[Newcomer]) -> None:
        """Take over sequences as the last slots."""
        if not self._blocks:
            self._found(newcomers[0].cache)
        if not self.rows:
            self.column = self.low = 0
        self._make_room(newcomers)
        for slot, newcomer in enumerate(newcomers, start=self.rows):
            begin = self.column - newcomer.ids.shape[1]
            for (keys, values), (new_keys, new_values) in zip(self._blocks, _contents(newcomer.cache), strict=True):
                keys[slot, :, begin : self.column] = new_keys[0]
                values[slot, :, begin : self.column] = new_values[0]
            self.ids[slot] = ABSENT
            self.ids[slot, begin : self.column] = newcomer.ids[0]
            self.starts.append(begin)
        self.rows = len(self.starts)
        self._arrange()

    def leave(self, slot: int) -> None:
        """Free a slot; the last sequence moves into it."""
        last = self.rows - 1
        if slot != last:
            for block in (*(part for pair in self._blocks for part in pair), self.ids):
                block[slot] = block[last]
            self.starts[slot] = self.starts[last]
        self.starts.pop()
        self.rows = last
        if self.rows:
            self._arrange()

    def feed(self, tokens: Tensor) -> None:
        """Write down the tokens (B,) that the next pass appends, and make room for them."""
        if self.column == self.capacity[1]:
            self._rebuild(self.capacity[0], self.column - self.low + _STEP, -self.low)
            self._arrange()
        self.ids[: self.rows, self.column] = tokens

    def so_far(self) -> Tensor:
        """(B, T): each sequence's ids, ABSENT left of its beginning."""
        return self.ids[: self.rows, self.low : self.column]

    def positions(self) -> Tensor:
        """(B, 1): the position of the token that the next pass appends."""
        return self.column - self._begin[: self.rows]

    def mask(self) -> Tensor | None:
        """(B, 1, 1, T + 1), 0 where a sequence has tokens and -inf elsewhere; None when all begin together."""
        return None if self._mask is None else self._mask[:, :, :, self.low : self.column + 1]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Called by each layer with its (B, heads, 1, size); returns everything up to the new token."""
        keys, values = self._blocks[layer_idx]
        rows, column, low = self.rows, self.column, self.low
        keys[:rows, :, column : column + 1] = key_states
        values[:rows, :, column : column + 1] = value_states
        return keys[:rows, :, low : column + 1], values[:rows, :, low : column + 1]

    def __len__(self) -> int:
        return len(self._blocks)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.column - self.low

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self.column - self.low + query_length, 0

    def _found(self, like: DynamicCache) -> None:
        """The first sequence says how many layers there are, and their shapes."""
        contents = _contents(like)
        self._blocks = [(keys[:0, :, :0], values[:0, :, :0]) for keys, values in contents]
        self.ids = torch.empty((0, 0), dtype=torch.long, device=contents[0][0].device)

    def _make_room(self, newcomers: Sequence[Newcomer]) -> None:
        slots, columns = self.capacity
        shift = max(0, max(newcomer.ids.shape[1] for newcomer in newcomers) - self.column)
        rows = self.rows + len(newcomers)
        wanted = self.column + shift + max(newcomer.room for newcomer in newcomers)
        if rows > slots or shift or wanted > columns:
            self._rebuild(slots if rows <= slots else max(rows, 2 * slots), max(columns, wanted), shift)

    def _rebuild(self, slots: int, columns: int, shift: int) -> None:
        """Move what is kept into new blocks, ``shift`` columns to the right."""
        columns = -(-columns // _STEP) * _STEP
        rows, old = self.rows, slice(self.low, self.column)
        new = slice(self.low + shift, self.column + shift)
        for index, (keys, values) in enumerate(self._blocks):
            pair = []
            for block in (keys, values):
                # zeros, not whatever was in memory: masked places still take part as 0 times their value
                moved = block.new_zeros((slots, block.shape[1], columns, block.shape[3]))
                if rows:
                    moved[:rows, :, new] = block[:rows, :, old]
                pair.append(moved)
            self._blocks[index] = (pair[0], pair[1])
        ids = self.ids.new_full((slots, columns), ABSENT)
        if rows:
            ids[:rows, new] = self.ids[:rows, old]
        self.ids = ids
        self.column += shift
        self.low += shift
        self.starts = [start + shift for start in self.starts]

    def _arrange(self) -> None:
        """Work out what depends on where the sequences begin."""
        self.low = min(self.starts)
        self._begin = torch.tensor(self.starts, device=self.ids.device)[:, None]
        if len(set(self.starts)) == 1:
            self._mask = None
            return
        absent = torch.arange(self.capacity[1], device=self.ids.device) < self._begin
        like = self._blocks[0][0]  # attention adds a mask of its own dtype as it is, and would convert any other
        self._mask = torch.zeros(absent.shape, dtype=like.dtype, device=like.device).masked_fill(absent, -math.inf)
        self._mask = self._mask[:, None, None, :]


class DecodePass:
    """Prompts into caches, and one token for each slot into the next logits. Call it in inference mode."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._device = model.device
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._llama = LlamaPass(model) if is_plain_llama(model) else None

    def prefill(self, ids: Tensor) -> tuple[DynamicCache, Tensor]:
        """The cache and the next logits (1, vocab) of a prompt (1, T)."""
        cache = DynamicCache(config=self._model.config)
        options = {"logits_to_keep": 1} if self._keeps_logits else {}
        out = self._model(input_ids=ids, past_key_values=cache, use_cache=True, **options)
        return cache, out.logits[:, -1].to(torch.float32, copy=True)

    def step(self, cache: SlotCache, tokens: Tensor) -> Tensor:
        """Append tokens (B,) to the slots; the next logits (B, vocab) float32."""
        cache.feed(tokens)
        if self._llama is not None:
            logits = self._llama(tokens, cache.positions(), cache.mask(), cache, cache.capacity[1])
        else:
            logits = self._any(cache, tokens)
        cache.column += 1
        return logits.float()

    def _any(self, cache: SlotCache, tokens: Tensor) -> Tensor:
        out = self._model(
            input_ids=tokens[:, None],
            past_key_values=cache,
            position_ids=cache.positions(),
            attention_mask=cache.mask(),
            use_cache=True,
        )
        logits: Tensor = out.logits[:, -1]
        return logits


def _contents(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values (1, heads, T, size) of each layer."""
    layers: list[Any] = cache.layers
    return [(layer.keys, layer.values) for layer in layers]
