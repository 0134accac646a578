"""The model card of a pre-trained language model, written from what the run measured, so that it cannot disagree."""

from __future__ import annotations

from typing import Any

CARD = """\
---
title: {title}
license: apache-2.0
language: en
pipeline_tag: text-generation
library_name: transformers
---

# {title}

A Llama-architecture language model with {parameters:,} parameters ({depth}, {hidden_size} wide, {heads} heads,
context {context}, byte-level BPE of {vocab_size:,}), trained from scratch for Benchtop. bf16 safetensors.

## Scores

**{nats_per_token:.3f} nats per token, {bits_per_byte:.3f} bits per byte** on held-out stories.

Held out: the {documents} stories of the cased file whose `sha1(text) mod 20` is 0. {near_duplicates_removed} training
stories that share more than half of their eight-word sequences with one of them were removed. Each story is scored from
its start token to its end token; the bytes are those of the text.

## Training

{millions:.1f} M tokens in {steps:,} steps, {took:.0f} minutes on {hardware}, bf16 autocast. Matrices: Muon;
embeddings and norms: AdamW; {dropped}the weights are an exponential moving average. The share of stories grows
from 35% to 75% of each batch, a part of them told as chats; prose and novels are the rest. {note}

- Stories and chats: {stories:,} stories of [TinyStories](https://huggingface.co/datasets/roneneldan/TinyStories),
  CDLA-Sharing-1.0.
- Novels: 100 novels published before 1924, from [LitBank](https://github.com/dbamman/litbank); the texts are in the
  public domain in the USA, the collection is CC BY 4.0.
- Prose: 392 modern documents of [MASC](https://anc.org/data/masc), free for any use; a few Wikipedia articles,
  CC BY-SA.

| tokens (M) | training loss of one mixed batch (nats/token) | held-out bits per byte, every 4th story |
|---|---|---|
{curve}

Trained again by

```
python -m core.training.pretrain --data DIR --out OUT {flags}
```

## Limits

It tells short, simple stories in English, of the kind that a small child would follow. It knows no facts, cannot
calculate, and forgets what it said some sentences ago. The chat template gives it the form of an assistant: asked for a
story it tells one; it cannot answer questions. It was never checked for harmful output beyond what its data holds.
"""
CURVE_ROWS = 16


def model_card(title: str, report: dict[str, Any]) -> str:
    """Markdown with the front matter that the Hub reads. ``report`` is what ``training.json`` holds."""
    rows = (
        f"| {point['tokens'] / 1e6:.1f} | {point['train_loss']:.2f} | {point['bits_per_byte']:.3f} |"
        for point in _thin(report["curve"], CURVE_ROWS)
    )
    layers = report["recipe"]["layers"]
    return CARD.format(
        **report["recipe"] | report["held_out"] | report | {"curve": "\n".join(rows)},
        title=title,
        depth=f"{layers} layer{'s' * (layers > 1)}",
        dropped="residual dropout; " if report["recipe"]["dropout"] else "",
        millions=report["tokens"] / 1e6,
        took=report["seconds"] / 60,
        flags=" ".join(f"--{name.replace('_', '-')} {value}" for name, value in report["recipe"].items()),
    )


def _thin(points: list[dict[str, float]], most: int) -> list[dict[str, float]]:
    """At most ``most`` points, evenly taken, the last one included."""
    step = max(1, -(-len(points) // most))
    return points[::-1][::step][::-1]
