"""A dataset ready to train on: read from wherever it is, mapped to canonical columns, split by a seed.

Promises
- The same source, columns, share and seed give the same rows in the same order on every machine.
- The data's own validation split is used where there is one; otherwise rows are kept out by the seed, labels in equal
  shares. Validation holds at most ``MAX_VALIDATION`` rows, since each evaluation goes through all of them.
- Duplicates stay where they are: ``preview`` counts and shows them.

Does not tokenize: see ``encoding``. Messages stay messages here; how a tokenizer without a chat template, or without
markers of the assistant's turns, is trained on them is decided in ``encoding.language_data``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.catalog.datasets import bundled_dataset
from core.errors import BadInput, NotFound
from core.settings import ASSETS, Settings
from core.training.columns import Columns as Columns
from core.training.columns import Dropped, Form, Plan, Row, is_missing, plan_columns
from core.training.datafiles import Table, read_table
from core.training.parameters import Task
from core.training.tags import mend_tags

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

MAX_VALIDATION = 1000
MAX_LABELS = 200
UPLOAD = "upload:"


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where the rows are. ``name`` is a bundled set's, a Hub dataset's (``owner/name``, or ``owner/name:config``), or
    a file's original name, whose ending says what kind of file it is; ``path`` is the file of a bundled set or a file.
    """

    kind: Literal["bundled", "hub", "file"]
    name: str
    path: Path | None = None
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    public: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows to train on and rows to look at, in canonical columns.

    ``form`` names them: ``text`` | ``prompt, completion`` | ``messages`` (lists of ``role`` and ``content``) |
    ``text, label`` (``text, text_pair, label`` for pairs) | ``words, tags``. ``label`` and ``tags`` are indices into
    ``labels``. ``notes`` are sentences for the visitor.
    """

    train: Dataset
    validation: Dataset
    form: Form
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def find_source(
    name: str,
    settings: Settings,
    *,
    upload: Callable[[str], tuple[Path, str]] | None = None,
    token: str | None = None,
) -> DataSource:
    """What a request's ``data`` names: ``upload:…`` (``upload`` gives its path and original name), a bundled set, or a
    dataset of the Hub. Raises ``NotFound`` for an upload that is not there.
    """
    if name.startswith(UPLOAD):
        if upload is None:
            raise NotFound("This upload is not here.", "Upload the file again.")
        path, title = upload(name)
        return DataSource("file", title, path)
    bundled = bundled_dataset(settings, name)
    if bundled is not None:
        return DataSource("bundled", name, bundled)
    return DataSource("hub", name, token=token, offline=settings.offline, public=settings.public)


def open_data(source: DataSource, columns: Columns, task: Task, validation_share: float, seed: int) -> Prepared:
    """Read, map and split. Raises ``BadInput`` for data that cannot be used, and what the Hub answers for its own."""
    table = read_source(source, task, seed)
    names = table.names
    if not names:
        raise BadInput("The rows have no columns.", "Choose data with at least one column.")
    plan = plan_columns(names, first_filled(table.rows), columns, task)
    dropped = Dropped()
    train, validation = plan.rows(table.rows, dropped), plan.rows(table.validation, dropped)
    notes = [*table.notes, *dropped.notes(), *(mend_tags([*train, *validation]) if plan.form == "tags" else [])]
    if len(train) + len(validation) < 2 or not train:
        raise BadInput(
            f"Only {len(train):,} of {len(table.rows):,} rows can be used; a training needs at least two.",
            "Choose other columns, or data with more rows.",
        )
    labels = _number_labels(plan, train, validation, table.classes.get(plan.target))
    if validation:
        validation, note = _at_most(validation, seed)
        notes += note
    else:
        train, validation = split(train, validation_share, seed, "label" if plan.form == "labels" else None)
    return Prepared(_dataset(train), _dataset(validation), plan.form, labels, tuple(notes))


def read_source(source: DataSource, task: Task, seed: int) -> Table:
    """All rows of a source as they stand. Raises ``NotFound`` for a file that is gone, and what its reader says."""
    if source.kind == "hub":
        from core.training.hub_datasets import read_hub

        return read_hub(source.name, source.token, seed, offline=source.offline, public=source.public)
    if source.kind == "bundled":
        path = source.path or ASSETS / "datasets" / source.name / "data.jsonl"
        if not path.is_file():
            raise NotFound(f"There is no bundled set “{source.name[:60]}”.", "Choose one from the list.")
        return read_table(path)
    if source.path is None or not source.path.is_file():
        raise NotFound("The uploaded file is not here any more.", "Upload it again.")
    return read_table(source.path, source.name, tagged_words=task is Task.TOKENS)


def first_filled(rows: Sequence[Row]) -> Row:
    """For each column its first value that is not missing: what kind of values a column holds."""
    first: Row = {}
    for row in rows[:1000]:
        for name, value in row.items():
            if name not in first and not is_missing(value):
                first[name] = value
    return first


def _number_labels(
    plan: Plan, train: list[Row], validation: list[Row], classes: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Replace names of labels by numbers, in place, and return the names in the order of the numbers."""
    if plan.form not in ("labels", "tags"):
        return ()
    column = "label" if plan.form == "labels" else "tags"
    rows = [*train, *validation]
    used = Counter(value for row in rows for value in (row[column] if column == "tags" else [row[column]]))
    _check_labels(used, column, len(rows))
    numbers = all(isinstance(value, int) for value in used)
    if classes and numbers and all(0 <= value < len(classes) for value in used):
        index, names = {value: value for value in used}, classes
    else:
        ordered = sorted(used, key=_tag_order if column == "tags" else _label_order)
        index, names = {value: i for i, value in enumerate(ordered)}, tuple(str(value) for value in ordered)
    for row in rows:
        row[column] = [index[value] for value in row[column]] if column == "tags" else index[row[column]]
    return names


