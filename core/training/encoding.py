"""Rows as token ids: what the model reads, and which tokens it is scored on.

Promises
- ``encode`` (labels of texts and of words) gives what ``transformers.Trainer`` takes.
- ``language_data`` gives TRL's ``SFTTrainer`` its rows and the settings that belong to them; ``language_rows`` then
  says, token by token, what TRL makes of both (a test compares them).
- Rows are cut to ``room``: the longest row asked for, or the tokenizer's own limit where that is smaller.

Messages, when only the assistant's turns give loss: with a template that marks them (``{% generation %}``, as in Story
LM) TRL masks all other tokens. Without marks a row becomes a prompt (the turns before) and a completion (the
assistant's last turn), so earlier turns of the assistant give none. Without any template the turns are written as plain
"User:" and "Assistant:" lines and treated likewise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import BadInput, BadModel
from core.measure.words import IGNORED as IGNORED
from core.measure.words import continued, token_labels, word_ids
from core.training.columns import Row
from core.training.datasets import Prepared
from core.training.parameters import TrainingParameters

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

UNLIMITED = 1_000_000
"""Tokenizers without a limit of their own name one beyond this."""
PACKED_TOGETHER = 1000
"""Rows that TRL packs at a time: a packed row never holds texts of two such groups."""
_BATCH = 500
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class Encoded:
    """``input_ids``, ``attention_mask`` (and what else the tokenizer gives) and ``labels``, for ``Trainer``."""

    train: Dataset
    validation: Dataset


@dataclass(frozen=True, slots=True)
class LanguageData:
    """Rows for ``SFTTrainer`` and the arguments of ``SFTConfig`` that say how they are to be read."""

    train: Dataset
    validation: Dataset
    settings: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One row: its ids after the cut, which of them give loss, how many were cut, and its length before."""

    ids: list[int]
    trained: list[bool]
    cut: int
    labels: list[int] | None = None


def room(tokenizer: Any, parameters: TrainingParameters) -> int:
    """Tokens that a row may have."""
    limit = getattr(tokenizer, "model_max_length", None)
    return min(parameters.max_length, limit) if limit and limit < UNLIMITED else parameters.max_length


def encode(prepared: Prepared, tokenizer: Any, parameters: TrainingParameters) -> Encoded:
    """Encode rows with labels or tags. Raises ``BadModel`` when the tokenizer cannot say where words begin."""
    if prepared.form not in ("labels", "tags"):
        raise BadInput("These rows are texts without labels.", "Choose the task “Write text”, or other columns.")
    later = later_labels(prepared, parameters)
    return Encoded(
        _encoded(prepared.train, prepared.form, tokenizer, parameters, later),
        _encoded(prepared.validation, prepared.form, tokenizer, parameters),
    )


def later_labels(prepared: Prepared, parameters: TrainingParameters) -> list[int] | None:
    """In training rows the label of a word's later tokens, for each label of the word; None: they give no loss.

    Validation rows are scored on first tokens whatever the choice, so that scores always count words.
    """
    return continued(prepared.labels) if prepared.form == "tags" and parameters.label_all_tokens else None


def _encoded(
    rows: Dataset, form: str, tokenizer: Any, parameters: TrainingParameters, later: Sequence[int] | None = None
) -> Dataset:
    from datasets import Dataset

    columns: dict[str, list[Any]] = {}
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        for name, values in encode_batch(batch, form, tokenizer, room(tokenizer, parameters), later).items():
            columns.setdefault(name, []).extend(values)
    return Dataset.from_dict(columns)


def encode_batch(
    batch: dict[str, Any], form: str, tokenizer: Any, length: int | None, later: Sequence[int] | None = None
) -> dict[str, list[Any]]:
    """Columns of one batch, cut to ``length`` if there is one; ``batch`` holds columns of canonical rows.

    A word's tag is the label of its first token; its other tokens get what ``later`` says, or none.
    """
    cut = {"truncation": length is not None, "max_length": length, "verbose": False}
    if form == "labels":
        pairs = (batch["text_pair"],) if "text_pair" in batch else ()
        return {**tokenizer(batch["text"], *pairs, **cut), "labels": batch["label"]}
    if not getattr(tokenizer, "is_fast", False):
        raise BadModel("This model's tokenizer cannot say which tokens a word became.", "Choose another model.")
    texts = [" ".join(words) for words in batch["words"]]
    out = dict(tokenizer(texts, return_offsets_mapping=True, **cut))
    offsets = out.pop("offset_mapping")
    rows = zip(offsets, batch["words"], batch["tags"], strict=True)
    return {**out, "labels": [token_labels(word_ids(spans, words), tags, later) for spans, words, tags in rows]}


