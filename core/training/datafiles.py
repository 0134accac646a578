"""A visitor's file as rows: CSV and TSV, JSON and JSON Lines, Parquet, CoNLL and plain text.

Promises
- What cannot be read is refused with one sentence that names the line or row and says what to do.
- Text is decoded as UTF-8, UTF-16 by its mark, or Windows-1252 where a line is nothing else; a note says so.
- At most ``MAX_ROWS`` rows are taken and no cell is longer than ``MAX_CELL`` characters.

Does not know what a column means: see ``columns``. Nothing in a file is ever executed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from core.errors import BadInput
from core.training.columns import Row
from core.training.conll import looks_like_conll as looks_like_conll
from core.training.conll import read_conll as read_conll

MAX_ROWS = 200_000
MAX_CELL = 2**17
"""Characters in one cell, which is also where Python's own CSV reader stops: longer ones are mostly unclosed quotes."""
SEPARATORS = (",", ";", "\t", "|")
TEXT_SUFFIXES = (".txt", ".md", ".text")
CONLL_SUFFIXES = (".conll", ".conllu", ".bio", ".iob", ".iob2")
_KNOWN_BINARIES = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive", "Save the table as CSV, or unpack the archive."),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document", "Save the table as CSV."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"%PDF", "a PDF document", "Copy its text into a CSV or text file."),
    (b"SQLite format", "a SQLite database", "Export the table as CSV."),
)
_PARQUET = b"PAR1"
_CONTROL = {chr(code) for code in range(1, 32)} - set("\t\n\r\f\v\x1b")


@dataclass(slots=True)
class Table:
    """Rows as they stand in the data, and what a reader of them should know.

    ``validation`` is the data's own split, if it has one; ``classes`` names the numbers of a label column.
    """

    rows: list[Row]
    validation: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The columns, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self.rows[:1000] for name in row))


def read_table(path: Path, title: str = "", *, tagged_words: bool = False) -> Table:
    """The rows of a file, whose original name is ``title``. ``tagged_words``: a text file may be one word a line.

    Raises ``BadInput`` for a file that is empty, damaged or of another kind.
    """
    name = title or path.name
    suffix = Path(name).suffix.lower()
    with path.open("rb") as stream:
        head = stream.read(16)
    if not head:
        raise BadInput("The file is empty.", "Choose a file with rows in it.")
    if head.startswith(_PARQUET):
        return _checked(_read_parquet(path))
    for mark, kind, todo in _KNOWN_BINARIES:
        if head.startswith(mark):
            raise BadInput(f"The file is {kind}.", todo)
    if suffix == ".parquet":
        raise BadInput("The file is no Parquet file, whatever its name says.", "Write it again, or save it as CSV.")
    text, notes = decode(path.read_bytes())
    if not text.strip():
        raise BadInput("The file holds nothing but blank lines.", "Choose a file with rows in it.")
    return _checked(Table(_read_text(text, suffix, tagged_words, notes), notes=notes))


def _read_text(text: str, suffix: str, tagged_words: bool, notes: list[str]) -> list[Row]:
    if suffix in CONLL_SUFFIXES or (tagged_words and suffix in (*TEXT_SUFFIXES, ".tsv") and looks_like_conll(text)):
        return list(read_conll(text, notes))
    if suffix in TEXT_SUFFIXES:
        return [{"text": part} for block in text.split("\n\n") if (part := block.strip())]
    if suffix not in (".csv", ".tsv") and text.lstrip()[0] in "[{":
        return read_json(text)
    if suffix in (".json", ".jsonl", ".ndjson"):
        _refuse_json(1, "it does not begin with { or [")
    return list(read_csv(text, "\t" if suffix == ".tsv" else None))


def _checked(table: Table) -> Table:
    if not table.rows:
        raise BadInput("The file has no rows.", "Choose a file with at least one row under its column names.")
    if len(table.rows) > MAX_ROWS:
        table.notes.append(f"The file has {len(table.rows):,} rows; the first {MAX_ROWS:,} are used.")
        del table.rows[MAX_ROWS:]
    for number, row in enumerate(table.rows, start=1):
        for column, value in row.items():
            if isinstance(value, str) and len(value) > MAX_CELL:
                _refuse_cell(f"Row {number:,}", len(value), column)
    return table


