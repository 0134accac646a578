"""How well a causal model predicts text: nats per token, bits per byte, perplexity.

Bits per byte compares models with different tokenizers: the total negative log-likelihood of a text, its closing
token included, over the UTF-8 bytes of that text. Each document is scored on its own, from the start token on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

ForwardLogits = Callable[[Tensor], Tensor]
"""Maps token ids of shape (1, T) to logits of shape (1, T, vocabulary)."""


@dataclass(frozen=True, slots=True)
class LikelihoodReading:
    """Totals over a set of documents; ``nats`` is the summed negative log-likelihood."""

    nats: float
    tokens: int
    bytes: int
    documents: int

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes

    @property
    def perplexity(self) -> float:
        """Per token; comparable only between models that share a tokenizer."""
        return math.exp(self.nats_per_token)


@torch.inference_mode()
def likelihood(
    forward: ForwardLogits, encode: Callable[[str], Sequence[int]], texts: Sequence[str], *, context: int
) -> LikelihoodReading:
    """Score documents with windows of at most ``context`` tokens.

    ``encode`` returns start token, text tokens and end token; the start token is conditioned on and not scored. A
    document longer than the context is scored in windows that overlap by half, each token once, with at least half
    a window before it.
    """
    if context < 2:
        raise ValueError(f"a window of {context} tokens predicts nothing")
    nats, tokens, size = 0.0, 0, 0
    for text in texts:
        ids = torch.tensor([list(encode(text))])
        size += len(text.encode("utf-8"))
        for begin, first in _windows(ids.shape[1], context):
            window = ids[:, begin : begin + context]
            logits = forward(window)[0, :-1].float()
            losses = functional.cross_entropy(logits, window[0, 1:].to(logits.device), reduction="none")
            scored = losses[first:]
            nats += float(scored.sum())
            tokens += scored.numel()
    return LikelihoodReading(nats=nats, tokens=tokens, bytes=size, documents=len(texts))


def _windows(length: int, context: int) -> list[tuple[int, int]]:
    """(start of the window, index of the first loss to count) so that every token but the first is counted once."""
    spans, begin, counted = [], 0, 1
    while counted < length:
        spans.append((begin, counted - begin - 1))
        counted = min(begin + context, length)
        begin += context // 2
    return spans
