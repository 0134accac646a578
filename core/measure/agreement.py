"""How far a changed model's predictions are from those of the model that it was made from, on the same text.

Promises: perplexity is over every scored token; KL divergence (nats, of the changed model's next-token distribution
from the reference's, a mean) and top-1 agreement are over the first positions whose reference predictions fit into
``most_bytes``; everything is computed in float32. Passages come in the same order from both models.

Source: Kullback and Leibler (1951); as a measure of quantization it is llama.cpp's ``--kl-divergence``. Runs no model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

KEPT_BYTES = 256_000_000
"""Memory for the reference's predictions on one text."""


@dataclass(slots=True)
class Reference:
    """The reference model on a text, passage by passage: its loss, and what is kept of its predictions."""

    most_bytes: int = KEPT_BYTES
    nats: float = 0.0
    tokens: int = 0
    kept: list[Tensor] = field(default_factory=list)
    _bytes: int = 0

    @torch.no_grad()
    def add(self, logits: Tensor, targets: Tensor) -> None:
        """The next passage: logits (T, vocabulary) and the tokens (T,) that came. At least one position is kept."""
        logs = logits.float().log_softmax(-1)
        self.nats += float(F.nll_loss(logs, targets, reduction="sum"))
        self.tokens += targets.numel()
        room = max(self.most_bytes - self._bytes, 0) // (4 * logs.shape[1])
        self.kept.append(logs[: max(room, 0 if self.kept else 1)].clone())
        self._bytes += 4 * self.kept[-1].numel()

    @property
    def positions(self) -> int:
        """Positions at which others are compared."""
        return sum(len(logs) for logs in self.kept)

    @property
    def perplexity(self) -> float | None:
        """Per token; None where it is too large for a number."""
        return _perplexity(self.nats, self.tokens)


@dataclass(slots=True)
class Agreement:
    """Another model on the same text, against ``reference``. Holds sums only."""

    reference: Reference
    nats: float = 0.0
    tokens: int = 0
    _passage: int = 0
    _divergence: float = 0.0
    _agreed: int = 0

    @torch.no_grad()
    def add(self, logits: Tensor, targets: Tensor) -> None:
        """The next passage, as the reference's."""
        before = self.reference.kept[self._passage].to(logits.device)
        self._passage += 1
        logs = logits.float().log_softmax(-1)
        self.nats += float(F.nll_loss(logs, targets, reduction="sum"))
        self.tokens += targets.numel()
        compared = logs[: len(before)]
        self._divergence += float((before.exp() * (before - compared)).sum())
        self._agreed += int((before.argmax(-1) == compared.argmax(-1)).sum())

    @property
    def perplexity(self) -> float | None:
        """Per token; None where it is too large for a number."""
        return _perplexity(self.nats, self.tokens)

    @property
    def kl(self) -> float:
        """Nats per position. Rounding can bring the sum of a model with itself below 0, which it is not."""
        return max(self._divergence / self.reference.positions, 0.0)

    @property
    def top1(self) -> float:
        """Share of the positions at which both find the same token the most probable."""
        return self._agreed / self.reference.positions


def _perplexity(nats: float, tokens: int) -> float | None:
    mean = nats / tokens
    return math.exp(mean) if mean < 700 else None
