"""What is told of each chosen token: its raw log-probability and rank, the distribution's entropy, the ten best.

Promises: readings are of the raw model, before any stage; worked out for all rows in a few operations and brought
to the host in one copy. Ties in rank favour the chosen token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TOP = 10
"""How many of the most probable tokens are told with each token."""
Finish = Literal["eos", "length", "stop"]


@dataclass(frozen=True, slots=True)
class TokenReading:
    """One produced token. ``logprob`` in nats, ``entropy`` in bits, ``rank`` from 1, ``top`` as (id, probability).

    ``finished`` is set on the last token only and says why it is the last.
    """

    index: int
    id: int
    logprob: float
    rank: int
    entropy: float
    top: tuple[tuple[int, float], ...]
    finished: Finish | None = None


def measure(raw: Tensor, chosen: Tensor) -> list[list[float]]:
    """Numbers for ``reading_of``, a list for each row: raw (B, vocab) float32 logits, chosen (B,) ids."""
    logprobs = raw.log_softmax(-1)
    top, ids = logprobs.topk(min(TOP, raw.shape[-1]))
    own = logprobs.gather(1, chosen[:, None])
    rank = (logprobs > own).sum(-1, keepdim=True) + 1
    # a token that cannot be has no share in the entropy: 0 times a large number, not 0 times infinity
    nats = -(logprobs.exp() * logprobs.clamp(min=-1.0e4)).sum(-1, keepdim=True)
    # float32 holds every id exactly up to 2**24
    rows: list[list[float]] = torch.cat([chosen[:, None], own, rank, nats, ids, top.exp()], dim=1).tolist()
    return rows


def reading_of(numbers: Sequence[float], index: int, finished: Finish | None = None) -> TokenReading:
    """The reading of one row of ``measure``."""
    top = (len(numbers) - 4) // 2
    return TokenReading(
        index=index,
        id=int(numbers[0]),
        logprob=numbers[1],
        rank=int(numbers[2]),
        entropy=numbers[3] / math.log(2),
        top=tuple(zip(map(int, numbers[4 : 4 + top]), numbers[4 + top :], strict=True)),
        finished=finished,
    )


def read_tokens(raw: Tensor, chosen: Sequence[int], *, first_index: int = 0) -> list[TokenReading]:
    """Readings of given tokens: row i of ``raw`` (k, vocab) are the logits that ``chosen[i]`` was drawn from."""
    ids = torch.tensor(list(chosen), dtype=torch.long, device=raw.device)
    return [reading_of(numbers, first_index + i) for i, numbers in enumerate(measure(raw.float(), ids))]
