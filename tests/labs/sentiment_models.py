"""A home with tiny classifiers as local models, for the tests of the Sentiment lab."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.events import Done, Event, Step
from core.labs.sentiment.request import SentimentRequest
from core.labs.sentiment.run import run
from core.runtime.run_context import RunContext
from core.runtime.run_log import owner_of
from core.services import Services
from core.settings import Settings
from tests.training.tiny_models import WORDS, folder_of

VISITOR = "somebody"
OWNER = owner_of(VISITOR)
LABELS = ("negative", "positive")
MODELS: dict[str, tuple[str, ...]] = {
    "tiny": LABELS,
    "other": ("NEG", "POS"),
    "moods": ("calm", "sad", "wild"),
    "nameless": ("LABEL_0", "LABEL_1"),
    "similarity": ("LABEL_0",),
}
LIMIT = 128
"""Tokens that the tiny models read at once."""


@contextmanager
def tiny_services(folder: Path) -> Iterator[Services]:
    """Services with the tiny classifiers in a model root."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = folder_of("bert")
    for seed, (name, labels) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        names = dict(enumerate(labels))
        model: Any = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels), id2label=names)
        with torch.no_grad():
            model.classifier.weight.normal_(std=2.0)
        model.save_pretrained(folder / "models" / name)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder / "models" / name)
    made = Services(Settings(home=folder / "home", model_roots=(folder / "models",), offline=True))
    yield made
    made.close()


def words(count: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def rows(count: int, labels: Sequence[str] = LABELS) -> list[tuple[str, str]]:
    """Texts of few words with labels in turn."""
    return [(words(3 + seed % 7, seed), labels[seed % len(labels)]) for seed in range(count)]


def upload(services: Services, folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return services.uploads.add(path, OWNER)


def labelled_file(services: Services, folder: Path, count: int = 30, labels: Sequence[str] = LABELS) -> str:
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows(count, labels)])
    return services.uploads.add(path, OWNER)


def events_of(services: Services, folder: Path | None = None, **fields: Any) -> list[Event]:
    request = SentimentRequest.model_validate({"model": "tiny", **fields})
    context = RunContext("run", VISITOR, folder, uploads=services.uploads)
    return list(run(request, services.pool, context))


def steps(events: Sequence[Event], name: str) -> list[dict[str, Any]]:
    return [e.values for e in events if isinstance(e, Step) and e.name == name]


def notes(events: Sequence[Event]) -> str:
    return " ".join(e.text for e in events if e.kind == "warning")


def result(events: Sequence[Event]) -> dict[str, Any]:
    assert isinstance(events[-1], Done)
    return events[-1].result
