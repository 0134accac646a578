"""The five models. Their weights are drawn from a generator of their own, so that a seed gives the same beginning.

Inputs are (batch, features) floats for the logistic regression, the network and the probe, and (batch, length) token
numbers with 0 for padding for the other two, whose output does not depend on the padding. Outputs are logits.
"""

from __future__ import annotations

import torch
from torch import nn


class Dropout(nn.Module):
    """Dropout with a generator of its own: neither other trainings nor the batch before it can change the draw."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__()
        self.share = share
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or self.share == 0:
            return values
        kept = torch.rand(values.shape, generator=self.generator) >= self.share
        return values * kept / (1 - self.share)


class Bag(nn.Module):
    """The mean of a text's embeddings, then a linear layer: it knows which words there are, not their order."""

    def __init__(self, vocabulary: int, size: int, classes: int, dropout: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.dropout = dropout
        self.head = nn.Linear(size, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        real = (tokens != 0).unsqueeze(-1).float()
        mean = (self.embedding(tokens) * real).sum(1) / real.sum(1).clamp(min=1)
        logits: torch.Tensor = self.head(self.dropout(mean))
        return logits


class Convolution(nn.Module):
    """Filters over two and three neighbouring tokens, each filter's maximum, then a linear layer (Kim, 2014)."""

    def __init__(self, vocabulary: int, size: int, classes: int, dropout: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.filters = nn.ModuleList([nn.Conv1d(size, size, width) for width in (2, 3)])
        self.dropout = dropout
        self.head = nn.Linear(2 * size, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        real = (tokens != 0).unsqueeze(-1).float()
        values = nn.functional.pad((self.embedding(tokens) * real).transpose(1, 2), (0, 2))
        length = tokens.shape[1]
        windows = [torch.relu(one(values))[..., :length] * real.transpose(1, 2) for one in self.filters]
        logits: torch.Tensor = self.head(self.dropout(torch.cat([window.amax(-1) for window in windows], dim=-1)))
        return logits


def build_model(
    kind: str, inputs: int, classes: int, *, hidden: int, layers: int, embedding: int, dropout: float, seed: int
) -> nn.Module:
    """A model with its first weights. ``inputs`` is the number of features, or of tokens in the vocabulary."""
    drop = Dropout(dropout, seed)
    model: nn.Module
    if kind == "mlp":
        parts: list[nn.Module] = []
        for layer in range(layers):
            parts += [nn.Linear(hidden if layer else inputs, hidden), nn.ReLU(), drop]
        model = nn.Sequential(*parts, nn.Linear(hidden, classes))
    elif kind == "bag":
        model = Bag(inputs, embedding, classes, drop)
    elif kind == "cnn":
        model = Convolution(inputs, embedding, classes, drop)
    else:  # logistic regression, also on an encoder's embeddings; dropout then hides inputs
        model = nn.Sequential(drop, nn.Linear(inputs, classes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            bound = (parameter[0].numel() or 1) ** -0.5 if parameter.dim() > 1 else 0.0
            parameter.uniform_(-bound, bound, generator=generator)
    return model
