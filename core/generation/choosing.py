"""From raw logits to the next token of each row, greedy rows and sampling rows side by side.

Promises: a sampling row draws from its own generator exactly what ``torch.multinomial`` of its softmax would draw from
it, whatever the other rows do; a greedy row takes the largest score, the first of equals, and draws nothing.

On a CPU, a row with top-k before the other cuts goes through its stages with a short list of its best tokens instead
of the whole vocabulary. That cuts the same tokens; a border of top-p that rounding decides is decided by the rounding
of shorter sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from core.generation.parameters import SamplingParameters, Stage
from core.generation.stages import Stages

_SHORT = (64, 128)
"""Lengths of short lists. A list has to be longer than the row's k, so that what ties with the k-th is seen."""
_BEFORE_TOP_K = ((Stage.PENALTIES, Stage.TEMPERATURE), (Stage.PENALTIES,))

Choice = Callable[[Tensor, Tensor], Tensor]
"""Maps raw logits (rows, vocab) and the ids so far (rows, T) to chosen ids (rows,)."""


class Chooser:
    """Chooses for a fixed list of rows; make a new one when the list changes."""

    def __init__(
        self, rows: Sequence[SamplingParameters], generators: Sequence[torch.Generator], device: torch.device
    ) -> None:
        kinds: dict[int | None, list[int]] = {}
        for index, row in enumerate(rows):
            kinds.setdefault(_list_length(row, device) if row.do_sample else None, []).append(index)
        self._choices: list[tuple[Tensor | None, Choice]] = []
        for length, indices in kinds.items():
            where = None if len(kinds) == 1 else torch.tensor(indices, device=device)
            some, own = [rows[i] for i in indices], [generators[i] for i in indices]
            self._choices.append((where, _choice(length, some, own, device)))

    def __call__(self, raw: Tensor, ids: Tensor) -> Tensor:
        """Chosen ids (B,), from raw logits (B, vocab) and the ids so far (B, T)."""
        chosen = torch.empty(raw.shape[0], dtype=torch.long, device=raw.device)
        for where, choice in self._choices:
            if where is None:
                return choice(raw, ids)
            chosen[where] = choice(raw[where], ids[where])
        return chosen


def _list_length(row: SamplingParameters, device: torch.device) -> int:
    """How long a short list a sampling row can do with; 0 when it needs the whole vocabulary."""
    if device.type != "cpu" or row.top_k == 0 or row.order[: row.order.index(Stage.TOP_K)] not in _BEFORE_TOP_K:
        return 0
    return next((length for length in _SHORT if length > row.top_k), 0)


def _choice(
    length: int | None, rows: list[SamplingParameters], generators: list[torch.Generator], device: torch.device
) -> Choice:
    if length is None:
        stages = Stages(rows, device)
        return lambda raw, ids: stages(raw, ids).argmax(-1)
    return _ShortDraw(length, rows, generators, device) if length else _Draw(rows, generators, device)


class _Draw:
    """Draws from the distribution over the whole vocabulary."""

    def __init__(self, rows: list[SamplingParameters], generators: list[torch.Generator], device: torch.device) -> None:
        self._stages = Stages(rows, device)
        self._generators = generators

    def __call__(self, raw: Tensor, ids: Tensor) -> Tensor:
        return _drawn(self._stages(raw, ids), _noise(raw, self._generators))


class _ShortDraw:
    """Draws from a list of the best tokens, which holds everything that top-k leaves."""

    def __init__(
        self, length: int, rows: list[SamplingParameters], generators: list[torch.Generator], device: torch.device
    ) -> None:
        self._length = length
        self._penalties = Stages(rows, device, [Stage.PENALTIES])
        self._cuts = Stages(rows, device, [stage for stage in Stage if stage is not Stage.PENALTIES])
        self._last = torch.tensor([row.top_k for row in rows])[:, None] - 1
        self._generators = generators

    def __call__(self, raw: Tensor, ids: Tensor) -> Tensor:
        scores = self._penalties(raw, ids)
        if scores.shape[-1] <= 2 * self._length:
            return _drawn(self._cuts(scores, ids), _noise(raw, self._generators))
        best, tokens = scores.topk(self._length)
        if bool((best[:, -1:] == best.gather(1, self._last)).any()):  # more tie with the k-th than the list holds
            return _drawn(self._cuts(scores, ids), _noise(raw, self._generators))
        places = _drawn(self._cuts(best, ids), _noise(raw, self._generators, tokens))
        return tokens.gather(1, places[:, None])[:, 0]


def _drawn(scores: Tensor, noise: Tensor) -> Tensor:
    """The largest of probability / exponential noise is a draw from the distribution: how ``multinomial`` does it."""
    return torch.div(scores.softmax(-1), noise, out=noise).argmax(-1)


def _noise(like: Tensor, generators: Sequence[torch.Generator], tokens: Tensor | None = None) -> Tensor:
    """What ``exponential_`` draws from each row's generator for the vocabulary: all of it, or what ``tokens`` get.

    A call for each row cannot be avoided, as each has a generator of its own.
    """
    if like.device.type != "cpu" or not _exponential_is_log_of_uniform():
        noise = torch.empty_like(like)
        for row, generator in zip(noise.unbind(0), generators, strict=True):
            row.exponential_(1.0, generator=generator)
        return noise if tokens is None else noise.gather(1, tokens)
    uniform = torch.empty(like.shape, dtype=torch.float64)
    for row, generator in zip(uniform.unbind(0), generators, strict=True):
        row.uniform_(generator=generator)
    if tokens is not None:
        uniform = uniform.gather(1, tokens)
    return torch.log1p(uniform.neg_()).neg_().float()


@cache
def _exponential_is_log_of_uniform() -> bool:
    """Whether on this CPU exponential noise is -log(1 - u) of uniform doubles from the same generator.

    torch works that out number by number; for all rows at once it takes a third of the time.
    """
    one, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    exponential = torch.empty(4099).exponential_(1.0, generator=one)
    uniform = torch.empty(4099, dtype=torch.float64).uniform_(generator=other)
    same = torch.equal(exponential, (-torch.log1p(-uniform)).float())
    return same and torch.equal(one.get_state(), other.get_state())
