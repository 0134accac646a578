"""The records of a training run as its log holds them, computed from small formulas: no model, no data, no waiting."""

from __future__ import annotations

import math
from typing import Any

Record = dict[str, Any]

BASE = "Once upon a time there was a little girl named Lily. She liked to play with her dog in the park."
TUNED = (
    BASE,
    "Once upon a time there was a little girl named Lily. She sailed the sea, arr, with her dog.",
    "Ahoy! There was a little pirate named Lily. She sailed the salty sea with her dog, arr!",
)
PROMPTS = ("Once upon a time", "One day, Tom found a", "The little bird")


def step(name: str, index: int, /, **values: Any) -> Record:
    return {"kind": "step", "name": name, "index": index, "column": None, "values": values}


def started(**changed: Any) -> Record:
    values = {
        "model": "story-lm", "title": "LoRA · story-lm · pirate-stories", "task": "language", "method": "lora",
        "data": "pirate-stories", "parameters_total": 4_352_256, "parameters_trained": 147_456, "steps": 60,
        "epochs": 3.0, "device": "cpu", "dtype": "float32", "why": "The only device here, and it fits.",
        "train_rows": 180, "validation_rows": 20, "labels": [], "form": "text",
        "plan": {"weights": 17_409_024, "gradients": 589_824, "optimizer": 1_179_648, "activations": 61_000_000},
        "resumed": None, **changed,
    }  # fmt: skip
    return step("start", 0, **values)


def trained(index: int, **changed: Any) -> Record:
    decay = math.exp(-index / 25)
    values = {
        "epoch": round(index / 20, 3), "tokens": index * 1480, "seconds": round(index * 0.82, 2),
        "loss": round(1.35 + 1.9 * decay + 0.11 * math.sin(index * 1.7), 4),
        "learning_rate": 2e-3 * min(1.0, index / 3) * (1 - max(0, index - 3) / 60),
        "grad_norm": round(0.6 + 2.4 * decay + 0.1 * math.cos(index), 3),
        "tokens_per_second": 1790.0 + 40 * math.sin(index),
        "memory_bytes": 412_000_000 + 1_000_000 * min(index, 8), "token_accuracy": round(0.66 - 0.3 * decay, 4),
        "seconds_left": round((60 - index) * 0.82, 1), **changed,
    }  # fmt: skip
    return step("train", index, **{name: value for name, value in values.items() if value is not None})


def evaluated(index: int, **changed: Any) -> Record:
    decay = math.exp(-index / 22)
    values = {
        "epoch": round(index / 20, 3), "tokens": index * 1480, "seconds": round(index * 0.82, 2),
        "loss": round(1.52 + 1.8 * decay, 4), "perplexity": round(math.exp(1.52 + 1.8 * decay), 3),
        "token_accuracy": round(0.62 - 0.28 * decay, 4), **changed,
    }  # fmt: skip
    return step("eval", index, **values)


def sampled(index: int, tuned: str) -> Record:
    rows = [{"prompt": prompt, "reference": TUNED[2], "base": BASE, "tuned": tuned} for prompt in PROMPTS]
    return step("samples", index, rows=rows)


def progress(index: int) -> Record:
    return {
        "kind": "progress", "done": index, "total": 60, "unit": "steps", "note": "",
        "seconds_left": (60 - index) * 0.82,
    }  # fmt: skip


def language_run(steps: int = 60, ended: bool = True) -> list[Record]:
    """A LoRA run on stories: queued first, evaluated and sampled every 20 steps, with a checkpoint and a reading."""
    records = [step("queue", 1, position=1), step("queue", 0, position=0), started(steps=60)]
    for index in range(1, steps + 1):
        records += [trained(index), progress(index)]
        if index == 1:
            records.append(sampled(0, TUNED[0]))
        if index % 20 == 0:
            records += [evaluated(index), sampled(index, TUNED[1] if index < 60 else TUNED[2])]
            records.append(step("checkpoint", index, path=f"checkpoints/checkpoint-{index}", bytes=1_800_000))
    if ended:
        records += [
            {"kind": "metric", "name": "eval loss", "value": 1.64, "unit": "nats per token", "column": None},
            {"kind": "artifact", "name": "model", "path": "model", "bytes": 640_000},
            {
                "kind": "done", "reason": "finished",
                "result": {"loss": 1.5, "eval_loss": 1.64, "steps": 60, "model": "tuned:ab"},
            },
        ]  # fmt: skip
    return numbered(records)


def classification_run() -> list[Record]:
    """A linear probe on four labels that ends up saying one of them: accuracy, predictions, a reading."""
    labels = ["afraid", "angry", "happy", "sad"]
    records = [started(task="classification", method="probe", labels=labels, form="labels", data="feelings", steps=20)]
    for index in range(1, 21):
        records.append(trained(index, token_accuracy=None))
    rows = [
        {"text": "I lost my kite.", "reference": "sad", "base": "happy", "tuned": "sad", "base_p": 0.27,
         "tuned_p": 0.91},
        {"text": "Boo!", "reference": "afraid", "base": "happy", "tuned": "angry", "base_p": 0.26, "tuned_p": 0.44},
    ]  # fmt: skip
    records.append(
        evaluated(20, accuracy=0.25, f1=0.1, perplexity=None, token_accuracy=None, predicted={"sad": 24, "happy": 0})
    )
    records.append(step("samples", 20, rows=rows))
    records.append(step("reading", 20, name="one_class", text="Every validation row was predicted as sad."))
    records.append({"kind": "done", "reason": "finished", "result": {"eval_loss": 1.2, "accuracy": 0.25}})
    return numbered(records)


def numbered(records: list[Record]) -> list[Record]:
    return [{"seq": seq, "at": round(seq * 0.4, 3), **record} for seq, record in enumerate(records)]


def preview() -> dict[str, Any]:
    """What the lab says before a start."""
    words = ["Ahoy", ",", " said", " the", " captain", ".", " The", " sea", " is", " big", "."]
    tokens = [{"text": "<|endoftext|>", "trained": False, "special": True}]
    tokens += [{"text": word, "trained": place > 3, "special": False} for place, word in enumerate(words)]
    return {
        "rows": [{"tokens": tokens * 3, "cut": 0, "label": None}, {"tokens": tokens, "cut": 14, "label": None}],
        "lengths": {"edges": [20, 40, 60, 80, 100, 120], "counts": [4, 31, 88, 49, 8],
                    "unit": "tokens", "longest": 118, "mean": 67.2},
        "truncated": 1, "train_rows": 180, "validation_rows": 20,
        "duplicates": {"within": 2, "across": 1, "examples": ["Ahoy, said the captain."]},
        "labels": {}, "notes": ["Columns: text."],
        "memory": {"weights": 17_409_024, "gradients": 589_824, "optimizer": 1_179_648,
                   "activations": 61_000_000, "total": 80_178_496},
        "device": {"label": "CPU 2 cores", "free": 12_000_000_000, "why": "The only device here, and it fits."},
        "parameters_total": 4_352_256, "parameters_trained": 147_456,
        "steps": 60, "step_seconds": 0.82, "seconds": 49.2,
        "modules": [
            {"name": "q_proj", "count": 6, "in_features": 256, "out_features": 256, "trained": 24_576},
            {"name": "down_proj", "count": 6, "in_features": 688, "out_features": 256, "trained": 45_312},
        ],
        "method": "lora", "r": 8, "targets": [],
    }  # fmt: skip
