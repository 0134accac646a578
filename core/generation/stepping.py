"""One forward pass at a time over one sequence, or over k parallel hypotheses of equal length.

Promises: causal models and encoder-decoders behind one interface; the logits are the model's own, as float32; no
padding and no mask, so that the ids a search finds equal the library's. A ``State`` is changed in place by every
method that takes it (the cache is too large to copy): go on with the state that the method returns.

Not here: choosing tokens, ending, and lanes. Whoever steps on a shared device wraps a call in ``loaded.lane.call``.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from core.runtime.loading import LoadedModel
from core.runtime.threads import suitable_threads


@dataclass(slots=True, eq=False)
class State:
    """B hypotheses of ``length`` decoder tokens each, all of them in the cache.

    ``hidden`` is (B, length, H), the last layer's output at every position, when the prefill asked for it. An
    encoder-decoder's ``length`` counts decoder tokens, its start token included.
    """

    cache: Any  # transformers' caches are untyped
    length: int
    hidden: Tensor | None = None
    encoded: Tensor | None = None
    trail: Tensor | None = None
    """(B, n + 1, vocab): logits at the last n + 1 lengths, so that ``crop`` within a scored draft knows them."""

    @property
    def logits(self) -> Tensor:
        """(B, vocab) float32: the next token's. ValueError after a crop to a length whose logits were not kept."""
        if self.trail is None:
            raise ValueError("no logits are known at this length: advance or score first")
        return self.trail[:, -1]

    @property
    def rows(self) -> int:
        """How many hypotheses there are."""
        return 1 if self.trail is None else self.trail.shape[0]


class Stepper:
    """Steps ``loaded.model`` without gradients on the calling thread."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model: Any = loaded.model  # a transformers model; its forward is untyped
        self._parameters = loaded.facts.parameters
        self.device: torch.device = loaded.device
        self.encoder_decoder: bool = bool(self._model.config.is_encoder_decoder)
        self._keeps_logits = "logits_to_keep" in inspect.signature(self._model.forward).parameters

    @torch.no_grad()
    def prefill(self, ids: Tensor, *, hidden: bool = False) -> State:
        """Read ``ids`` (1, T), T at least 1. An encoder-decoder encodes them and reads its decoder start token."""
        ids = ids.to(self.device)
        if not self.encoder_decoder:
            state = State(self._new_cache(), 0)
            self._forward(state, ids, keep=1, hidden=hidden)
            return state
        config = self._model.config
        cache = EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
        encoded = self._model.get_encoder()(input_ids=ids).last_hidden_state
        state = State(cache, 0, encoded=encoded)
        self._forward(state, self.decoder_start(ids.shape[0]), keep=1, hidden=hidden)
        return state

    @torch.no_grad()
    def advance(self, state: State, tokens: Tensor) -> State:
        """Append one token to each hypothesis: ``tokens`` is (B, 1)."""
        self._forward(state, tokens.to(self.device), keep=1, hidden=state.hidden is not None)
        return state

    @torch.no_grad()
    def score(self, state: State, tokens: Tensor) -> Tensor:
        """Append ``tokens`` (B, k) and return the logits after each: (B, k, vocab) float32.

        The cache and ``state.length`` include all k afterwards; ``crop`` takes back those that do not hold.
        """
        before = None if state.trail is None else state.trail[:, -1:]
        self._forward(state, tokens.to(self.device), keep=tokens.shape[1], hidden=state.hidden is not None)
        scored = state.trail
        assert scored is not None
        if before is not None:
            state.trail = torch.cat([before, scored], dim=1)
        return scored

    def crop(self, state: State, length: int) -> State:
        """Forget all tokens after the first ``length``. ``logits`` stay known within what ``score`` added last."""
        removed = state.length - length
        if removed < 0 or length < 1:
            raise ValueError(f"cannot crop {state.length} tokens to {length}")
        state.cache.crop(-removed)
        state.length = length
        if removed:
            known = state.trail is not None and removed < state.trail.shape[1]
            state.trail = state.trail[:, :-removed] if known and state.trail is not None else None
            state.hidden = None if state.hidden is None else state.hidden[:, :length]
        return state

    @torch.no_grad()
    def select(self, state: State, rows: Tensor) -> State:
        """Make hypothesis i a copy of the former ``rows[i]``: reorders, repeats (1 to k) or drops hypotheses."""
        rows = rows.to(self.device)
        state.cache.batch_select_indices(rows)
        state.trail = None if state.trail is None else state.trail[rows]
        state.hidden = None if state.hidden is None else state.hidden[rows]
        state.encoded = None if state.encoded is None else state.encoded[rows]
        return state

    def decoder_start(self, rows: int = 1) -> Tensor:
        """(rows, 1): the token an encoder-decoder's output begins with."""
        settings = self._model.generation_config
        start = settings.decoder_start_token_id
        if start is None:
            start = self._model.config.decoder_start_token_id
        if start is None:
            start = settings.bos_token_id
        return torch.full((rows, 1), int(start), dtype=torch.long, device=self.device)

    def _new_cache(self) -> DynamicCache:
        """The cache ``generate()`` makes, but with whole layers for windows, which cannot be cropped twice."""
        cache = DynamicCache(config=self._model.config)
        if all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
            return DynamicCache()
        return cache

    def _forward(self, state: State, tokens: Tensor, *, keep: int, hidden: bool) -> None:
        """Run ``tokens`` (B, k) through the model; leaves the logits of the last ``keep`` positions in the trail."""
        options: dict[str, Any] = {"past_key_values": state.cache, "use_cache": True}
        if hidden:
            options["output_hidden_states"] = True
        if self.encoder_decoder:
            with suitable_threads(self.device.type, self._parameters * tokens.numel()):
                out = self._model(encoder_outputs=(state.encoded,), decoder_input_ids=tokens, **options)
            layers = out.decoder_hidden_states
        else:
            if self._keeps_logits:
                options["logits_to_keep"] = keep
            with suitable_threads(self.device.type, self._parameters * tokens.numel()):
                out = self._model(input_ids=tokens, **options)
            layers = out.hidden_states
        state.trail = out.logits[:, -keep:].to(torch.float32)
        state.length += tokens.shape[1]
        if hidden:
            old = [] if state.hidden is None else [state.hidden]
            state.hidden = torch.cat([*old, layers[-1]], dim=1)
