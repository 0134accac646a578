"""The Entities lab's request: what it refuses, what it reads, and its presets."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from core.labs.entities.choices import DOCUMENTS, Mode
from core.labs.entities.presets import LESSON, PRESETS
from core.labs.entities.request import CHECK_SET, MOST_CHARACTERS, EntitiesRequest
from core.labs.entities.schemes import from_bioes, type_called

UPLOAD = "upload:0123456789abcdef"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"text": ""}, "write something to read"),
        ({"text": " \n", "mode": "strategies"}, "write a sentence"),
        ({"text": "", "mode": "alignment"}, "write a sentence"),
        ({"text": "a\0b"}, "NUL"),
        ({"text": "a\ud800b"}, "unicode"),
        ({"text": "x" * (MOST_CHARACTERS + 1)}, "at most 1000000"),
        ({"documents": (UPLOAD,)}, "only when data is"),
        ({"tokenizers": ()}, "at least 1"),
        ({"tokenizers": (" ",)}, "names no tokenizer"),
        ({"tokenizers": ("bert", "bert")}, "each can be shown once"),
        ({"minimum_score": 1.5}, "less than or equal to 1"),
        ({"max_length": 2}, "greater than or equal to 4"),
        ({"aggregation": "median"}, "'none', 'simple'"),
        ({"model": ""}, "at least 1"),
        ({"unheard": 1}, "not permitted"),
    ],
)
def test_what_cannot_be_run_is_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        EntitiesRequest.model_validate(given)


def test_what_is_evaluated() -> None:
    assert EntitiesRequest(mode=Mode.EVALUATE).labelled == CHECK_SET
    assert EntitiesRequest(mode=Mode.EVALUATE, text="").labelled == CHECK_SET
    assert EntitiesRequest(mode=Mode.EVALUATE, data=UPLOAD).labelled == UPLOAD
    assert EntitiesRequest(mode=Mode.EVALUATE, data=DOCUMENTS, documents=(UPLOAD,)).labelled == UPLOAD
    assert EntitiesRequest(mode=Mode.STRATEGIES).summary() == "Subwords to words · minilm-entities"


def test_presets_cover_every_mode_and_their_tags_fit() -> None:
    assert {preset.request.mode for preset in PRESETS} == set(Mode)
    assert len({preset.title for preset in PRESETS}) == len(PRESETS) >= 6
    assert len(LESSON) == 5
    for one in (*PRESETS, *LESSON):
        if one.request.tags:
            assert len(one.request.tags.split()) == len(one.request.text.split())


def test_other_schemes_and_names() -> None:
    assert [from_bioes(tag) for tag in ("O", "S-PER", "U-PER", "B-ORG", "I-ORG", "E-ORG", "L-ORG")] == [
        "O", "B-PER", "B-PER", "B-ORG", "I-ORG", "I-ORG", "I-ORG",
    ]  # fmt: skip
    types = {"PER", "LOC"}
    assert [type_called(kind, types) for kind in ("per", "PERSON", "GPE", "ORG", "Product")] == [
        "PER", "PER", "LOC", "ORG", "Product",
    ]  # fmt: skip


def test_the_request_loads_nothing_heavy() -> None:
    script = (
        "import sys, core.labs.entities.request, core.labs.entities.presets\n"
        "sys.exit(bool({'torch', 'transformers', 'numpy', 'seqeval', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
