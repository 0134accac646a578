"""From several trained seeds to the folder that ships: the best on the validation rows, with its card.

Promises: the tests have no say in the choice; ``training.json`` keeps the figures of all seeds, and those of the head
that ships on the rows that were written for it (``assets/checks``), which a test computes again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.catalog.headers import read_header
from core.errors import NotFound
from core.runtime.tuned import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CARD
from core.settings import ASSETS
from core.training.columns import Row
from core.training.heads.cards import card
from core.training.heads.recipes import Recipe
from core.training.heads.scoring import score
from core.training.heads.training import REPORT, head_model, write_json
from core.training.parameters import Task


def choose(recipe: Recipe, folders: Sequence[Path], out: Path) -> dict[str, Any]:
    """Copy the best of ``folders`` to ``out``; the report of all of them."""
    reports = [_report(folder) for folder in folders]
    best = max(range(len(folders)), key=lambda i: reports[i]["validation"][recipe.chosen_by])
    out.mkdir(parents=True, exist_ok=True)
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS, CARD):
        shutil.copyfile(folders[best] / name, out / name)
    trained = sum(tensor.count for tensor in read_header(out / ADAPTER_WEIGHTS))
    report = {
        "name": recipe.name,
        "seed": reports[best]["seed"],
        "trained": trained,
        "slice": slice_scores(recipe, out),
        "seeds": sorted(reports, key=lambda one: int(one["seed"])),
    }
    write_json(out / REPORT, report)
    (out / "README.md").write_text(card(recipe, report), encoding="utf-8")
    return report


def slice_scores(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The figures of a stored head on the rows that were written for it."""
    model, tokenizer = head_model(recipe, folder)
    return score(model, tokenizer, slice_rows(recipe), recipe.labels)


def slice_rows(recipe: Recipe) -> list[Row]:
    """The rows of ``assets/checks`` for this head, their labels as numbers."""
    lines = (ASSETS / "checks" / f"{recipe.name}.jsonl").read_text(encoding="utf-8").splitlines()
    numbers = {label: number for number, label in enumerate(recipe.labels)}
    rows = [json.loads(line) for line in lines]
    if recipe.task is Task.TOKENS:
        return [{"words": row["words"], "tags": [numbers[tag] for tag in row["tags"]]} for row in rows]
    return [{"text": row["text"], "label": numbers[row["label"]]} for row in rows]


def _report(folder: Path) -> dict[str, Any]:
    path = folder / REPORT
    if not path.is_file():
        raise NotFound(f"{folder} holds no trained head.", "Train one there with --seed and --out.")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report
