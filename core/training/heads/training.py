"""One head from data to a folder: trained by this project's trainer, stored small, scored as it was stored.

Promises
- The folder holds what Benchtop loads (``adapter_config.json``, ``adapter_model.safetensors``, ``benchtop.json``) and
  ``training.json``: the numbers of the recipe, the rows, the seconds, and the figures on validation and test rows.
- Figures are those of the stored file, read back, so that whoever has the folder gets the same.
- The same data, seed and library versions give the same rows in the same order.

Weights are stored as float16 and computed with as float32.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.catalog.catalog import ENCODER, Catalog
from core.events import Event, Step
from core.runtime.adapter_files import halve
from core.runtime.devices import detect_devices
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Policy, place
from core.runtime.tuned import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CARD, Tuned, TunedCard
from core.settings import Settings
from core.training.checkpoints import MODEL
from core.training.columns import Row
from core.training.datasets import Prepared
from core.training.heads.recipes import HeadData, Recipe
from core.training.heads.scoring import score
from core.training.parameters import Task

REPORT = "training.json"
SAID_EVERY = 100
Say = Callable[[str], None]


def train_head(recipe: Recipe, root: Path, out: Path, seed: int, say: Say, max_steps: int = 0) -> dict[str, Any]:
    """Train on the data below ``root``, write the folder ``out``, return its report. ``max_steps`` 0 is all of it."""
    from core.training.trainer import TrainingJob, train

    data = recipe.data(root)
    parameters = recipe.numbers(seed, max_steps)
    say(f"{recipe.name}, seed {seed}: {len(data.train):,} rows")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="head-") as folder:
        job = TrainingJob(
            base_model(recipe, seed),
            parameters,
            prepared(recipe, data),
            Path(folder),
            title=f"{recipe.title} head",
            base=ENCODER,
            data=f"core.training.heads {recipe.name}",
            sampling="group_by_length",
        )
        for event in train(job):
            _tell(event, say)
        seconds = time.monotonic() - began
        _store(Path(folder) / MODEL, out)
    report = {
        "name": recipe.name,
        "seed": seed,
        "seconds": round(seconds),
        "rows": {"train": len(data.train), "validation": len(data.validation)},
        "parameters": parameters.model_dump(mode="json"),
    }
    report |= figures(recipe, data, out)
    write_json(out / REPORT, report)
    return report


def figures(recipe: Recipe, data: HeadData, folder: Path) -> dict[str, Any]:
    """The stored head's figures on the validation rows and on all tests."""
    model, tokenizer = head_model(recipe, folder)

    def scores(rows: list[Row]) -> dict[str, Any]:
        return score(model, tokenizer, rows, recipe.labels)

    return {
        "validation": scores(data.validation),
        "tests": {name: scores(rows) for name, rows in data.tests.items()},
    }


def base_model(recipe: Recipe, seed: int) -> LoadedModel:
    """MiniLM with a new head of the recipe's labels, to be trained."""
    head: Any = "tokens" if recipe.task is Task.TOKENS else "classification"
    return encoder(ModelSpec(base=ENCODER, head=head, labels=recipe.labels, purpose="train", seed=seed))


def encoder(spec: ModelSpec) -> LoadedModel:
    """MiniLM as ``spec`` wants it, in float32 on the processor."""
    located = Catalog(Settings(offline=True)).locate(ENCODER)
    devices = [device for device in detect_devices() if device.type == "cpu"]
    return load(located, place(located.facts, devices, Policy(batch=1, context=32, dtype="float32")), spec=spec)


def head_model(recipe: Recipe, folder: Path) -> tuple[Any, Any]:
    """The model that the folder's adapter makes of MiniLM, and its tokenizer."""
    from core.runtime.attaching import attached_model

    base = encoder(ModelSpec(ENCODER))
    stored = TunedCard.model_validate_json((folder / CARD).read_bytes())
    return attached_model(base.model, Tuned(folder.name, "", folder, 0.0, stored), base.fresh), base.tokenizer


def prepared(recipe: Recipe, data: HeadData) -> Prepared:
    """The rows as the trainer takes them."""
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

    form: Any = "tags" if recipe.task is Task.TOKENS else "labels"
    return Prepared(Dataset.from_list(data.train), Dataset.from_list(data.validation), form, recipe.labels, ())


def _tell(event: Event, say: Say) -> None:
    if not isinstance(event, Step) or (event.name == "train" and event.index % SAID_EVERY):
        return
    if event.name in ("train", "eval"):
        numbers = {name: value for name, value in event.values.items() if isinstance(value, int | float)}
        say(f"{event.name} {event.index} " + " ".join(f"{name}={value:.4g}" for name, value in numbers.items()))


def _store(trained: Path, out: Path) -> None:
    """What the training left, without the tokenizer, which is the base's, and at half the bytes."""
    out.mkdir(parents=True, exist_ok=True)
    halve(trained / ADAPTER_WEIGHTS, out / ADAPTER_WEIGHTS)
    config = json.loads((trained / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    lists = {name: sorted(set(value)) for name, value in config.items() if isinstance(value, list)}
    write_json(out / ADAPTER_CONFIG, config | lists)
    shutil.copyfile(trained / CARD, out / CARD)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` for people to read."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
