"""From raw logits to the next token of each row, greedy rows and sampling rows side by side.

Promises: a sampling row draws from its own generator exactly what ``torch.multinomial`` of its softmax would draw from
it, whatever the other rows do; a greedy row takes the largest score, the first of equals, and draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.generation.parameters import SamplingParameters
from core.generation.stages import Stages


class Chooser:
    """Chooses for a fixed list of rows; make a new one when the list changes."""

    def __init__(
        self, rows: Sequence[SamplingParameters], generators: Sequence[torch.Generator], device: torch.device
    ) -> None:
        self._stages = Stages(rows, device)
        sampling = [i for i, row in enumerate(rows) if row.do_sample]
        self._generators = [generators[i] for i in sampling]
        self._sampling = torch.tensor(sampling, dtype=torch.long, device=device)
        self._all_sample = len(sampling) == len(rows)

    def __call__(self, raw: Tensor, ids: Tensor) -> Tensor:
        """Chosen ids (B,), from raw logits (B, vocab) and the ids so far (B, T)."""
        scores = self._stages(raw, ids)
        if not self._generators:
            return scores.argmax(-1)
        if self._all_sample:
            return self._draw(scores)
        return scores.argmax(-1).index_copy(0, self._sampling, self._draw(scores[self._sampling]))

    def _draw(self, scores: Tensor) -> Tensor:
        """The largest of probability / exponential noise is a draw from the distribution: how ``multinomial`` does it.

        Only the noise needs a call for each row, as it comes from that row's generator.
        """
        noise = torch.empty_like(scores)
        for row, generator in zip(noise.unbind(0), self._generators, strict=True):
            row.exponential_(1.0, generator=generator)
        return torch.div(scores.softmax(-1), noise, out=noise).argmax(-1)
