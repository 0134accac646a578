"""What each model of a strategies run learns from: rows split, disturbed, and turned into what it reads.

Promises: the models of a run that read the same kind of data read the very same rows; the test rows are seen by nobody
before the end. The encoder's passes go through its lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from core.catalog.catalog import ENCODER
from core.errors import NotFound
from core.labs.strategies.choices import DATA_TITLES, TEXT_MODELS, Data, Model
from core.labs.strategies.request import StrategiesRequest
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.settings import ASSETS
from core.training.strategies import tables, texts
from core.training.strategies.batches import Examples
from core.training.strategies.pipeline import way_of_text

FEELINGS = ASSETS / "datasets" / "feelings" / "data.jsonl"
HELD_OUT = {Data.DIGITS: (300, 400)}
"""Rows for validation and test; of the points as many again are made."""
POINTS_HELD_OUT = (200, 400)
TEXT_SHARES = (0.15, 0.25)
EMBEDDED_AT_ONCE = 32
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Material:
    """Rows for one kind of model; ``parts`` are those for training, validation and test.

    ``inputs`` counts the features, or the tokens of the vocabulary; points have a ``box`` around them.
    """

    title: str
    labels: tuple[str, ...]
    inputs: int
    parts: Sequence[Examples]
    box: Box | None = None

    @property
    def train(self) -> Examples:
        return self.parts[0]

    @property
    def validation(self) -> Examples:
        return self.parts[1]

    @property
    def test(self) -> Examples:
        return self.parts[2]

    def counts(self) -> dict[str, int]:
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


@dataclass(slots=True)
class Materials:
    """The material of every model of a request, and what the page shows of its making."""

    by_model: dict[Model, Material] = field(default_factory=dict)
    pipeline: dict[str, Any] | None = None
    pixels: dict[str, Any] | None = None


def gather(request: StrategiesRequest, pool: Pool, context: RunContext) -> Materials:
    """Everything that the request's models need. Raises ``LabError``."""
    found = Materials()
    tabular = [model for model in request.models if model not in TEXT_MODELS]
    if tabular:
        material = table_material(request)
        found.by_model |= dict.fromkeys(tabular, material)
        found.pixels = pixels_of(material, request) if request.data is Data.DIGITS else None
    if len(tabular) < len(request.models):
        spec = ModelSpec(base=ENCODER, dtype="float32")
        with pool.lease(spec, token=context.secret, cancelled=context.cancelled) as loaded:
            _add_texts(found, request, loaded, context)
    return found


def table_material(request: StrategiesRequest) -> Material:
    """Digits or points, split, with the wrong labels that were asked for."""
    toy = request.data is not Data.DIGITS
    validation, test = HELD_OUT.get(request.data, POINTS_HELD_OUT)
    if toy:
        rows, labels = tables.toy(request.data, request.examples + validation + test, request.noise, request.seed)
    else:
        rows, labels = tables.digits()
    parts = tables.split(labels, request.examples, validation, test, request.seed)
    names = ("0", "1") if toy else tuple("0123456789")
    taught = tables.disturbed(labels[parts[0]], request.label_noise, len(names), request.seed)
    held = [
        Examples(torch.from_numpy(rows[part]), torch.from_numpy(truth))
        for part, truth in zip(parts, (taught, labels[parts[1]], labels[parts[2]]), strict=True)
    ]
    return Material(DATA_TITLES[request.data], names, rows.shape[1], held, _box(rows) if toy else None)


def text_sizes(count: int, classes: int) -> tuple[int, int]:
    """Texts for validation and test: a share each, and at least one of every label."""
    validation, test = (max(classes, round(share * count)) for share in TEXT_SHARES)
    return validation, test


def _add_texts(found: Materials, request: StrategiesRequest, loaded: LoadedModel, context: RunContext) -> None:
    raw, words = request.own() if request.texts else _feelings()
    names = tuple(sorted(set(words)))
    labels = np.array([names.index(word) for word in words])
    parts = tables.split(labels, request.examples, *text_sizes(len(raw), len(names)), request.seed)
    taught = tables.disturbed(labels[parts[0]], request.label_noise, len(names), request.seed)
    truths = [torch.from_numpy(truth) for truth in (taught, labels[parts[1]], labels[parts[2]])]
    cleaned = [texts.clean(text) for text in raw]
    tokens = [loaded.tokenizer.tokenize(text) for text in cleaned]
    numbers = texts.vocabulary([tokens[i] for i in parts[0]])
    title = "Your own texts" if request.texts else "Feelings"

    def examples_of(rows: Any, truth: torch.Tensor) -> Examples:
        return Examples([texts.numbered(tokens[i], numbers) for i in rows], truth)

    held = [examples_of(part, truth) for part, truth in zip(parts, truths, strict=True)]
    numbered = Material(title, names, len(numbers) + 2, held)
    readers = [model for model in (Model.BAG, Model.CNN) if model in request.models]
    found.by_model |= dict.fromkeys(readers, numbered)
    if Model.PROBE in request.models:
        vectors = _embedded(cleaned, loaded, context)
        held = [Examples(vectors[torch.from_numpy(part)], truth) for part, truth in zip(parts, truths, strict=True)]
        found.by_model[Model.PROBE] = Material(title, names, vectors.shape[1], held)
    shown = [int(i) for i in parts[0]]
    found.pipeline = way_of_text(
        [raw[i] for i in shown],
        [tokens[i] for i in shown],
        [names[int(label)] for label in taught],
        numbered.train,
        min(request.batch_size, len(shown)),
        request.seed,
    )


def _embedded(cleaned: Sequence[str], loaded: LoadedModel, context: RunContext) -> torch.Tensor:
    """Sentence embeddings, a slice of texts at a time on the encoder's lane."""
    found = []
    for begin in range(0, len(cleaned), EMBEDDED_AT_ONCE):
        some = cleaned[begin : begin + EMBEDDED_AT_ONCE]
        found.append(
            loaded.lane.call(
                lambda some=some: texts.embed(some, loaded.tokenizer, loaded.model),  # type: ignore[misc]
                visitor=context.visitor,
                cancelled=context.cancelled,
            )
        )
    return torch.cat(found)


def _feelings() -> tuple[list[str], list[str]]:
    if not FEELINGS.exists():
        raise NotFound("The bundled texts are missing.", "Give texts of your own, or install Benchtop again.")
    return texts.read_texts(FEELINGS)


def _box(points: Any) -> Box:
    """Room around all points, the same for every model."""
    low, high = points.min(0), points.max(0)
    room = 0.12 * (high - low)
    return float(low[0] - room[0]), float(low[1] - room[1]), float(high[0] + room[0]), float(high[1] + room[1])


def pixels_of(material: Material, request: StrategiesRequest) -> dict[str, Any]:
    """A few digits on their way into a batch: sixteen levels of grey, then numbers from 0 to 1, then a row each."""
    inputs, labels = material.train.batch(torch.arange(min(6, len(material.train))))
    shown = [
        {"pixels": [round(16 * value) for value in row], "label": material.labels[label]}
        for row, label in zip(inputs.tolist(), labels.tolist(), strict=True)
    ]
    return {"digits": shown, "size": min(request.batch_size, len(material.train)), "features": material.inputs}
