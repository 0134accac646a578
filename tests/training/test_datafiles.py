"""Files of visitors: every kind that is read, and one sentence for every kind that is not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.training import datafiles
from core.training.datafiles import MAX_CELL, decode, read_table

ROWS = [{"text": "good day", "label": "yes"}, {"text": "bad, very bad", "label": "no"}]
CSV = 'text,label\ngood day,yes\n"bad, very bad",no\n'


def rows_of(folder: Path, name: str, data: bytes | str, **options: Any) -> list[dict[str, Any]]:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return read_table(path, **options).rows


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", CSV),
        ("a.csv", CSV.replace("\n", "\r\n")),
        ("a.csv", "\n" + CSV + "\n\n"),
        ("a.csv", "text;label\ngood day;yes\nbad, very bad;no\n"),
        ("a.tsv", "text\tlabel\ngood day\tyes\nbad, very bad\tno\n"),
        ("a.jsonl", "\n".join(json.dumps(row) for row in ROWS)),
        ("a.jsonl", "\n".join(json.dumps(row) for row in ROWS) + "\n\n"),
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps({"data": ROWS})),
        ("a.json", json.dumps({"version": 1, "data": ROWS}, indent=2)),
        ("upload", json.dumps(ROWS, indent=1)),
    ],
)
def test_a_table_is_read_from_every_format(name: str, data: str, tmp_path: Path) -> None:
    assert rows_of(tmp_path, name, data) == ROWS


def test_parquet_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list(ROWS).to_parquet(str(tmp_path / "a.parquet"))
    assert read_table(tmp_path / "a.parquet").rows == ROWS
    (tmp_path / "a.parquet").rename(tmp_path / "upload")
    assert read_table(tmp_path / "upload", "my data.csv").rows == ROWS


def test_a_text_file_is_a_row_for_each_paragraph(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "a.txt", "One\nline.\n\n\nTwo.\n") == [{"text": "One\nline."}, {"text": "Two."}]


@pytest.mark.parametrize("name", ["a.conll", "a.txt"])
def test_a_word_and_a_tag_a_line_make_sentences(name: str, tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O\n\nAnna NNP B-PER\nslept VBD O\n\nRome NNP B-LOC\n"
    expected = [{"words": ["Anna", "slept"], "tags": ["B-PER", "O"]}, {"words": ["Rome"], "tags": ["B-LOC"]}]
    assert rows_of(tmp_path, name, text, tagged_words=True) == expected


def test_cells_that_are_not_there_are_missing_not_empty(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "a.csv", "text,label\nonly a text\n") == [{"text": "only a text", "label": None}]


def test_an_array_of_one_column_with_turns_is_a_row_not_a_wrapper(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    assert rows_of(tmp_path, "a.jsonl", json.dumps(row)) == [row]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("é".encode(), "é"),
        ("é".encode("utf-8-sig"), "é"),
        ("é".encode("utf-16"), "é"),
        ("é".encode("utf-16-be").join([b"\xfe\xff", b""]), "é"),
    ],
)
def test_unicode_is_decoded_by_its_mark(data: bytes, text: str) -> None:
    assert decode(data) == (text, [])


def test_lines_of_another_encoding_are_read_and_named() -> None:
    text, notes = decode("text\ncafé\n".encode() + "naïve\n“quoted”\n".encode("cp1252"))
    assert text == "text\ncafé\nnaïve\n“quoted”\n"
    assert notes == ["2 lines are not UTF-8 and read as Windows-1252, first line 3. Look whether accents are right."]


BAD: list[tuple[str, str, bytes | str, str]] = [
    ("nothing", "a.csv", "", "The file is empty."),
    ("blank lines", "a.csv", "\n \n\n", "nothing but blank lines"),
    ("names only", "a.csv", "text,label\n", "The file has no rows."),
    ("too many cells", "a.csv", "text,label\na,b\none, two,c\n", "Line 3 has 3 cells where the first line names 2"),
    ("an open quote", "a.csv", 'text,label\na,b\n"never closed,c\nd,e\n', "The table breaks off in line 3"),
    ("two columns of one name", "a.csv", "text,text\na,b\n", "Two columns are called “text”"),
    ("a broken line", "a.jsonl", '{"a": 1}\n{"a": 2}\n{"a": \n{"a": 4}', "Line 3 is no valid JSON"),
    ("a line that is no object", "a.jsonl", '{"a": 1}\n[2]\n', "Line 2 is no JSON object"),
    ("a broken list", "a.json", '[\n{"a": 1},\n{"a" 2}\n]', "Line 3 is no valid JSON"),
    ("a list of numbers", "a.json", "[1, 2]", "Row 1 is no JSON object"),
    ("one object", "a.json", '{\n"a": 1,\n"b": 2\n}', "no list of rows"),
    ("an empty list", "a.json", "[]", "The file has no rows."),
    ("no JSON at all", "a.jsonl", "text,label\n", "Line 1 is no valid JSON"),
    ("depth", "a.json", "[" * 100_000, "Line 1 is no valid JSON"),
    ("binary junk", "a.csv", bytes(range(256)) * 8, "no readable text"),
    ("zeros", "a.jsonl", bytes(1000), "no readable text"),
    ("half of UTF-16", "a.csv", b"\xff\xfea", "no readable text"),
    ("a workbook", "a.csv", b"PK\x03\x04" + bytes(50), "an Excel workbook"),
    ("an archive", "a.jsonl", gzip.compress(b"{}"), "a gzip archive"),
    ("a document", "a.txt", b"%PDF-1.7 \xff", "a PDF document"),
    ("no parquet", "a.parquet", CSV, "no Parquet file"),
    ("a cut parquet", "a.parquet", b"PAR1" + bytes(100), "damaged or cut short"),
    ("a word without a tag", "a.conll", "Anna B-PER\nslept\n", "Line 2 has a word without a tag"),
    ("a huge cell", "a.csv", "text,label\na,b\n" + "x" * 1_000_000 + ",c\n", "Line 3 has a text of more than 131,072"),
    ("a huge text", "a.json", json.dumps([{"a": "x" * 1_000_000}]), "Row 1 has a text of 1,000,000 characters in"),
]


@pytest.mark.parametrize(("name", "data", "sentence"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_file_gets_one_sentence_and_what_to_do(
    name: str, data: bytes | str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as caught:
        rows_of(tmp_path, name, data)
    assert sentence in caught.value.what
    assert caught.value.todo.endswith(".")
    assert len(str(caught.value)) < 300


def test_the_longest_cell_is_still_read(tmp_path: Path) -> None:
    text = "x" * MAX_CELL
    assert rows_of(tmp_path, "a.csv", f"text\n{text}\n") == [{"text": text}]
    assert rows_of(tmp_path, "a.jsonl", json.dumps({"text": text})) == [{"text": text}]


def test_rows_beyond_the_limit_are_left_out_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datafiles, "MAX_ROWS", 3)
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "".join(f"{i}\n" for i in range(5)))
    table = read_table(path)
    assert [row["text"] for row in table.rows] == ["0", "1", "2"]
    assert table.notes == ["The file has 5 rows; the first 3 are used."]
