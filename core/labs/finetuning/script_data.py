"""The part of an exported training script that reads the data: the same rows, split in the same way, in plain Python.

The data is opened here to learn its columns, labels and split; what the script then does with a clean file gives the
very rows of the run. Cells that the run had to clean (control characters, lines of another encoding) may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.labs.finetuning import script_text
from core.labs.finetuning.request import FinetuningRequest
from core.settings import Settings
from core.training.columns import Columns, Dropped, Plan, is_missing, plan_columns
from core.training.conll import TAG, layout
from core.training.datafiles import (
    CONLL_SUFFIXES,
    SEPARATORS,
    TEXT_SUFFIXES,
    Table,
    decode,
    looks_like_conll,
    read_table,
)
from core.training.datasets import DataSource, Prepared, find_source, open_data
from core.training.encoding import language_data, room
from core.training.parameters import Task
from core.training.tags import is_first_form


@dataclass(slots=True)
class DataPart:
    """Lines of the script, and what its other parts must know of the data."""

    form: str
    bundled: bool
    max_length: int
    settings: dict[str, Any] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    from_datasets: set[str] = field(default_factory=set)


def data_part(
    request: FinetuningRequest,
    model: Path,
    token: str | None,
    upload: Callable[[str], tuple[Path, str]] | None,
    settings: Settings,
) -> DataPart:
    """What reads ``request.data``. ``model`` is the folder whose tokenizer encodes the rows."""
    from transformers import AutoTokenizer

    source = find_source(request.data, settings, upload=upload, token=token)
    columns = Columns(request.text_column, request.target_column)
    prepared = open_data(source, columns, request.task, request.validation_share, request.seed)
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    part = DataPart(prepared.form, source.kind == "bundled", room(tokenizer, request))
    table = _table(source, request)
    first = {n: next((r[n] for r in table.rows[:1000] if not is_missing(r.get(n))), None) for n in table.names}
    plan = plan_columns(table.names, first, columns, request.task)
    _reading(part, source)
    _rows(part, plan, prepared, table)
    _splitting(part, prepared, own_validation=bool(plan.rows(table.validation, Dropped())))
    if request.task is Task.LANGUAGE:
        data = language_data(prepared, tokenizer, request)
        part.settings = data.settings
        if prepared.form == "messages" and "prompt" in data.train.column_names:
            plain = isinstance(data.train[0]["prompt"], str)
            part.code.append(script_text.PLAIN_EXCHANGE if plain else script_text.EXCHANGE)
    return part


def _table(source: DataSource, request: FinetuningRequest) -> Table:
    if source.kind == "hub":
        from core.training.hub_datasets import read_hub

        return read_hub(source.name, source.token, request.seed, offline=source.offline, public=source.public)
    assert source.path is not None
    return read_table(source.path, source.name if source.kind == "file" else "", tagged_words=_words(request))


def _words(request: FinetuningRequest) -> bool:
    return request.task is Task.TOKENS


def _reading(part: DataPart, source: DataSource) -> None:
    """How the file or the dataset becomes rows."""
    part.modules.add("random")
    if source.kind == "hub":
        name, _, config = source.name.partition(":")
        part.from_datasets.add("load_dataset")
        part.constants.append(f"DATA = {[name, *([config] if config else [])]!r}")
        part.code.append(script_text.HUB)
        return
    assert source.path is not None
    if source.kind == "bundled":
        kind, encoding, separator = "json lines", "utf-8", ","
        part.constants.append(f"DATA = {f'assets/datasets/{source.name}/data.jsonl'!r}")
    else:
        kind, encoding, separator = file_kind(source.path, source.name, words=part.form == "tags")
        part.constants.append(f"DATA = {source.name!r}  # the uploaded file: put it beside this script")
    if kind == "csv":
        part.modules.add("csv")
    text = script_text.READERS[kind].replace("ENCODING", repr(encoding)).replace("SEPARATOR", repr(separator))
    part.code.append(_tagged_words(part, text, source.path) if kind == "conll" else text)


def _tagged_words(part: DataPart, text: str, path: Path) -> str:
    """The reader of tagged words for the columns that this file has."""
    content, _ = decode(path.read_bytes())
    how = layout(content)
    spaced = 'line.replace("\\t", " ").split(" ")'
    kept = ["len(cells) > 1", *(["cells[0].isdecimal()"] if how.word else [])]
    if any(line.startswith("#") for line in content.split("\n")):
        kept.append("not is_comment(cells)")
        part.modules.add("re")
        comment = script_text.COMMENT.replace("COLUMNS", str(how.columns))
        text = comment.replace("TAG_PATTERN", repr(TAG if how.iob else ".*")) + text
    parts = f'(line.split("\\t") if "\\t" in line else {spaced})' if how.tabs else spaced
    for name, value in (("PARTS", parts), ("KEPT", " and ".join(kept)), ("WORD_AT", how.word), ("TAG_AT", how.tag)):
        text = text.replace(name, str(value))
    return text


def file_kind(path: Path, title: str, *, words: bool) -> tuple[str, str, str]:
    """Which reader a file needs, its encoding, and for a table what parts its cells."""
    data = path.read_bytes()
    if data.startswith(b"PAR1"):
        return "parquet", "", ""
    encoding = _encoding(data)
    text = data.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
    suffix = Path(title).suffix.lower()
    if suffix in CONLL_SUFFIXES or (words and suffix in (*TEXT_SUFFIXES, ".tsv") and looks_like_conll(text)):
        return "conll", encoding, ""
    if suffix in TEXT_SUFFIXES:
        return "text", encoding, ""
    start = text.lstrip()
    if suffix not in (".csv", ".tsv") and start[:1] in ("[", "{"):
        whole = start.startswith("[") or not start.partition("\n")[0].rstrip().endswith("}")
        return "json" if whole else "json lines", encoding, ""
    first = text.lstrip("\n").partition("\n")[0]
    return "csv", encoding, "\t" if suffix == ".tsv" else max(SEPARATORS, key=first.count)


def _encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"


def _rows(part: DataPart, plan: Plan, prepared: Prepared, table: Table) -> None:
    """From the columns there are to those of the task; rows in which something is missing are left out."""
    needed = [plan.text, *([plan.pair] if plan.pair else []), *([plan.target] if plan.target else [])]
    if plan.form in ("labels", "tags"):
        part.constants.append(f"LABELS = {list(prepared.labels)!r}")
    part.code.append(script_text.FILLED)
    if plan.form == "completion":
        part.code.append(script_text.JOINED)
    if plan.form == "messages":
        part.code.append(script_text.TURNS)
    if plan.form == "tags":
        part.code.append(script_text.LIST_OF)
        if _is_iob1(plan, table):
            part.code.append(script_text.IOB2)
    if plan.form in ("labels", "tags") and not table.classes.get(plan.target):
        part.code.append(script_text.NUMBER)
    made = {
        "text": lambda: f'{{"text": str(row[{plan.text!r}])}}',
        "completion": lambda: _completion(plan),
        "messages": lambda: _messages(plan),
        "labels": lambda: _labels(plan, table),
        "tags": lambda: _tags(plan, table),
    }[plan.form]()
    condition = " and ".join(f"filled(row.get({name!r}))" for name in needed)
    if plan.form == "labels" and table.classes.get(plan.target):
        condition += f" and row[{plan.target!r}] != -1"  # how test splits mark hidden labels
    head = (
        "def canonical(rows):\n" + '    """The columns that the training takes; rows without a text are left out."""\n'
    )
    body = f"    return [\n        {made}\n        for row in rows\n        if {condition}\n    ]\n"
    part.code.append(head + body)


def _completion(plan: Plan) -> str:
    context = f", row.get({plan.context!r})" if plan.context else ""
    return f"joined(str(row[{plan.text!r}]), str(row[{plan.target!r}]){context})"


def _messages(plan: Plan) -> str:
    more = f" + turns(row[{plan.target!r}])" if plan.target else ""
    return f'{{"messages": turns(row[{plan.text!r}]){more}}}'


def _labels(plan: Plan, table: Table) -> str:
    pair = f', "text_pair": str(row[{plan.pair!r}])' if plan.pair else ""
    return f'{{"text": str(row[{plan.text!r}]){pair}, "label": {_number(f"row[{plan.target!r}]", plan, table)}}}'


def _tags(plan: Plan, table: Table) -> str:
    number = _number("tag", plan, table)
    tags = f"list_of(row[{plan.target!r}])"
    tags = f"iob2({tags})" if _is_iob1(plan, table) else tags
    return f'{{"words": list_of(row[{plan.text!r}]), "tags": [{number} for tag in {tags}]}}'


def _is_iob1(plan: Plan, table: Table) -> bool:
    """Whether the run rewrites the tags of this data as IOB2."""
    return is_first_form([row["tags"] for row in plan.rows([*table.rows, *table.validation], Dropped())])


def _number(value: str, plan: Plan, table: Table) -> str:
    """A label's number: as it stands where the data names its numbers, else its place among the names."""
    return value if table.classes.get(plan.target) else f"number_of({value})"


def _splitting(part: DataPart, prepared: Prepared, own_validation: bool) -> None:
    """Which rows are kept out: the data's own validation split, or some drawn by the seed."""
    count = len(prepared.validation)
    if own_validation:
        part.constants.append(f"VALIDATION_ROWS = {count}  # at most")
        part.code.append(script_text.OWN_SPLIT)
        return
    part.code.append("rows = canonical(read(TRAIN))" if part.from_datasets else "rows = canonical(read(DATA))")
    if prepared.form == "labels":
        counts = Counter(prepared.validation["label"])
        values = [counts.get(i, 0) for i in range(len(prepared.labels))]
        part.constants.append(f"VALIDATION_ROWS = {values!r}  # kept out, of each label")
        part.code.append(script_text.SPLIT_BY_LABEL)
    else:
        part.constants.append(f"VALIDATION_ROWS = {count}  # kept out")
        part.code.append(script_text.SPLIT)
