"""Texts to learn from: cleaned, cut into tokens, numbered, and padded into batches.

The tokens are those of the encoder's own tokenizer; the numbers are this training set's own, so that a table of
embeddings stays small: 0 pads, 1 is a token that no training text holds. Each function stands on its own.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F


def read_texts(path: str | Path) -> tuple[list[str], list[str]]:
    """The texts and labels of a JSON-lines file with the columns ``text`` and ``label``."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row["text"] for row in rows], [str(row["label"]) for row in rows]


def clean(text: str) -> str:
    """One way of writing each character (NFKC), lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def vocabulary(rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """A number for every token that the rows hold, from 2 on."""
    return {token: number for number, token in enumerate(sorted({token for row in rows for token in row}), start=2)}


def numbered(row: Sequence[str], numbers: dict[str, int], longest: int = 48) -> list[int]:
    """A row's tokens as numbers; an unknown token is 1, what goes beyond ``longest`` is cut."""
    return [numbers.get(token, 1) for token in row[:longest]] or [1]


def pad(rows: Sequence[Sequence[int]], width: int = 0) -> torch.Tensor:
    """Rows of numbers as one (rows, longest) tensor, or wider, filled with 0 on the right."""
    width = max(width, max(len(row) for row in rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.long)


def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """An encoder's sentence embeddings: the mean over real tokens, to a length of sqrt(size), so that entries are
    of the size of 1 as the other models' inputs are."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    return F.normalize(mean.float(), dim=-1) * math.sqrt(hidden.shape[-1])


def embed(texts: Sequence[str], tokenizer: Any, encoder: Any) -> torch.Tensor:
    """(texts, size) sentence embeddings from a frozen encoder, padded on the right."""
    ids = [tokenizer(text, truncation=True, max_length=128)["input_ids"] for text in texts]
    lengths = torch.tensor([len(row) for row in ids])
    mask = (torch.arange(int(lengths.max())) < lengths.unsqueeze(1)).long()
    batch = torch.tensor([[*row, *[0] * (int(lengths.max()) - len(row))] for row in ids], device=encoder.device)
    with torch.no_grad():
        output = encoder(input_ids=batch, attention_mask=mask.to(encoder.device))
    vectors: torch.Tensor = pooled(output.last_hidden_state, mask.to(encoder.device)).cpu()
    return vectors
