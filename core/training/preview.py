"""What a training will see, before it starts: rows as tokens with their loss mask, lengths, cuts, duplicates, labels.

Promises
- ``preview`` returns plain JSON; the tokens and masks are those of ``encoding``, which are those of the trainers.
- On more than ``MEASURED`` rows lengths and cuts are counted on that many, and a note says so; duplicates and labels
  are always counted on all rows.

Does not load a model: a tokenizer is enough.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.training.columns import Row
from core.training.datasets import Prepared
from core.training.encoding import (
    IGNORED,
    LanguageData,
    TokenRow,
    cut_rows,
    encode_batch,
    language_data,
    later_labels,
    room,
    whole_rows,
)
from core.training.parameters import TrainingParameters

MEASURED = 2000
SHOWN_TOKENS = 512
EXAMPLES = 3
EXAMPLE_CHARACTERS = 160
BINS = 16


def steps_of(prepared_rows: int, parameters: TrainingParameters) -> int:
    """Optimizer steps of a training on so many rows (packed ones, with packing): epochs, but at most ``max_steps``."""
    batches = math.ceil(prepared_rows / parameters.batch_size)
    of_epochs = math.ceil(parameters.epochs * max(math.ceil(batches / parameters.gradient_accumulation), 1))
    return min(of_epochs, parameters.max_steps) if parameters.max_steps else of_epochs


def preview(prepared: Prepared, tokenizer: Any, parameters: TrainingParameters, rows: int = 8) -> dict[str, Any]:
    """The first ``rows`` training rows token by token, and what holds for all of them.

    Beyond the rows: ``lengths`` (before the cut), ``truncated``, ``train_rows``, ``validation_rows``, ``sequences``
    (what the model gets, fewer when rows are packed), ``steps``, ``duplicates``, ``labels`` and ``notes``.
    """
    measured = prepared.train.select(range(min(MEASURED, len(prepared.train))))
    notes = list(prepared.notes)
    if prepared.form in ("labels", "tags"):
        first = measured.select(range(min(rows, len(measured))))
        shown, lengths = _labelled(prepared, first, measured, tokenizer, parameters)
        truncated, sequences = sum(n > room(tokenizer, parameters) for n in lengths), len(prepared.train)
    else:
        data = language_data(prepared, tokenizer, parameters)
        shown, lengths, sequences, more = _written(data, rows, tokenizer)
        truncated = 0 if parameters.packing else sum(n > data.settings["max_length"] for n in lengths)
        notes += [*data.notes, *more]
    if len(measured) < len(prepared.train):
        notes.append(f"Lengths are measured on {len(measured):,} of {len(prepared.train):,} rows.")
    if room(tokenizer, parameters) < parameters.max_length:
        notes.append(f"Rows are cut at {room(tokenizer, parameters):,} tokens: the model reads no more.")
    return {
        "rows": shown,
        "lengths": histogram(lengths),
        "truncated": truncated,
        "train_rows": len(prepared.train),
        "validation_rows": len(prepared.validation),
        "sequences": sequences,
        "steps": steps_of(sequences, parameters),
        "duplicates": duplicates(prepared),
        "labels": label_counts(prepared),
        "notes": notes,
    }


def _written(data: LanguageData, rows: int, tokenizer: Any) -> tuple[list[dict[str, Any]], list[int], int, list[str]]:
    """Rows to show, lengths before the cut, how many rows the model gets, notes."""
    measured = data.train.select(range(min(MEASURED, len(data.train))))
    whole = whole_rows(measured, tokenizer, data.settings)
    made, lengths = cut_rows(whole, data.settings), [len(row.ids) for row in whole]
    share = len(data.train) / max(1, len(measured))
    gone = 0 if data.settings["packing"] else len(measured) - len(made)
    notes = []
    if gone:
        notes.append(f"{round(gone * share):,} rows are left out: the cut takes all that would give loss.")
    return [_shown(row, tokenizer) for row in made[:rows]], lengths, round(len(made) * share), notes


def _labelled(
    prepared: Prepared, shown: Any, measured: Any, tokenizer: Any, parameters: TrainingParameters
) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows to show with their labels or tags, and all measured rows' lengths before the cut."""
    batch = measured[:]
    whole = encode_batch(batch, prepared.form, tokenizer, None)
    lengths = [len(ids) for ids in whole["input_ids"]]
    later = later_labels(prepared, parameters)
    cut = encode_batch(shown[:], prepared.form, tokenizer, room(tokenizer, parameters), later)
    rows = []
    for i, ids in enumerate(cut["input_ids"]):
        label = cut["labels"][i]
        tags = label if prepared.form == "tags" else None
        trained = [tag != IGNORED for tag in tags] if tags else [False] * len(ids)
        row = TokenRow(list(ids), trained, lengths[i] - len(ids), tags)
        name = None if tags else prepared.labels[label]
        rows.append(_shown(row, tokenizer, label=name, names=prepared.labels))
    return rows, lengths


