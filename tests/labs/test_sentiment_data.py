"""What a sentiment run reads: files as people have them, columns, labels in a model's words, a Hub dataset of pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.labs.sentiment.labels import match_labels
from core.labs.sentiment.material import Reader, read_labelled, read_texts
from core.labs.sentiment.request import SentimentRequest
from core.runtime.uploads import Uploads
from core.settings import MIB, Settings
from tests.training.test_data_hub import HubOfSets, serving

OWNER = "0" * 64
ASKED: dict[str, Any] = {"data": "upload:0123456789abcdef"}


def reader(folder: Path, name: str, content: str | bytes) -> Reader:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Reader(Settings(home=folder, offline=True), lambda _: (path, name))


def test_a_table_without_labels_is_read_by_its_usual_or_named_column(tmp_path: Path) -> None:
    table = reader(tmp_path, "a.csv", "id,review,title\n1,Good.,x\n2,,y\n3,Bad.,z\n")
    found = read_texts(SentimentRequest(**ASKED), table)
    assert found.items == ("Good.", "Bad.")
    assert found.rows[1] == {"id": "3", "review": "Bad.", "title": "z"}
    assert found.notes == ("1 row without a text was left out.",)
    assert read_texts(SentimentRequest(**ASKED, text_column="title"), table).items == ("x", "y", "z")
    pairs = read_texts(SentimentRequest(**ASKED, text_column="title", pair_column="review"), table)
    assert pairs.items == (("x", "Good."), ("z", "Bad."))
    with pytest.raises(BadInput, match=r"no column “nothing”\. The data has these columns: “id”, “review”, “title”"):
        read_texts(SentimentRequest(**ASKED, text_column="nothing"), table)
    unknown = reader(tmp_path, "b.csv", "one,two\n1,2\n")
    with pytest.raises(BadInput, match=r"No column of texts was recognised.*“one”, “two”"):
        read_texts(SentimentRequest(**ASKED), unknown)
    assert read_texts(SentimentRequest(**ASKED), reader(tmp_path, "c.csv", "anything\nyes\n")).items == ("yes",)


def test_bytes_as_people_have_them(tmp_path: Path) -> None:
    mixed = "text\ncafé\n".encode() + "naïve\n".encode("latin-1")
    found = read_texts(SentimentRequest(**ASKED), reader(tmp_path, "a.csv", mixed))
    assert found.items == ("café", "naïve")
    assert "Windows-1252" in found.notes[0]
    odd = json.dumps({"text": "a\0b <script>"}) + "\n" + json.dumps({"text": "שלום 😀"}) + "\n"
    assert read_texts(SentimentRequest(**ASKED), reader(tmp_path, "b.jsonl", odd)).items == ("ab <script>", "שלום 😀")
    with pytest.raises(BadInput, match="no readable text"):
        read_texts(SentimentRequest(**ASKED), reader(tmp_path, "c.csv", b"text\n\0\0\0\n"))
    with pytest.raises(BadInput, match="Excel"):
        read_texts(SentimentRequest(**ASKED), reader(tmp_path, "d.csv", b"PK\x03\x04...."))


def test_a_file_beyond_the_limit_is_refused_with_the_limit_named(tmp_path: Path) -> None:
    assert Settings().upload_bytes == 50 * MIB
    big = tmp_path / "big.csv"
    big.write_bytes(b"text\n" + b"x" * MIB)
    with pytest.raises(BadInput, match="larger than 1 MB"):
        Uploads(Settings(home=tmp_path, upload_bytes=MIB)).add(big, OWNER)


def test_many_rows_are_drawn_by_the_seed(tmp_path: Path) -> None:
    table = reader(tmp_path, "a.csv", "text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(40)))
    one, again, other = (
        read_labelled(SentimentRequest(**ASKED, rows=10, seed=seed), table).items for seed in (1, 1, 2)
    )
    assert one == again != other
    assert list(one) == sorted(one, key=lambda text: int(str(text)[5:]))
    found = read_labelled(SentimentRequest(**ASKED, rows=10), table)
    assert found.notes == ("10 of 40 rows are read, drawn by the seed.",)


def test_labels_are_matched_by_name_then_by_order() -> None:
    labels = ("negative", "positive")
    named = match_labels(["POS", "Negative", "POS"], labels, "M")
    assert (named.numbers, named.unknown) == ({"POS": 1, "Negative": 0}, ())
    assert named.notes == ("“POS” is read as “positive”.",)
    some = match_labels(["positive", "neutral"], labels, "M")
    assert (some.numbers, some.unknown) == ({"positive": 1}, ("neutral",))
    assert match_labels(["0", "1"], labels, "M").numbers == {"0": 0, "1": 1}
    assert "in" not in match_labels(["0"], labels, "M").unknown
    assert match_labels(["bad", "good"], ("LABEL_0", "LABEL_1"), "M").numbers == {"bad": 0, "good": 1}
    by_classes = match_labels(["yes", "no"], ("LABEL_0", "LABEL_1"), "M", ("yes", "no"))
    assert by_classes.numbers == {"yes": 0, "no": 1}
    with pytest.raises(BadInput, match="has the labels “ham”, “spam”; M knows “negative”, “positive”"):
        match_labels(["ham", "spam"], labels, "M")
    with pytest.raises(BadInput, match="“5”"):
        match_labels(["0", "5"], labels, "M")


MRPC = "idx,sentence1,sentence2,label\n0,A cat sat.,A cat was sitting.,1\n1,It rains.,He sings.,0\n"
CARD = """---
configs:
- config_name: mrpc
  data_files: [{split: train, path: mrpc/train.csv}, {split: validation, path: mrpc/validation.csv}]
