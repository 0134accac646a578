"""Figures of one generated text: how varied it is, how much it repeats, how near it is to a reference.

Promises: pure functions of ids or text; every share lies in 0..1, BLEU in 0..100. A figure that does not exist (an
n-gram share of a text shorter than n) is None, never a number made up for it. Importing this module is cheap: the
BLEU and ROUGE packages are loaded by the first call that needs them.

Not here: perplexity of whole documents (``core.measure.perplexity``).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


def distinct(items: Sequence[Hashable], n: int = 2) -> float | None:
    """distinct-n: different n-grams over all n-grams (Li et al. 2016). 1 is all different."""
    grams = _ngrams(items, n)
    return len(set(grams)) / len(grams) if grams else None


def sequence_repetition(items: Sequence[Hashable], n: int = 4) -> float | None:
    """seq-rep-n: 1 minus distinct-n (Welleck et al. 2020, n = 4 there). 0 repeats nothing."""
    share = distinct(items, n)
    return None if share is None else 1.0 - share


def repeated_share(items: Sequence[Hashable], n: int = 4) -> float | None:
    """Share of tokens that lie inside an n-gram which occurred earlier in the same text.

    Counts tokens where seq-rep-n counts n-grams, so that "a tenth of this text is repeated" can be read off it.
    """
    grams = _ngrams(items, n)
    if not grams:
        return None
    seen: set[tuple[Hashable, ...]] = set()
    repeated = [False] * len(items)
    for start, gram in enumerate(grams):
        if gram in seen:
            repeated[start : start + n] = [True] * n
        seen.add(gram)
    return sum(repeated) / len(items)


def perplexity(logprobs: Sequence[float]) -> float | None:
    """exp of the mean negative log-probability (nats) of the tokens; infinite if one was impossible."""
    if not logprobs:
        return None
    nats = -math.fsum(logprobs) / len(logprobs)
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def bleu(candidate: str, reference: str) -> float:
    """Sentence BLEU, 0 to 100, against one reference.

    The one convention used here: sacrebleu's sentence BLEU with effective order (a text shorter than four tokens is
    scored on the orders it has), "13a" tokens, exponential smoothing, case kept.
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True, smooth_method="exp", tokenize="13a", lowercase=False)
    return min(100.0, float(metric.sentence_score(candidate, [reference]).score))


@dataclass(frozen=True, slots=True)
class RougeScores:
    """F-measures, 0 to 1: single words, word pairs, longest common subsequence."""

    rouge1: float
    rouge2: float
    rouge_l: float


def rouge(candidate: str, reference: str) -> RougeScores:
    """ROUGE-1, ROUGE-2 and ROUGE-L as F-measures: words in lower case, no stemming.

    A word is a run of letters and digits of any script; the package's own tokenizer would drop all but a-z and 0-9.
    """
    from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]  # ships no types

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False, tokenizer=_Words())
    scores = scorer.score(reference, candidate)
    return RougeScores(*(float(scores[name].fmeasure) for name in ("rouge1", "rouge2", "rougeL")))


class _Words:
    """The tokenizer interface of rouge_score."""

    def tokenize(self, text: str) -> list[str]:
        return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _ngrams(items: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