def _shown(row: TokenRow, tokenizer: Any, *, label: str | None = None, names: Sequence[str] = ()) -> dict[str, Any]:
    special = set(tokenizer.all_special_ids)
    tokens: list[dict[str, Any]] = []
    for i, (token, trained) in enumerate(zip(row.ids[:SHOWN_TOKENS], row.trained, strict=False)):
        shown: dict[str, Any] = {
            "text": token_text(tokenizer, token),
            "trained": trained,
            "special": token in special,
        }
        if row.labels is not None and row.labels[i] != IGNORED:
            shown["tag"] = names[row.labels[i]]
        tokens.append(shown)
    return {"tokens": tokens, "cut": row.cut, "hidden": max(0, len(row.ids) - SHOWN_TOKENS), "label": label}


def token_text(tokenizer: Any, token: int) -> str:
    """A token as text, with the space that it begins with, if it does."""
    piece = tokenizer.convert_ids_to_tokens(token)
    if isinstance(piece, str) and piece.startswith("▁"):
        return piece.replace("▁", " ")
    return str(tokenizer.decode([token]))


def histogram(lengths: Sequence[int]) -> dict[str, Any]:
    """Counts of rows by length, in at most ``BINS`` equal steps from 0."""
    longest = max(lengths, default=0)
    step = next(width for width in _widths() if width * BINS > longest)
    counts = [0] * (longest // step + 1)
    for length in lengths:
        counts[length // step] += 1
    return {
        "edges": [step * i for i in range(len(counts) + 1)],
        "counts": counts,
        "unit": "tokens",
        "longest": longest,
        "mean": round(sum(lengths) / max(1, len(lengths)), 1),
    }


def _widths() -> Any:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def row_text(row: Row) -> str:
    """All that a row says, without its label."""
    if "messages" in row:
        return "\n".join(message["content"] for message in row["messages"])
    if "words" in row:
        return " ".join(row["words"])
    return "\n".join(row[name] for name in ("text", "prompt", "text_pair", "completion") if name in row)


def duplicates(prepared: Prepared) -> dict[str, Any]:
    """Rows that say the same but for case and white space: repeats within training, and validation rows seen there.

    ``conflicts`` are the repeats within training that have another label than the first.
    """
    first: dict[str, Any] = {}
    within = across = conflicts = 0
    examples: list[str] = []

    def note(text: str) -> None:
        if len(examples) < EXAMPLES and (shown := text[:EXAMPLE_CHARACTERS]) not in examples:
            examples.append(shown)

    for row in prepared.train:
        text = row_text(row)
        key = normalised(text)
        label = row.get("label")
        if key in first:
            within += 1
            conflicts += first[key] != label
            note(text)
        else:
            first[key] = label
    for row in prepared.validation:
        text = row_text(row)
        if normalised(text) in first:
            across += 1
            note(text)
    return {"within": within, "across": across, "conflicts": conflicts, "examples": examples}


def normalised(text: str) -> str:
    """Text without differences of case and white space."""
    return " ".join(text.casefold().split())


def label_counts(prepared: Prepared) -> dict[str, int]:
    """Training rows (or words) by label, in the order of the labels; empty for texts without any."""
    if prepared.form not in ("labels", "tags"):
        return {}
    column = prepared.train["label" if prepared.form == "labels" else "tags"]
    values = column if prepared.form == "labels" else (tag for tags in column for tag in tags)
    counts = Counter(values)
    return {name: counts[i] for i, name in enumerate(prepared.labels)}
