"""Likelihood of texts: known distributions, and every token counted once whatever the window."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from core.measure.perplexity import LikelihoodReading, likelihood

VOCABULARY = 8
START, END = 0, 1


def _encode(text: str) -> list[int]:
    return [START, *(2 + ord(c) % 6 for c in text), END]


def _uniform(ids: Tensor) -> Tensor:
    return torch.zeros(*ids.shape, VOCABULARY)


def _bigram(ids: Tensor) -> Tensor:
    """Next-token logits that depend on the current token only, so no window can change a loss."""
    table = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(3))
    return table[ids]


def test_uniform_model() -> None:
    reading = likelihood(_uniform, _encode, ["abc", "é"], context=16)
    assert reading.tokens == 3 + 1 + 1 + 1  # the closing tokens count, the start tokens do not
    assert reading.bytes == 3 + 2
    assert reading.documents == 2
    assert reading.nats_per_token == pytest.approx(math.log(VOCABULARY), rel=1e-6)
    assert reading.perplexity == pytest.approx(VOCABULARY, rel=1e-6)
    assert reading.bits_per_byte == pytest.approx(6 * 3 / 5, rel=1e-6)


@pytest.mark.parametrize("context", [2, 4, 6, 7, 10, 50])
@pytest.mark.parametrize("length", [0, 1, 5, 17])
def test_each_token_counts_once_with_any_window(context: int, length: int) -> None:
    text = "the quick brown fox"[:length]
    whole = likelihood(_bigram, _encode, [text], context=1000)
    parts = likelihood(_bigram, _encode, [text], context=context)
    assert parts.tokens == whole.tokens == length + 1
    assert parts.nats == pytest.approx(whole.nats, rel=1e-5)


def test_by_hand() -> None:
    ids = _encode("ab")
    table = _bigram(torch.arange(VOCABULARY)[None])[0].log_softmax(-1)
    expected = -sum(float(table[a, b]) for a, b in pairwise(ids))
    assert likelihood(_bigram, _encode, ["ab"], context=8).nats == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("context", [4, 6, 7, 9])
def test_a_token_is_scored_with_half_a_window_before_it(context: int) -> None:
    """Predictions made early in a later window are wrong at a great price here; none of them may be counted."""
    windows: list[int] = []

    def forward(ids: Tensor) -> Tensor:
        windows.append(ids.shape[1])
        logits = _uniform(ids)
        if len(windows) > 1:
            logits[:, : context // 2 - 1, 7] = 1e6
        return logits

    reading = likelihood(forward, _encode, ["a" * 30], context=context)  # "a" is not token 7
    assert len(windows) > 3
    assert max(windows) <= context
    assert reading.nats_per_token == pytest.approx(math.log(VOCABULARY), rel=1e-6)


def test_reading_converts_units() -> None:
    reading = LikelihoodReading(nats=math.log(2) * 8, tokens=4, bytes=2, documents=1)
    assert reading.bits_per_byte == pytest.approx(4.0)
    assert reading.perplexity == pytest.approx(4.0)