def language_data(prepared: Prepared, tokenizer: Any, parameters: TrainingParameters) -> LanguageData:
    """What ``SFTTrainer`` is given for rows of text, completions or messages."""
    if prepared.form in ("labels", "tags"):
        raise BadInput("These rows are labelled texts.", "Choose the task that labels, or other columns.")
    if not tokenizer.eos_token:
        raise BadModel("This model's tokenizer has no token that ends a text.", "Choose another model.")
    settings: dict[str, Any] = {
        "dataset_text_field": "text",
        "completion_only_loss": False,
        "assistant_only_loss": False,
        "max_length": room(tokenizer, parameters),
        "packing": parameters.packing,
        "packing_strategy": "wrapped",
    }
    train, validation, notes = prepared.train, prepared.validation, list[str]()
    if prepared.form == "completion":
        settings["completion_only_loss"] = parameters.completion_only_loss
    elif prepared.form == "messages":
        template = getattr(tokenizer, "chat_template", None)
        if template and (not parameters.completion_only_loss or marks_turns(template)):
            settings["assistant_only_loss"] = parameters.completion_only_loss
        else:
            settings["completion_only_loss"] = parameters.completion_only_loss
            train, validation = (_exchanges(rows, plain=not template) for rows in (train, validation))
            notes.append(_exchange_note(bool(template)))
            if not len(train) or not len(validation):
                raise BadInput("No conversation has a turn before the assistant's last.", "Begin each with a user's.")
    return LanguageData(train, validation, settings, tuple(notes))


def marks_turns(template: str | dict[str, str]) -> bool:
    """Whether a chat template marks which tokens are the assistant's."""
    text = template.get("default", "") if isinstance(template, dict) else template
    return _MARKS.search(text) is not None


def _exchange_note(template: bool) -> str:
    if template:
        return "The chat template does not mark the assistant's turns: only the last turn of a conversation gives loss."
    return "The model has no chat template: turns are written as lines that begin with “User:” and “Assistant:”."


def _exchanges(rows: Dataset, *, plain: bool) -> Dataset:
    """Conversations as prompts and completions; those in which nothing goes before the last turn are left out."""
    from datasets import Dataset

    made = []
    for row in rows:
        messages = row["messages"]
        last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
        before, turn = messages[:last], messages[last]
        if not before:
            continue
        if plain:
            lines = [f"{message['role'].capitalize()}: {message['content']}\n" for message in before]
            made.append({"prompt": "".join(lines) + "Assistant:", "completion": " " + turn["content"]})
        else:
            made.append({"prompt": before, "completion": [turn]})
    return Dataset.from_list(made)


def language_rows(rows: Iterable[Row], tokenizer: Any, settings: dict[str, Any]) -> list[TokenRow]:
    """What TRL makes of rows of ``LanguageData.train`` or ``.validation`` under its ``settings``.

    Ends of texts are added, prompts and users' turns give no loss, rows are cut to ``max_length``, and those of which
    nothing is left to learn are gone. With packing the rows are the packed ones.
    """
    return cut_rows(whole_rows(rows, tokenizer, settings), settings)


def whole_rows(rows: Iterable[Row], tokenizer: Any, settings: dict[str, Any]) -> list[TokenRow]:
    """Each row before anything is cut or packed."""
    return [_language_row(row, tokenizer, settings) for row in rows]


def cut_rows(whole: Sequence[TokenRow], settings: dict[str, Any]) -> list[TokenRow]:
    """Whole rows cut to the longest length, or packed."""
    length = settings["max_length"]
    if settings["packing"]:
        return list(_packed(whole, length))
    cut = (TokenRow(r.ids[:length], r.trained[:length], max(0, len(r.ids) - length)) for r in whole)
    return [row for row in cut if any(row.trained)]


def _language_row(row: Row, tokenizer: Any, settings: dict[str, Any]) -> TokenRow:
    if "messages" in row:
        only = settings["assistant_only_loss"]
        out = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=only)
        ids = list(out["input_ids"])
        return TokenRow(ids, [bool(bit) for bit in out["assistant_masks"]] if only else [True] * len(ids), 0)
    if "prompt" not in row:
        ids = _ids(_ended(row["text"], tokenizer), tokenizer)
        return TokenRow(ids, [True] * len(ids), 0)
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, list):
        start = list(tokenizer.apply_chat_template(prompt, return_dict=True, add_generation_prompt=True)["input_ids"])
        ids = list(tokenizer.apply_chat_template(prompt + completion, return_dict=True)["input_ids"])
    else:
        start, ids = _ids(prompt, tokenizer), _ids(prompt + _ended(completion, tokenizer), tokenizer)
    shared = next((i for i, (a, b) in enumerate(zip(start, ids, strict=False)) if a != b), min(len(start), len(ids)))
    masked = shared if settings["completion_only_loss"] else 0
    return TokenRow(ids, [i >= masked for i in range(len(ids))], 0)


def _ended(text: str, tokenizer: Any) -> str:
    end: str = tokenizer.eos_token
    return text if text.endswith(end) else text + end


def _ids(text: str, tokenizer: Any) -> list[int]:
    return list(tokenizer(text=text, verbose=False)["input_ids"])


def _packed(rows: Sequence[TokenRow], length: int) -> Iterator[TokenRow]:
    """Rows one behind the other, cut every ``length`` tokens."""
    for start in range(0, len(rows), PACKED_TOGETHER):
        group = rows[start : start + PACKED_TOGETHER]
        ids = [i for row in group for i in row.ids]
        trained = [bit for row in group for bit in row.trained]
        for at in range(0, len(ids), length):
            yield TokenRow(ids[at : at + length], trained[at : at + length], 0)
