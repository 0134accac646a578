"""Texts a second of the engine's labels over ``pipeline("text-classification", batch_size=32)`` on the same model.

Two thousand texts of very mixed length, both cut at 512 tokens, both with torch's own number of threads. The two take
turns and the ratio is the median of the turns'. Labels have to be equal where the two likeliest are not within 1e-3.
"""

from __future__ import annotations

import statistics
import time

from bench.labelling import bundled_head, mixed_texts
from core.runtime.labelling import labels_of
from core.text.classify import classify

NAME = "classify"
GOAL = 2.0
HIGHER_IS_BETTER = True

TURNS = 1
"""A turn takes minutes, and its two sides differ by more than the machine drifts."""
BATCH = 32
CLOSE = 1e-3


def measure() -> float:
    """The median ratio; prints each turn. Raises ``RuntimeError`` if a label differs."""
    from transformers import pipeline

    texts = mixed_texts()
    with bundled_head("minilm-sentiment") as loaded:
        plain = pipeline("text-classification", model=loaded.model, tokenizer=loaded.tokenizer, batch_size=BATCH)
        for _ in classify(loaded, texts[:64], long="truncate"):
            pass  # warm
        ratios = []
        for turn in range(TURNS):
            start = time.perf_counter()
            found = [one for batch in classify(loaded, texts, long="truncate") for one in batch]
            ours = len(texts) / (time.perf_counter() - start)
            start = time.perf_counter()
            answers = plain(texts, truncation=True, max_length=512)
            theirs = len(texts) / (time.perf_counter() - start)
            names = labels_of(loaded)
            for one in found:
                one_sure = sorted(one.probabilities)[-1] - sorted(one.probabilities)[-2] >= CLOSE
                if one_sure and names[one.label] != answers[one.index]["label"]:
                    raise RuntimeError(f"text {one.index} has another label")
            print(f"  turn {turn}: engine {ours:.1f} texts/s, pipeline {theirs:.1f} texts/s", flush=True)
            ratios.append(ours / theirs)
    return statistics.median(ratios)
