"""Files of tagged words: a word a line with its tag, blank lines between sentences (CoNLL-2003, IOB2, UNER, CoNLL-U).

Promises
- Columns may be parted by tabs, spaces or both; which column holds words and which tags is found from the whole file: a
  counting first column is no word, and tags are the last column that looks like B-TYPE, I-TYPE and O, else the last.
- A line without its tag is refused with its number, one without its word is left out and counted. Comments (``# text =
  …``) and ``-DOCSTART-`` lines are skipped; a word that begins with # is a word.

Whether the tags make sense is looked at in ``tags``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.errors import BadInput
from core.training.columns import Row

DOCUMENT = "-DOCSTART-"
TAG = r"O|[BIESLU]-\S+"
_IOB = re.compile(TAG)
_INDEX = re.compile(r"\d+([-.]\d+)?")
_MOST = 0.5
"""More than this share of a column of tags looks like tags: some wrong ones are faults, not another kind of column."""
_UPOS = 3
_CONLLU = 10
"""Columns of CoNLL-U, where the universal part of speech is the fourth."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a file are to be read.

    ``tabs``: columns are parted by tabs where a line has any, so that words may hold spaces. ``word`` and ``tag`` are
    columns, ``tag`` -1 is the last. ``columns``: how many most lines have. ``iob``: the tags are of entities.
    """

    tabs: bool
    word: int
    tag: int
    columns: int
    iob: bool

    def cells(self, line: str) -> list[str]:
        """The columns of a line that are not empty."""
        parts = line.split("\t") if self.tabs and "\t" in line else line.replace("\t", " ").split(" ")
        return [part.strip() for part in parts if part.strip()]

    def is_comment(self, cells: Sequence[str]) -> bool:
        """Whether a line with # in front is a comment, rather than a word such as #UN or # with its tag."""
        if not cells[0].startswith("#"):
            return False
        tagged = len(cells) == self.columns and (not self.iob or _IOB.fullmatch(cells[self.tag]) is not None)
        return not tagged or cells[1:2] == ["="]

    def has_no_word(self, line: str, cells: Sequence[str]) -> bool:
        """Whether a line has a tag and white space in front of it, where a word of nothing visible may have stood."""
        return len(cells) == 1 and line[0].isspace() and self.iob and _IOB.fullmatch(cells[0]) is not None


def looks_like_conll(text: str) -> bool:
    """Whether the text's lines are a word and a tag each, with blank lines between the sentences."""
    lines = [line for line in text.split("\n")[:200] if line.strip() and not line.startswith("#")]
    return bool(lines) and all(2 <= len(line.split()) <= 10 for line in lines)


def layout(text: str) -> Layout:
    """How the file is to be read, from all of its lines."""
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith(("#", DOCUMENT))]
    lines = lines or [line for line in text.split("\n") if line.strip()]
    tabs = any("\t" in line for line in lines) and len({len(_spaced(line)) for line in lines}) > 1
    plain = Layout(tabs, 0, -1, 2, False)
    cells = [plain.cells(line) for line in lines]
    rows = [row for row in cells if len(row) > 1] or cells  # a column alone is a fault that the reader names
    columns = Counter(map(len, rows)).most_common(1)[0][0] if rows else 2
    word = 1 if columns > 2 and _counts(rows) else 0
    for at in range(columns - 1, word, -1):
        values = [row[at] for row in rows if len(row) > at]
        likely = sum(_IOB.fullmatch(value) is not None for value in values)
        if likely > _MOST * len(values) and len(values) > _MOST * len(rows):
            return Layout(tabs, word, at, columns, True)
    return Layout(tabs, word, _UPOS if word and columns == _CONLLU else -1, columns, False)


def _spaced(line: str) -> list[str]:
    return [part for part in line.replace("\t", " ").split(" ") if part]


def _counts(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first column numbers the words of a sentence."""
    return bool(rows) and rows[0][0].startswith(("0", "1")) and all(_INDEX.fullmatch(row[0]) for row in rows)


def read_conll(text: str, notes: list[str] | None = None) -> Iterator[Row]:
    """The sentences as ``words`` and ``tags``. What a reader should know of the file is put into ``notes``."""
    how = layout(text)
    words: list[str] = []
    tags: list[str] = []
    parted, wordless = Counter[bool](), 0
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        cells = how.cells(line)
        if not cells or cells[0] == DOCUMENT:
            if words:
                yield {"words": words, "tags": tags}
            words, tags = [], []
        elif how.has_no_word(line, cells):
            wordless += 1
        elif not how.is_comment(cells) and (not how.word or cells[0].isdecimal()):  # 3-4 are the words 3 and 4 in one
            parted["\t" in line] += 1
            words.append(_word(cells, how, number))
            tags.append(cells[how.tag].rsplit(" ", 1)[-1])
    if notes is not None:
        notes += _notes(parted, wordless)


def _notes(parted: Counter[bool], wordless: int) -> Iterator[str]:
    if len(parted) == 2:
        yield f"{parted[True]:,} lines part their columns by tabs and {parted[False]:,} by spaces; both are read."
    if wordless:
        lines = "1 line has" if wordless == 1 else f"{wordless:,} lines have"
        yield f"{lines} a tag and no word, and {'was' if wordless == 1 else 'were'} left out."


def _word(cells: Sequence[str], how: Layout, number: int) -> str:
    needed = how.columns if how.tag < 0 else how.tag + 1
    if len(cells) < max(needed, 2):
        raise BadInput(f"Line {number:,} has a word without a tag.", "Write a word, a space and its tag on each line.")
    return cells[how.word]
