"""Which examples meet in which batch, and how wide a batch of texts is."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from core.training.strategies.texts import pad


def epoch_batches(
    count: int, size: int, epoch: int, seed: int, *, replacement: bool = False, lengths: Sequence[int] | None = None
) -> list[torch.Tensor]:
    """The row numbers of one epoch's batches, ``count`` examples in all; the last batch may be smaller.

    Shuffled anew in each epoch, or drawn with ``replacement``. ``lengths`` groups rows of similar length: pools of
    eight batches are sorted by length, and then the batches are shuffled.
    """
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    if replacement:
        order = torch.randint(count, (count,), generator=generator)
    else:
        order = torch.randperm(count, generator=generator)
    if lengths is None:
        return list(order.split(size))
    long = torch.tensor(lengths)
    pools = [pool[long[pool].argsort(stable=True)] for pool in order.split(8 * size)]
    batches = [batch for pool in pools for batch in pool.split(size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class Examples:
    """Inputs with their labels: a float tensor (rows, features), or rows of token numbers of different lengths."""

    def __init__(self, inputs: torch.Tensor | list[list[int]], labels: torch.Tensor) -> None:
        self.inputs, self.labels = inputs, labels
        self.lengths = None if isinstance(inputs, torch.Tensor) else [len(row) for row in inputs]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: torch.Tensor, static: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows' inputs and labels; texts padded to the longest of the batch, or (``static``) of all."""
        if isinstance(self.inputs, torch.Tensor):
            return self.inputs[rows], self.labels[rows]
        width = max(self.lengths or [0]) if static else 0
        return pad([self.inputs[i] for i in rows.tolist()], width), self.labels[rows]

    def whole(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All rows as one batch."""
        return self.batch(torch.arange(len(self)))
