"""Which training sets are bundled: folders below ``assets/datasets``, each with ``data.jsonl`` and a card.

Promises
- A set is offered only when its rows are there; a card that cannot be read costs the title, not the set.
- Only the card and the number of lines are read here, never the rows.

Does not know Hub datasets or uploads: those are named by the visitor and read by ``core.training.datasets``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # ships no types

from core.settings import Settings

ROWS, CARD = "data.jsonl", "README.md"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DatasetChoice:
    """A line of the data picker. ``task`` is one of ``Task``'s values, ``note`` such as "200 rows · bundled"."""

    name: str
    title: str
    task: str
    rows: int
    note: str


def dataset_choices(settings: Settings) -> list[DatasetChoice]:
    """The bundled sets in the order of their cards' ``order``, then by name."""
    found = [(path.name, path, _card(path)) for path in _folders(settings)]
    found.sort(key=lambda item: (_number(item[2].get("order"), 1000), item[0]))
    return [_choice(name, path, card) for name, path, card in found]


def bundled_dataset(settings: Settings, name: str) -> Path | None:
    """The file with the rows of the bundled set ``name``; None when there is no such set."""
    return next((path / ROWS for path in _folders(settings) if path.name == name), None)


def dataset_card(settings: Settings, name: str) -> str:
    """The card of the bundled set ``name`` as Markdown without its YAML block; empty when there is none."""
    for path in _folders(settings):
        if path.name == name:
            return _card_parts(path)[1].strip()
    return ""


def _folders(settings: Settings) -> Iterator[Path]:
    root = settings.assets / "datasets"
    for rows in sorted(root.glob(f"*/{ROWS}")):
        yield rows.parent


def _choice(name: str, path: Path, card: dict[str, Any]) -> DatasetChoice:
    with (path / ROWS).open("rb") as lines:
        rows = sum(1 for line in lines if line.strip())
    return DatasetChoice(
        name=name,
        title=str(card.get("title") or name),
        task=str(card.get("task") or "language"),
        rows=rows,
        note=f"{rows:,} rows · bundled",
    )


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _card(path: Path) -> dict[str, Any]:
    """The YAML block at the top of the card; empty when there is none or it cannot be read."""
    try:
        value = yaml.safe_load(_card_parts(path)[0])
    except yaml.YAMLError as error:
        _LOG.warning("The card of %s cannot be read: %s", path.name, type(error).__name__)
        return {}
    return value if isinstance(value, dict) else {}


def _card_parts(path: Path) -> tuple[str, str]:
    """The YAML block and the text below it."""
    try:
        text = (path / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _LOG.warning("The card of %s cannot be read: %s", path.name, type(error).__name__)
        return "", ""
    if not text.startswith("---\n"):
        return "", text
    block, _, body = text[4:].partition("\n---\n")
    return block, body