- config_name: sst2
  data_files: [{split: train, path: other.csv}]
dataset_info:
- config_name: mrpc
  features:
  - {name: idx, dtype: int32}
  - {name: sentence1, dtype: string}
  - {name: sentence2, dtype: string}
  - name: label
    dtype:
      class_label: {names: {'0': not_equivalent, '1': equivalent}}
---
"""
CODE = """
import json, sys
from pathlib import Path
from core.labs.sentiment.material import Reader, read_labelled, read_texts
from core.labs.sentiment.request import SentimentRequest
from core.settings import Settings
from core.training.columns import Columns
from core.training.datasets import DataSource, open_data
from core.training.parameters import Task
settings, name = Settings(home=Path(sys.argv[1])), "nyu-mll/glue:mrpc"
prepared = open_data(DataSource("hub", name), Columns(), Task.CLASSIFICATION, 0.2, 7)
request = SentimentRequest(data=name)
known, texts = read_labelled(request, Reader(settings)), read_texts(request, Reader(settings))
print(json.dumps([prepared.form, prepared.labels, prepared.train.to_list(), len(prepared.validation),
                  known.items, known.gold, known.spare, known.classes, texts.items, known.notes]))
"""


def test_mrpc_by_its_hub_name_trains_and_evaluates_on_pairs(tmp_path: Path) -> None:
    held = MRPC.replace("sat", "slept")
    files = {"README.md": CARD, "mrpc/train.csv": MRPC, "mrpc/validation.csv": held, "other.csv": "text,label\na,1\n"}
    with serving(HubOfSets({"nyu-mll/glue": files})) as endpoint:
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=False, env=environment
        )
    assert done.returncode == 0, done.stderr[-3000:]
    form, labels, train, held_out, items, gold, spare, classes, texts, notes = json.loads(done.stdout)
    assert (form, labels, held_out) == ("labels", ["not_equivalent", "equivalent"], 2)
    assert train[0] == {"text": "A cat sat.", "text_pair": "A cat was sitting.", "label": 1}
    assert items == texts == [["A cat slept.", "A cat was sitting."], ["It rains.", "He sings."]]
    assert gold == ["equivalent", "not_equivalent"]
    assert classes == labels
    assert spare[0] == [["A cat sat.", "A cat was sitting."], "equivalent"]
    assert notes == ["Validation rows are the dataset's own split “validation”."]