def _check_labels(used: Counter[Any], column: str, rows: int) -> None:
    what = "label" if column == "label" else "tag"
    if len(used) < 2:
        name = str(next(iter(used)))[:60]
        raise BadInput(
            f"Every row has the same {what}, “{name}”: there is nothing to tell apart.",
            f"Choose another {what} column, or data with at least two {what}s.",
        )
    if len(used) > MAX_LABELS or (column == "label" and len(used) > 20 and len(used) > rows / 2):
        raise BadInput(
            f"The target column has {len(used):,} different values in {rows:,} rows: it holds no labels.",
            f"Choose a column with at most {MAX_LABELS} different {what}s.",
        )


def _label_order(label: Any) -> tuple[int, float, str]:
    text = str(label)
    number = text.lstrip("-")
    return (0, float(text), "") if number.isascii() and number.isdigit() else (1, 0.0, text)


def _tag_order(tag: Any) -> tuple[int, float, str, str]:
    """O first, then the tags of one entity together: B-PER, I-PER."""
    text = str(tag)
    if text == "O":
        return (-1, 0.0, "", "")
    if "-" in text[1:]:
        prefix, _, kind = text.partition("-")
        return (1, 0.0, kind, prefix)
    return (*_label_order(tag), "")


def split(rows: list[Row], share: float, seed: int, by: str | None = None) -> tuple[list[Row], list[Row]]:
    """Rows to train on, in their order, and rows kept out, in random order; with ``by`` each value gives its share.

    At least one row is on each side; a value that only one row has stays in training.
    """
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    wanted = min(max(1, round(len(rows) * share)), MAX_VALIDATION, len(rows) - 1)
    groups: dict[Any, list[int]] = {}
    for i in order:
        groups.setdefault(rows[i][by] if by else None, []).append(i)
    quotas = {value: wanted * len(group) / len(rows) for value, group in groups.items()}
    taken = {value: min(int(quota), len(groups[value]) - 1) for value, quota in quotas.items()}
    for value in sorted(quotas, key=lambda value: (int(quotas[value]) - quotas[value], str(value))):
        if sum(taken.values()) < wanted and taken[value] < len(groups[value]) - 1:
            taken[value] += 1
    kept_out = {i for value, group in groups.items() for i in group[: taken[value]]}
    kept_out = kept_out or {order[0]}
    return [row for i, row in enumerate(rows) if i not in kept_out], [rows[i] for i in order if i in kept_out]


def drawn(count: int, most: int, seed: int, notes: list[str]) -> list[int]:
    """The places that are read of ``count`` rows, in their order; where some are left out, a note says so."""
    if count <= most:
        return list(range(count))
    notes.append(f"{most:,} of {count:,} rows are read, drawn by the seed.")
    return sorted(random.Random(seed).sample(range(count), most))


def _at_most(validation: list[Row], seed: int) -> tuple[list[Row], list[str]]:
    """The data's own validation rows in random order, at most ``MAX_VALIDATION`` of them."""
    order = list(range(len(validation)))
    random.Random(seed).shuffle(order)
    rows = [validation[i] for i in order[:MAX_VALIDATION]]
    if len(rows) == len(validation):
        return rows, []
    return rows, [f"{len(rows):,} of the {len(validation):,} validation rows are used, drawn by the seed."]


def _dataset(rows: list[Row]) -> Dataset:
    from datasets import Dataset

    return Dataset.from_list(rows)
