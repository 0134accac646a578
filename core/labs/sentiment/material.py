"""What a sentiment run reads: texts, or texts whose labels are known; typed, or rows of a set, a file or the Hub.

Promises: the same request reads the same rows in the same order, so that a row's number means the same text in a run,
in a question about that row, and in a correction of it. What cannot be used is left out and counted in a note, or
refused with a sentence that names the columns there are. Of a Hub dataset with a validation split that split is read:
most models have seen the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import BadInput
from core.labs.sentiment.request import SentimentRequest
from core.runtime.run_context import RunContext
from core.settings import Settings
from core.text.attribution import PAIR_MARK
from core.training.columns import Columns, Dropped, Plan, Row, plan_columns, plan_texts
from core.training.datafiles import Table
from core.training.datasets import DataSource, drawn, find_source, first_filled, read_source
from core.training.parameters import Task

Item = str | tuple[str, str]
"""A text, or a text and its second text."""
Upload = Callable[[str], tuple[Path, str]]
TYPED = "your text"


@dataclass(frozen=True, slots=True)
class Reader:
    """What reading needs of a visitor: their uploads (path and title by name) and their token for the Hub."""

    settings: Settings
    upload: Upload | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Texts:
    """What is read, the cells that each text came with, and what the visitor should know of it."""

    items: tuple[Item, ...]
    rows: tuple[Row, ...]
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts with their labels' names. ``classes`` are all names in the order of the data's own numbers, if it has any.

    ``spare`` are the data's other labelled texts, which are not in ``items``.
    """

    items: tuple[Item, ...]
    gold: tuple[str, ...]
    classes: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()
    spare: tuple[tuple[Item, str], ...] = ()


def reader_of(settings: Settings, context: RunContext) -> Reader:
    """A run's reader."""
    return Reader(settings, context.upload, context.secret)


@dataclass(frozen=True, slots=True)
class Opened:
    """A request's data as it stands: the rows that are read, what their columns are, and the data's other rows."""

    table: Table
    rows: Sequence[Row]
    plan: Plan
    source: DataSource

    @property
    def other(self) -> Sequence[Row]:
        return self.table.rows if self.table.validation else ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels that are numbers in the data, if it has any."""
        return self.table.classes.get(self.plan.target, ())


def open_rows(request: SentimentRequest, reader: Reader, *, labels: bool) -> Opened:
    """The request's data with the columns that a text, and with ``labels`` its label, are in. Raises ``LabError``."""
    name = request.labelled if labels else request.data
    source = find_source(name, reader.settings, upload=reader.upload, token=reader.token)
    table = read_source(source, Task.CLASSIFICATION, request.seed)
    rows = table.validation or table.rows
    columns = Columns(request.text_column, request.target_column, request.pair_column)
    if labels:
        plan = plan_columns(table.names, first_filled(rows), columns, Task.CLASSIFICATION)
    else:
        plan = plan_texts(table.names, columns)
    return Opened(table, rows, plan, source)


def read_texts(request: SentimentRequest, reader: Reader) -> Texts:
    """Texts that need no labels. Raises ``BadInput`` for data without any."""
    if not request.data:
        texts, pairs = request.texts(), request.pairs()
        items: list[Item] = list(zip(texts, pairs, strict=True)) if pairs else list(texts)
        return Texts(tuple(items), tuple(_typed(item) for item in items), TYPED)
    opened = open_rows(request, reader, labels=False)
    name, plan, dropped = opened.source.name, opened.plan, Dropped()
    found = [(_item(made, plan), opened.rows[place]) for place, made in plan.placed(opened.rows, dropped)]
    notes = [*opened.table.notes, *dropped.notes()]
    if not found:
        raise BadInput(f"{name} has no text in column “{plan.text[:60]}”.", "Choose another column.")
    kept = [found[place] for place in drawn(len(found), request.rows, request.seed, notes)]
    return Texts(tuple(item for item, _ in kept), tuple(row for _, row in kept), name, tuple(notes))


def read_labelled(request: SentimentRequest, reader: Reader) -> Labelled:
    """Texts with labels. Raises ``BadInput`` for data that has none."""
    opened = open_rows(request, reader, labels=True)
    plan, classes, dropped = opened.plan, opened.classes, Dropped()
    found = [(_item(row, plan), label_name(row["label"], classes)) for row in plan.rows(opened.rows, dropped)]
    notes = [*opened.table.notes, *dropped.notes()]
    if not found:
        raise BadInput(
            f"No row of {opened.source.name} has both a text and a label.", "Choose other columns, or other data."
        )
    kept = [found[place] for place in drawn(len(found), request.rows, request.seed, notes)]
    spare = [(_item(row, plan), label_name(row["label"], classes)) for row in plan.rows(opened.other, Dropped())]
    return Labelled(
        items=tuple(item for item, _ in kept),
        gold=tuple(label for _, label in kept),
        classes=classes,
        source=opened.source.name,
        notes=tuple(notes),
        spare=tuple(spare),
    )


def first_text(item: Item) -> str:
    """An item's text, without its second one."""
    return item if isinstance(item, str) else item[0]


def shown_text(item: Item) -> str:
    """An item as one line of a table: a pair's texts with a mark between them."""
    return item if isinstance(item, str) else PAIR_MARK.join(item)


def _typed(item: Item) -> Row:
    return {"text": item} if isinstance(item, str) else {"text": item[0], "text_pair": item[1]}


def _item(row: Row, plan: Plan) -> Item:
    return (row["text"], row["text_pair"]) if plan.pair else row["text"]


def label_name(label: str | int, classes: Sequence[str]) -> str:
    """A label's name: numbers have the data's names for them, if it has any."""
    if isinstance(label, int) and 0 <= label < len(classes):
        return classes[label]
    return str(label)
