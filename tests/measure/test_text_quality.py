"""Figures of a text against values worked out by hand and against the packages' plain calls."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections import Counter

import pytest
from sacrebleu import sentence_bleu

from core.measure.text_quality import bleu, distinct, perplexity, repeated_share, rouge, sequence_repetition


def test_distinct_counts_different_ngrams() -> None:
    assert distinct([1, 2, 1, 2, 1], 2) == 2 / 4
    assert distinct(["a", "b", "c"], 2) == 1.0
    assert distinct([1], 2) is None


def test_sequence_repetition_is_the_rest() -> None:
    assert sequence_repetition([1, 2, 3, 4, 1, 2, 3, 4], 4) == pytest.approx(1 / 5)
    assert sequence_repetition([1, 2, 3], 4) is None


def test_repeated_share_counts_tokens_inside_seen_ngrams() -> None:
    assert repeated_share([1, 2, 3, 1, 2, 4], 2) == pytest.approx(2 / 6)  # the second "1 2"
    assert repeated_share([7, 7, 7, 7], 2) == pytest.approx(3 / 4)  # overlapping pairs count their tokens once
    assert repeated_share([1, 2, 3, 4, 5], 4) == 0.0
    assert repeated_share([1, 2], 4) is None


def test_shares_agree_with_a_naive_count() -> None:
    rng = random.Random(0)
    for _ in range(50):
        items = [rng.randrange(3) for _ in range(rng.randrange(1, 20))]
        n = rng.randrange(1, 5)
        grams = [tuple(items[i : i + n]) for i in range(len(items)) if i + n <= len(items)]
        if not grams:
            assert distinct(items, n) is sequence_repetition(items, n) is repeated_share(items, n) is None
            continue
        assert distinct(items, n) == pytest.approx(len(Counter(grams)) / len(grams))
        inside = {
            place for start, gram in enumerate(grams) if gram in grams[:start] for place in range(start, start + n)
        }
        assert repeated_share(items, n) == pytest.approx(len(inside) / len(items))


def test_perplexity_from_logprobs() -> None:
    assert perplexity([math.log(0.5)] * 3) == pytest.approx(2.0)
    assert perplexity([math.log(0.5), math.log(0.125)]) == pytest.approx(4.0)
    assert perplexity([]) is None
    assert perplexity([-math.inf]) == math.inf
    assert perplexity([-1e9]) == math.inf


def test_bleu_follows_its_stated_convention() -> None:
    reference = "The cat sat on the mat in the sun."
    assert bleu(reference, reference) == pytest.approx(100.0)
    assert bleu("", reference) == 0.0
    candidate = "The cat sat on a mat."
    assert bleu(candidate, reference) == pytest.approx(sentence_bleu(candidate, [reference]).score)
    assert bleu("The cat", "The cat") == pytest.approx(100.0)  # effective order: no 3-grams to miss
    assert bleu("the cat", "The Cat") < 100.0


def test_rouge_by_hand() -> None:
    scores = rouge("the cat sat", "The cat, it sat down")
    assert scores.rouge1 == pytest.approx(2 * 1.0 * 0.6 / 1.6)
    assert scores.rouge2 == pytest.approx(2 * (1 / 2) * (1 / 4) / (1 / 2 + 1 / 4))
    assert scores.rouge_l == pytest.approx(2 * 1.0 * 0.6 / 1.6)


def test_rouge_reads_other_scripts() -> None:
    assert rouge("привет мир", "привет, мир").rouge1 == pytest.approx(1.0)
    assert rouge("", "anything").rouge_l == 0.0


def test_metric_packages_are_loaded_late() -> None:
    code = (
        "import sys, core.measure.text_quality; "
        "assert not {'sacrebleu', 'rouge_score', 'torch'} & set(sys.modules), 'loaded too early'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
