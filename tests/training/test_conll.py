"""Files of tagged words as visitors have them: which columns, which comments, which tags, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.training.columns import Columns
from core.training.conll import layout, read_conll
from core.training.datafiles import read_table
from core.training.datasets import DataSource, Prepared, open_data
from core.training.parameters import Task
from core.training.tags import mend_tags

TWO = "Anna\tB-PER\nslept\tO\n\nRome\tB-LOC\n"
ROWS = [{"words": ["Anna", "slept"], "tags": ["B-PER", "O"]}, {"words": ["Rome"], "tags": ["B-LOC"]}]
CONLL_2003 = "-DOCSTART- -X- -X- O\n\nAnna NNP B-NP B-PER\nslept VBD B-VP O\n\nRome NNP B-NP B-LOC\n"
UNER = (
    "# newdoc id = a\n# sent_id = a-1\n# text = Anna slept\n1\tAnna\tB-PER\t-\tjo\n2\tslept\tO\t-\t-\n\n"
    "# sent_id = a-2\n1-2\tRome's\t-\t-\t-\n1\tRome\tB-LOC\t-\tjo\n"
)


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        TWO.replace("\t", " "),
        TWO.replace("slept\t", "slept "),
        TWO.replace("\t", " \t "),
        TWO.replace("\n\n", "\n  \t \n\n"),
        "# a comment\n" + TWO + "# text = Rome is here\n",
        CONLL_2003,
        CONLL_2003.replace(" B-NP ", "\tB-NP "),
        UNER,
        UNER.replace("2\tslept\tO\t-\t-", "2\tslept\tO"),
        "\n\n" + TWO.removesuffix("\n"),
        "1\tAnna\t_\tNNP\tB-PER\n2\tslept\t_\tVBD\tO\n\n1\tRome\t_\tNNP\tB-LOC\n",
    ],
)
def test_words_and_tags_are_found_in_every_usual_layout(text: str) -> None:
    assert list(read_conll(text)) == ROWS


def test_line_ends_and_old_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes("Zo\xeb\tB-PER\r\nslept\tO\r\n\r\nRome\tB-LOC\r\n".encode("latin-1"))
    table = read_table(path)
    assert table.rows == [{"words": ["Zoë", "slept"], "tags": ["B-PER", "O"]}, ROWS[1]]
    assert "Windows-1252, first line 1" in table.notes[0]


def test_nuls_in_a_text_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.iob2"
    path.write_text(TWO.replace("Anna", "An\0na\0") * 200, encoding="utf-8")
    table = read_table(path)
    assert table.rows[0] == ROWS[0]
    assert table.notes == ["400 NUL characters were left out."]
    path.write_bytes(b"\0A\0n\0n\0a" * 50)
    with pytest.raises(BadInput, match="no readable text"):
        read_table(path)


def test_mixed_tabs_and_spaces_are_counted() -> None:
    notes: list[str] = []
    assert list(read_conll(TWO.replace("slept\t", "slept "), notes)) == ROWS
    assert notes == ["2 lines part their columns by tabs and 1 by spaces; both are read."]


def test_words_that_begin_with_a_hash_are_words_and_comments_are_not() -> None:
    text = "# id 7\n#UN\tB-ORG\n#\tO\nsays\tO\n# newdoc\n#hunger\tO\n"
    assert list(read_conll(text)) == [{"words": ["#UN", "#", "says", "#hunger"], "tags": ["B-ORG", "O", "O", "O"]}]


def test_words_with_spaces_stay_whole_between_tabs() -> None:
    text = "New York\tB-LOC\nis\tO\nbig\tO\n"
    assert next(read_conll(text))["words"] == ["New York", "is", "big"]


def test_other_tags_than_entities() -> None:
    text = "1\tAnna\tAnna\tPROPN\tNNP\t_\t2\tnsubj\t_\t_\n2\tslept\tsleep\tVERB\tVBD\t_\t0\troot\t_\t_\n"
    assert next(read_conll(text)) == {"words": ["Anna", "slept"], "tags": ["PROPN", "VERB"]}
    assert not layout(text).iob
    assert next(read_conll("Anna NNP\nslept VBD\n"))["tags"] == ["NNP", "VBD"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Anna B-PER\nslept\n", 2),
        (CONLL_2003.replace(" O\n\nRome", "\n\nRome"), 4),
        (UNER.replace("2\tslept\tO\t-\t-", "2\tslept"), 5),
        ("Anna\tB-PER\nslept\t\nwell\tO\n", 2),
    ],
)
def test_a_word_without_its_tag_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(BadInput, match=f"Line {line} has a word without a tag"):
        list(read_conll(text))


def test_a_tag_without_a_word_is_left_out_and_counted() -> None:
    notes: list[str] = []
    assert list(read_conll("Anna\tB-PER\n\tO\n \tO\nslept\tO\n", notes)) == ROWS[:1]
    assert notes == ["2 lines have a tag and no word, and were left out."]


def opened(folder: Path, text: str) -> Prepared:
    path = folder / "tags.conll"
    path.write_text(text, encoding="utf-8")
    return open_data(DataSource("file", path.name, path), Columns(), Task.TOKENS, 0.3, 7)


def test_first_form_tags_are_trained_as_second_form_and_a_note_says_so(tmp_path: Path) -> None:
    prepared = opened(tmp_path, "Anna I-PER\nLee I-PER\nBo B-PER\nran O\n\n" * 4)
    assert prepared.labels == ("O", "B-PER", "I-PER")
    assert prepared.train[0]["tags"] == [1, 2, 1, 0]
    assert prepared.notes == ("The tags are IOB1, where an entity begins with I-: 4 of them became B-, as in IOB2.",)


def test_faulty_tags_are_counted_explained_and_trained(tmp_path: Path) -> None:
    prepared = opened(tmp_path, "Anna I-PER\nran O\n\n" + "Bo B-PER\nran O\nin O\nRome I-LOC\n\n" * 3)
    assert prepared.labels == ("O", "I-LOC", "B-PER", "I-PER")
    assert len(prepared.notes) == 3
    assert "begins a sentence with I-" in prepared.notes[0]
    assert "“I-PER” is word 1 of sentence" in prepared.notes[0]
    assert prepared.notes[1].startswith("3 tags stand behind O with I-")


@pytest.mark.parametrize("tags", [[["O", "B-PER", "I-PER"]], [["NN", "VB"]], [[0, 1, 2]], [[1, "I-PER"]]])
def test_tags_that_need_nothing_are_left_alone(tags: list[list[Any]]) -> None:
    rows = [{"words": ["a"] * len(row), "tags": list(row)} for row in tags]
    assert mend_tags(rows) == []
    assert [row["tags"] for row in rows] == tags