def decode(data: bytes) -> tuple[str, list[str]]:
    """Text and notes. Line by line, so that one line of another encoding does not spoil the others."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                return _plain(data.decode(encoding))
            except UnicodeDecodeError:
                if encoding == "utf-16":
                    _refuse_binary()
                data = data[3:]
    try:
        return _plain(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    lines, foreign = [], []
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            foreign.append(number)
            try:
                lines.append(line.decode("cp1252"))
            except UnicodeDecodeError:
                _refuse_binary()
    count = "1 line is" if len(foreign) == 1 else f"{len(foreign):,} lines are"
    note = f"{count} not UTF-8 and read as Windows-1252, first line {foreign[0]:,}. Look whether accents are right."
    text, notes = _plain("\n".join(lines))
    return text, [note, *notes]


def _plain(text: str) -> tuple[str, list[str]]:
    """Text with Unix line ends and without NULs, which no tokenizer takes; refused when full of what no text has."""
    sample, notes = text[:100_000], list[str]()
    if (
        sum(sample.count(character) for character in _CONTROL) > len(sample) / 200
        or sample.count("\0") > len(sample) / 10
    ):
        _refuse_binary()
    if nulls := text.count("\0"):
        count = "1 NUL character was" if nulls == 1 else f"{nulls:,} NUL characters were"
        notes.append(f"{count} left out.")
        text = text.replace("\0", "")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def read_csv(text: str, separator: str | None = None) -> Iterator[Row]:
    """Rows under the names of the first line. The separator is the one that the first line has most of."""
    first = text.lstrip("\n").partition("\n")[0]
    separator = separator or max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    names: list[str] = []
    line = 1
    try:
        for cells in reader:
            line, start = reader.line_num + 1, line
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = _header(cells)
                continue
            if len(cells) > len(names):
                raise BadInput(
                    f"Line {start:,} has {len(cells):,} cells where the first line names {len(names):,} columns.",
                    f"Put texts that hold “{_shown(separator)}” in quotation marks.",
                )
            yield dict(zip(names, [*cells, *[None] * (len(names) - len(cells))], strict=True))
    except csv.Error as error:
        if "field larger" in str(error):
            _refuse_cell(f"Line {line:,}", None)
        raise BadInput(
            f"The table breaks off in line {line:,}: a quotation mark is not closed, or text follows a closed one.",
            'Write a quotation mark inside a text twice ("").',
        ) from error


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    names = [name or f"column {number}" for number, name in enumerate(names, start=1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(
            f"Two columns are called “{twice[:60]}”.", "Give each column a name of its own in the first line."
        )
    return names


def _shown(separator: str) -> str:
    return "tab" if separator == "\t" else separator


def read_json(text: str) -> list[Row]:
    """JSON Lines, a JSON list of objects, or an object whose only list is the rows."""
    if text.lstrip().startswith("["):
        return _json_rows(_json_whole(text))
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    first = _json_line(*lines[0], len(lines) > 1 and not lines[0][1].rstrip().endswith("}"))
    if first is None:  # an object that goes over several lines
        value = _json_whole(text)
        lists = [item for item in value.values() if isinstance(item, list)] if isinstance(value, dict) else []
        return _json_rows(lists[0] if len(lists) == 1 else value)
    if len(lines) == 1 and isinstance(first, dict) and len(first) == 1 and isinstance(next(iter(first.values())), list):
        inner = next(iter(first.values()))
        if inner and isinstance(inner[0], dict) and not {"role", "from"} & set(inner[0]):
            return _json_rows(inner)
    rows = []
    for number, line in lines:
        row = _json_line(number, line)
        if not isinstance(row, dict):
            raise BadInput(f"Line {number:,} is no JSON object.", 'Write each row as {"column": "value", …}.')
        rows.append(row)
    return rows


def _json_line(number: int, line: str, whole: bool = False) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        if whole:
            return None
        column = error.colno if isinstance(error, json.JSONDecodeError) else 1
        _refuse_json(number, f"it cannot be read on from character {column:,}")


def _json_whole(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        _refuse_json(error.lineno, f"it cannot be read on from character {error.colno:,}")
    except RecursionError:
        _refuse_json(1, "it is nested too deeply")


def _json_rows(value: Any) -> list[Row]:
    if not isinstance(value, list):
        raise BadInput("The file holds one JSON object and no list of rows.", "Write one object a line, or a list.")
    for number, row in enumerate(value, start=1):
        if not isinstance(row, dict):
            raise BadInput(f"Row {number:,} is no JSON object.", 'Write each row as {"column": "value", …}.')
    return value


def _read_parquet(path: Path) -> Table:
    """Streamed, so that a small file that unpacks to an enormous one stops at the row limit."""
    from datasets import IterableDataset  # type: ignore[import-untyped]  # ships no types

    rows: list[Row] = []
    try:
        stream = IterableDataset.from_parquet(str(path))
        for row in _first(stream, MAX_ROWS + 1):
            rows.append(row)
    except (ValueError, OSError, RuntimeError) as error:
        raise BadInput("The Parquet file is damaged or cut short.", "Write it again.") from error
    return Table(rows)


def _first(rows: Iterable[Row], count: int) -> Iterator[Row]:
    for _, row in zip(range(count), rows, strict=False):
        yield dict(row)


def _refuse_cell(where: str, length: int | None, column: str = "") -> NoReturn:
    size = f"more than {MAX_CELL:,}" if length is None else f"{length:,}"
    of = f" in column “{column[:60]}”" if column else ""
    raise BadInput(
        f"{where} has a text of {size} characters{of}.",
        f"Split it into rows of at most {MAX_CELL:,}; in a CSV file look for a quotation mark that is not closed.",
    )


def _refuse_binary() -> NoReturn:
    raise BadInput("The file holds no readable text.", "Choose a CSV, JSON Lines, Parquet or text file.")


def _refuse_json(line: int, why: str) -> NoReturn:
    raise BadInput(f"Line {line:,} is no valid JSON: {why}.", "Mend the line, or leave it out.")
