"""What an entities run reads: documents to find entities in, or sentences whose tags are known.

Promises: a file is read as what its ending says, with the encoding that its bytes have; what cannot be read is refused
with a sentence that says what to do. Documents hold no NUL and no half characters. Tags come back as IOB2 names; how
other names and other schemes were read is said in a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.labs.entities.choices import DOCUMENTS, TEXT
from core.labs.entities.request import MOST_CHARACTERS, EntitiesRequest
from core.labs.entities.schemes import from_bioes, type_called
from core.runtime.run_context import RunContext
from core.settings import Settings
from core.training.columns import TEXTS, Columns, Dropped, as_text, plan_columns
from core.training.datafiles import CONLL_SUFFIXES, TEXT_SUFFIXES, Table, decode, read_conll
from core.training.datasets import DataSource, drawn, find_source, first_filled, read_source
from core.training.parameters import Task

MOST_WORDS = 2_000
"""Words of one labelled sentence; a longer one is a file whose blank lines were lost."""
_WORDS = ("words", "tokens")


@dataclass(frozen=True, slots=True)
class Document:
    """A text and what it is called."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Documents:
    """What to find entities in, and what the visitor should know of it."""

    documents: tuple[Document, ...]
    source: str
    notes: tuple[str, ...] = ()

    @property
    def characters(self) -> int:
        return sum(len(document.text) for document in self.documents)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Sentences as words, each with its tag."""

    words: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    source: str
    notes: tuple[str, ...] = field(default=())


def documents_of(request: EntitiesRequest, settings: Settings, context: RunContext) -> Documents:
    """What a request reads. Raises ``BadInput`` for nothing to read, or more than one run takes."""
    if request.data == TEXT:
        found = Documents((Document("Your text", request.text),), "your text")
    elif request.data == DOCUMENTS:
        found = _uploaded(request, settings, context)
    else:
        found = _rows(request, settings, context)
    if not any(document.text.strip() for document in found.documents):
        raise BadInput("There is nothing to read in this data.", "Choose another file, or another column.")
    if found.characters > MOST_CHARACTERS:
        raise BadInput(
            f"That is {found.characters:,} characters of text; a run reads at most {MOST_CHARACTERS:,}.",
            "Split it, or choose fewer documents.",
        )
    return found


def _uploaded(request: EntitiesRequest, settings: Settings, context: RunContext) -> Documents:
    made: list[Document] = []
    notes: list[str] = []
    for name in request.documents:
        source = _source(name, settings, context)
        assert source.path is not None
        if Path(source.name).suffix.lower() in (*TEXT_SUFFIXES, *CONLL_SUFFIXES, ""):
            document, said = _one_document(source.path, source.name)
            made.append(document)
            notes += [f"{source.name}: {note}" for note in said]
        else:
            table = read_source(source, Task.TOKENS, request.seed)
            made += _documents_of(table, request, source.name)
            notes += [f"{source.name}: {note}" for note in table.notes]
    count = len(made)
    return Documents(tuple(made), f"{count} document{'s' if count != 1 else ''}", tuple(notes))


def _one_document(path: Path, name: str) -> tuple[Document, list[str]]:
    """A text file as it is; a CoNLL file as its words, a sentence a line."""
    text, notes = decode(path.read_bytes())
    if Path(name).suffix.lower() in CONLL_SUFFIXES:
        text = "\n".join(" ".join(row["words"]) for row in read_conll(text))
    if "\0" in text:
        text, notes = text.replace("\0", ""), [*notes, "NUL characters were left out."]
    return Document(name, text), notes


def _rows(request: EntitiesRequest, settings: Settings, context: RunContext) -> Documents:
    source = _source(request.data, settings, context)
    if source.kind == "file" and Path(source.name).suffix.lower() in (*TEXT_SUFFIXES, *CONLL_SUFFIXES):
        assert source.path is not None
        document, notes = _one_document(source.path, source.name)
        return Documents((document,), source.name, tuple(notes))
    table = read_source(source, Task.TOKENS, request.seed)
    rows = _documents_of(table, request, source.name)
    return Documents(tuple(rows), source.name, tuple(table.notes))


def _documents_of(table: Table, request: EntitiesRequest, name: str) -> list[Document]:
    """Each row a document: its words, or the text in the column that was named or is usual."""
    names = {column.lower(): column for column in reversed(table.names)}
    chosen = request.words_column or next((names[one] for one in (*_WORDS, *TEXTS) if one in names), "")
    if not chosen and len(table.names) == 1:
        chosen = table.names[0]
    if chosen not in table.names:
        listed = ", ".join(f"“{column[:40]}”" for column in table.names[:12])
        what = f"There is no column “{chosen[:60]}”" if chosen else "No column of texts was recognised"
        raise BadInput(f"{what} in {name}. It has {listed}.", "Name one of them as the words column.")
    kept = drawn(len(table.rows), request.rows, request.seed, table.notes)
    made = []
    for place in kept:
        value = table.rows[place].get(chosen)
        text = " ".join(map(str, value)) if isinstance(value, list) else as_text(value, chosen, place + 1)
        made.append(Document(f"{name}, row {place + 1:,}", as_text(text, chosen, place + 1)))
    return made


def labelled_rows(request: EntitiesRequest, settings: Settings, context: RunContext) -> Labelled:
    """Sentences with tags. Raises ``BadInput`` for data that has none."""
    source = _source(request.labelled, settings, context)
    table = read_source(source, Task.TOKENS, request.seed)
    rows = table.validation or table.rows
    columns = Columns(request.words_column, request.tags_column)
    plan = plan_columns(table.names, first_filled(rows), columns, Task.TOKENS)
    dropped = Dropped()
    made = plan.rows(rows, dropped)
    notes = [*table.notes, *dropped.notes()]
    if not made:
        raise BadInput("No sentence of this data can be used.", "Choose data with words and a tag for each.")
    made = [made[place] for place in drawn(len(made), request.rows, request.seed, notes)]
    longest = max(len(row["words"]) for row in made)
    if longest > MOST_WORDS:
        raise BadInput(
            f"A sentence has {longest:,} words; at most {MOST_WORDS:,} are read as one.",
            "Part the sentences by blank lines.",
        )
    classes = table.classes.get(plan.target)
    tags, said = _iob2([[_name(tag, classes) for tag in row["tags"]] for row in made])
    words = tuple(tuple(row["words"]) for row in made)
    return Labelled(words, tags, source.name, (*notes, *said))


def _source(name: str, settings: Settings, context: RunContext) -> DataSource:
    return find_source(name, settings, upload=context.upload, token=context.secret)


def _name(tag: Any, classes: Sequence[str] | None) -> str:
    if isinstance(tag, int):
        if not classes or not 0 <= tag < len(classes):
            raise BadInput(
                f"The tags are numbers ({tag}) and the data does not name them.", "Write tags as B-PER, I-PER and O."
            )
        return classes[tag]
    return str(tag)


def _iob2(rows: list[list[str]]) -> tuple[tuple[tuple[str, ...], ...], list[str]]:
    """Tags of BIOES and BILOU as IOB2, and a type without a prefix refused. What is invalid as IOB2 stays as it is."""
    used = {tag for row in rows for tag in row}
    strange = sorted(tag for tag in used if tag != "O" and not re.fullmatch(r"[BIESUL]-.+", tag))
    if strange:
        shown = ", ".join(f"“{tag[:30]}”" for tag in strange[:5])
        raise BadInput(
            f"{len(strange):,} of the tags have no B- or I- before the type, such as {shown}.",
            "Write tags in IOB2: B- begins an entity, I- continues it, O is outside. Or choose another tags column.",
        )
    if all(tag == from_bioes(tag) for tag in used):
        return tuple(tuple(row) for row in rows), []
    made = tuple(tuple(from_bioes(tag) for tag in row) for row in rows)
    return made, ["The tags mark the ends of entities too (BIOES or BILOU); they are read as IOB2."]


def in_the_models_words(labelled: Labelled, known: Sequence[str]) -> Labelled:
    """The same with types called as the model calls them. Raises ``BadInput`` when not one of them is known."""
    types = {label[2:] for label in known if label[1:2] == "-"}
    used = sorted({tag[2:] for row in labelled.tags for tag in row if tag != "O"})
    called = {kind: type_called(kind, types) for kind in used}
    if used and types and not any(called[kind] in types for kind in used):
        raise BadInput(
            f"The data has the types {', '.join(used[:8])}; the model knows {', '.join(sorted(types)[:8])}.",
            "Choose a model that was trained on these types, or rename them in the file.",
        )
    tags = tuple(tuple(tag if tag == "O" else f"{tag[:2]}{called[tag[2:]]}" for tag in row) for row in labelled.tags)
    return Labelled(labelled.words, tags, labelled.source, (*labelled.notes, *_renamed(called, types)))


def _renamed(called: dict[str, str], types: set[str]) -> Iterator[str]:
    changed = [f"{kind} as {name}" for kind, name in called.items() if kind != name]
    if changed:
        yield f"Types of the data are read in the model's words: {', '.join(changed[:8])}."
    unknown = [name for name in called.values() if name not in types]
    if unknown:
        listed = ", ".join(sorted(set(unknown))[:8])
        yield f"The model does not know {listed}: it cannot find those, and they count as missed."
