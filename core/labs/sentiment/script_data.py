"""The part of an exported sentiment script that reads the texts: the same rows as the run, in plain Python.

The data is opened here to learn its columns and labels. Cells that a run had to clean (lines of mixed encodings,
characters that cannot be tokenized) may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.labs.sentiment import script_text as parts
from core.labs.sentiment.material import Opened, Reader, label_name, open_rows
from core.labs.sentiment.request import SentimentRequest
from core.training.columns import Dropped, as_label
from core.training.datafiles import SEPARATORS, decode
from core.training.hub_datasets import TRAIN, VALIDATION

Numbers = Callable[[Opened], Mapping[str, int]]


def texts_part(request: SentimentRequest, reader: Reader, most: int | None = None) -> Iterator[str]:
    """Lines that set ``texts``; the first ``most`` of them where a mode reads no more."""
    end = f"[:{most}]" if most else ""
    if not request.data:
        pairs = request.pairs()
        typed: list[Any] = list(zip(request.texts(), pairs, strict=True)) if pairs else request.texts()
        yield f"texts = {typed[:most]!r}\n"
        return
    opened = open_rows(request, reader, labels=False)
    names = _columns(opened)
    yield _constants(request, names)
    yield from _rows(opened)
    yield parts.ROWS
    yield "rows = [row for row in rows if filled(row, TEXTS)]\n"
    yield parts.DRAW
    yield f"texts = [text_of(row) for row in rows]{end}\n"


def labelled_part(request: SentimentRequest, reader: Reader, numbers: Numbers) -> Iterator[str]:
    """Lines that set ``texts`` and ``gold``, and ``spare``, which is the data's other labelled rows."""
    opened = open_rows(request, reader, labels=True)
    target = opened.plan.target
    yield _constants(request, _columns(opened))
    yield f"TARGET = {target!r}\nNUMBERS = {dict(numbers(opened))!r}  # each label of the data as the model's\n"
    yield from _rows(opened)
    yield parts.ROWS
    yield (
        'rows = [row for row in rows if filled(row, [*TEXTS, TARGET]) and str(row[TARGET]) != "-1"]\n'
        f"{parts.DRAW.strip()}\n"
        "rows = [row for row in rows if str(row[TARGET]).strip() in NUMBERS]\n"
        "texts = [text_of(row) for row in rows]\n"
        "gold = [NUMBERS[str(row[TARGET]).strip()] for row in rows]\n"
    )
    if opened.other:
        yield (
            "other = [row for row in other if filled(row, [*TEXTS, TARGET]) and str(row[TARGET]).strip() in NUMBERS]\n"
            "spare = [(text_of(row), NUMBERS[str(row[TARGET]).strip()]) for row in other]\n"
        )


def as_written(opened: Opened) -> dict[str, str]:
    """For each label as it stands in the data, as text, its name."""
    found: dict[str, str] = {}
    for number, row in enumerate([*opened.rows, *opened.other], start=1):
        value = row.get(opened.plan.target)
        label = as_label(value, opened.plan.target, number)
        if label is not None:
            found.setdefault(str(value).strip(), label_name(label, opened.classes))
    return found


def used(opened: Opened) -> list[str]:
    """The labels of the rows that are read, by their names."""
    return [label_name(row["label"], opened.classes) for row in opened.plan.rows(opened.rows, Dropped())]


def _columns(opened: Opened) -> list[str]:
    return [opened.plan.text, opened.plan.pair] if opened.plan.pair else [opened.plan.text]


def _constants(request: SentimentRequest, names: list[str]) -> str:
    return f"TEXTS = {names!r}  # the columns\nROWS = {request.rows!r}\nSEED = {request.seed!r}\n"


def _rows(opened: Opened) -> Iterator[str]:
    """Lines that set ``rows`` and, of a dataset with several splits, ``other``."""
    source = opened.source
    if source.kind == "hub":
        name, _, config = source.name.partition(":")
        yield f"TRAIN, VALIDATION = {TRAIN!r}, {VALIDATION!r}\n"
        yield parts.READ["hub"]
        yield f"rows, other = read({name!r}, {config or None!r})\n"
        return
    assert source.path is not None
    bundled = source.kind == "bundled"
    name = f"assets/datasets/{source.name}/data.jsonl" if bundled else source.name
    kind, separator = ("json", "") if bundled else _kind(source.path, source.name)
    yield f"DATA = {name!r}{'' if bundled else '  # your file, where the script is run'}\n"
    if kind == "csv":
        yield f"SEPARATOR = {separator!r}\n"
    yield parts.READ[kind]
    yield "rows = read(DATA)\n"


def _kind(path: Path, title: str) -> tuple[str, str]:
    """How a file is read, as ``core.training.datafiles`` would, and a table's separator."""
    suffix = Path(title).suffix.lower()
    with path.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return "parquet", ""
    text, _ = decode(path.read_bytes())
    if suffix in (".txt", ".md", ".text"):
        return "text", ""
    if suffix not in (".csv", ".tsv") and text.lstrip()[:1] in ("[", "{"):
        return "json", ""
    first = text.lstrip("\n").partition("\n")[0]
    return "csv", "\t" if suffix == ".tsv" else max(SEPARATORS, key=first.count)
