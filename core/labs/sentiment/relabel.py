"""From the errors of an evaluation back to training: the measured rows with corrections, and a request to learn them.

Promises: the file holds every row that the run measured, in its order, with the corrected labels, without the dropped
rows; it belongs to the visitor who asked. Nothing is started here: the Fine-tuning lab's job does that, and a
comparison shows what has changed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import BadInput, NotFound
from core.labs.sentiment.choices import Mode
from core.labs.sentiment.evaluating import known_rows
from core.labs.sentiment.labels import label_number
from core.labs.sentiment.material import Reader, read_labelled
from core.labs.sentiment.request import SentimentRequest
from core.runtime.bundled_heads import bundled_head
from core.runtime.run_log import RunLog
from core.runtime.tuned import TunedModels, is_tuned
from core.runtime.uploads import Uploads
from core.settings import Settings

SEEN = 1200
"""Rows that the training sees at most, each as often as it comes: about a minute on two cores."""
BATCH = 16
MOST_EPOCHS = 5


def retrain_request(
    log: RunLog,
    corrections: Mapping[int, str | int | None],
    uploads: Uploads,
    owner: str,
    token: str | None = None,
) -> dict[str, Any]:
    """What the Fine-tuning lab is asked for: the base of the run's model, on the corrected rows, for about a minute.

    Plain data for a ``FinetuningRequest``. A model that is no adapter on a base learns on from where it is.
    """
    request = SentimentRequest.model_validate(log.meta.request)
    data, rows = corrected_file(log, corrections, uploads, owner, token)
    epochs = max(1, min(MOST_EPOCHS, SEEN // rows))
    steps = max(1, min(SEEN, rows * epochs) // BATCH)
    return {
        "task": "classification",
        "model": _base_of(request.reference, uploads.settings, owner),
        "data": data,
        "method": "lora",
        "r": 16,
        "lora_alpha": 32,
        "learning_rate": 1e-3,
        "batch_size": BATCH,
        "epochs": float(epochs),
        "max_steps": steps,
        "max_length": 128,
        "eval_steps": max(1, steps // 5),
        "validation_share": 0.15,
        "seed": request.seed,
    }


def corrected_file(
    log: RunLog,
    corrections: Mapping[int, str | int | None],
    uploads: Uploads,
    owner: str,
    token: str | None = None,
) -> tuple[str, int]:
    """A new upload of ``owner`` and its rows: JSON Lines with ``text`` (``text_pair``) and ``label``.

    ``corrections`` gives rows of the evaluation another label (its name or its number), or None to drop them. Raises
    ``BadInput`` for an unknown label or when nothing is left, ``NotFound`` for a row that was not measured.
    """
    request = SentimentRequest.model_validate(log.meta.request)
    labels, title = _model_of(log)

    labelled = read_labelled(request, Reader(uploads.settings, partial(uploads.open, owner=owner), token))
    places = _measured(log)
    known = known_rows(labelled, labels, title)
    numbers = dict(zip(known.places, known.gold, strict=True))
    chosen = {int(row): label for row, label in corrections.items()}
    outside = [row for row in chosen if not 0 <= row < len(places)]
    if outside:
        raise NotFound(f"The run has no row {outside[0] + 1:,}.", "Choose a row of its table.")
    lines = []
    for row, place in enumerate(places):
        label: str | int | None = chosen.get(row, numbers[place])
        if label is None:
            continue
        item = labelled.items[place]
        texts = {"text": item} if isinstance(item, str) else {"text": item[0], "text_pair": item[1]}
        lines.append(json.dumps({**texts, "label": _name(label, labels)}, ensure_ascii=False) + "\n")
    if not lines:
        raise BadInput("Every row is dropped: there is nothing to learn from.", "Keep some rows.")
    name = f"{Path(labelled.source).stem[:60]} corrected.jsonl"
    return _uploaded("".join(lines), name, uploads, owner), len(lines)


def _base_of(name: str, settings: Settings, owner: str) -> str:
    """What is trained: a head's base, or the model itself."""
    tuned = TunedModels(settings).open(name, owner) if is_tuned(name) else bundled_head(settings, name)
    return name if tuned is None else tuned.base


def versus_request(log: RunLog, trained: str) -> dict[str, Any]:
    """What this lab is asked for once the training has ended: the old model against ``tuned:<run>``, on the same rows.

    Plain data for a ``SentimentRequest``.
    """
    request = SentimentRequest.model_validate(log.meta.request)
    asked = request.model_dump(mode="json")
    return asked | {"mode": Mode.COMPARE.value, "models": [request.reference, trained]}


def _model_of(log: RunLog) -> tuple[Sequence[str], str]:
    """The labels and the title of the model that was measured."""
    for record in log.read():
        if record["kind"] == "step" and record["name"] == "start":
            return record["values"]["model"]["labels"], record["values"]["model"]["title"]
    raise NotFound("The run has not measured any rows.", "Evaluate the model first.")


def _values(log: RunLog) -> Mapping[str, Any]:
    for record in log.read():
        if record["kind"] == "step" and record["name"] in ("evaluation", "comparison"):
            found: Mapping[str, Any] = record["values"]
            return found
    raise NotFound("The run has not measured any rows.", "Evaluate the model first.")


def _measured(log: RunLog) -> list[int]:
    """The places in the data of the measured rows, in the order of their numbers."""
    values = _values(log)
    return list(range(values["n"])) if values["rows"] is None else list(values["rows"])


def _name(label: str | int, labels: Sequence[str]) -> str:
    if isinstance(label, int):
        if not 0 <= label < len(labels):
            raise BadInput("There is no such label.", "Choose one of the model's labels.")
        return labels[label]
    return labels[label_number(label, labels, "to give")]


def _uploaded(text: str, name: str, uploads: Uploads, owner: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "".join(letter if letter.isalnum() or letter in " .-_" else "-" for letter in name)
        path.write_text(text, encoding="utf-8")
        return uploads.add(path, owner)
