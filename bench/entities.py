"""Texts a second of the engine's entities over ``pipeline("token-classification", batch_size=32)`` on the same model.

The texts of the bench ``classify``, cut so that both read all of them at once (the pipeline has no other way), with
torch's own number of threads. The two take turns and the ratio is the median of the turns'. Spans have to be equal.
"""

from __future__ import annotations

import statistics
import time

from bench.labelling import bundled_head, mixed_texts
from core.runtime.labelling import labels_of
from core.text.spans import entities
from core.text.tag import tag

NAME = "entities"
GOAL = 1.5
HIGHER_IS_BETTER = True

TURNS = 1
"""A turn takes minutes, and its two sides differ by more than the machine drifts."""
BATCH = 32
WORDS = 330
"""Of a text at most, so that its tokens are within the model's limit."""


def measure() -> float:
    """The median ratio; prints each turn. Raises ``RuntimeError`` if a span differs."""
    from transformers import pipeline

    texts = [" ".join(text.split()[:WORDS]) for text in mixed_texts()]
    with bundled_head("minilm-entities") as loaded:
        options = {"aggregation_strategy": "simple", "batch_size": BATCH}
        plain = pipeline("token-classification", model=loaded.model, tokenizer=loaded.tokenizer, **options)
        id2label = dict(enumerate(labels_of(loaded)))
        ratios = []
        for turn in range(TURNS):
            start = time.perf_counter()
            labels = [one for batch in tag(loaded, texts) for one in batch]
            found = {one.index: entities(one, texts[one.index], id2label) for one in labels}
            ours = len(texts) / (time.perf_counter() - start)
            start = time.perf_counter()
            answers = plain(texts)
            theirs = len(texts) / (time.perf_counter() - start)
            for index, answer in enumerate(answers):
                spans = [(one.start, one.end, one.type) for one in found[index]]
                if spans != [(one["start"], one["end"], one["entity_group"]) for one in answer]:
                    raise RuntimeError(f"text {index} has other spans")
            print(f"  turn {turn}: engine {ours:.1f} texts/s, pipeline {theirs:.1f} texts/s", flush=True)
            ratios.append(ours / theirs)
    return statistics.median(ratios)
