"""From whatever columns a dataset has to the ones that a training takes.

Promises
- ``plan_columns`` finds the columns by what they are usually called, or takes the visitor's; if it cannot, the sentence
  lists the columns there are.
- ``Plan.rows`` gives clean canonical rows: no missing texts, no NaN, no characters that cannot be tokenized. What was
  left out is counted in a note; what cannot be understood is refused with its row's number.

Canonical columns: ``text`` | ``prompt, completion`` | ``messages`` | ``text, label`` (or ``text, text_pair, label``) |
``words, tags``. Labels and tags are still names here; ``datasets`` turns them into numbers once both splits are known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.errors import BadInput
from core.training.parameters import Task

Form = Literal["text", "completion", "messages", "labels", "tags"]
Row = dict[str, Any]

TEXTS = ("text", "story", "sentence", "content", "review", "comment", "tweet", "message", "body", "document", "sms")
CHATS = ("messages", "conversations", "conversation", "chat", "dialogue")
EXCHANGES = (
    ("prompt", ("completion", "response", "output", "answer")),
    ("instruction", ("output", "response", "completion", "answer")),
    ("question", ("answer", "response", "output")),
    ("input", ("output", "response", "target")),
)
PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("sentence_a", "sentence_b"), ("text1", "text2"), ("text", "text_pair"),
)  # fmt: skip
LABELS = (
    "label", "labels", "sentiment", "emotion", "category", "class", "intent", "topic", "target", "stars", "rating",
)  # fmt: skip
WORDS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "labels", "pos_tags", "upos", "chunk_tags")
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant"}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that the visitor chose; an empty one is found by its usual names. ``pair`` holds second texts."""

    text: str = ""
    target: str = ""
    pair: str = ""


@dataclass(slots=True)
class Dropped:
    """How many rows were left out, by reason."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def notes(self) -> list[str]:
        return [
            f"{count:,} {'row' if count == 1 else 'rows'} {reason} {'was' if count == 1 else 'were'} left out."
            for reason, count in self.counts.items()
        ]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which column plays which part. ``context`` is an instruction's own input, ``pair`` a second text."""

    form: Form
    text: str
    target: str = ""
    context: str = ""
    pair: str = ""

    def rows(self, rows: Iterable[Row], dropped: Dropped) -> list[Row]:
        """Canonical rows; raises ``BadInput`` with the number of a row that cannot be understood."""
        return [row for _, row in self.placed(rows, dropped)]

    def placed(self, rows: Iterable[Row], dropped: Dropped) -> list[tuple[int, Row]]:
        """The same, each with its place among ``rows``."""
        make = {
            "text": self._text,
            "completion": self._completion,
            "messages": self._messages,
            "labels": self._labels,
            "tags": self._tags,
        }[self.form]
        made = ((place, make(row, place + 1, dropped)) for place, row in enumerate(rows))
        return [(place, row) for place, row in made if row is not None]

    def _text(self, row: Row, number: int, dropped: Dropped) -> Row | None:
        text = as_text(row.get(self.text), self.text, number)
        pair = as_text(row.get(self.pair), self.pair, number) if self.pair else ""
        if not text or (self.pair and not pair):
            dropped.add("without a text")
            return None
        return {"text": text, "text_pair": pair} if self.pair else {"text": text}

    def _completion(self, row: Row, number: int, dropped: Dropped) -> Row | None:
        prompt = as_text(row.get(self.text), self.text, number)
        context = as_text(row.get(self.context), self.context, number) if self.context else ""
        completion = as_text(row.get(self.target), self.target, number)
        if not prompt or not completion:
            dropped.add("without a prompt or a completion")
            return None
        prompt = f"{prompt}\n{context}" if context else prompt
        if not prompt[-1].isspace() and not completion[0].isspace():
            prompt += "\n"  # both are written one after the other: nothing else would part them
        return {"prompt": prompt, "completion": completion}

    def _messages(self, row: Row, number: int, dropped: Dropped) -> Row | None:
        messages = as_messages(row.get(self.text), self.text, number)
        if self.target:
            messages += as_messages(row.get(self.target), self.target, number)
        if not any(message["role"] == "assistant" for message in messages):
            dropped.add("without an assistant's turn")
            return None
        return {"messages": messages}

    def _labels(self, row: Row, number: int, dropped: Dropped) -> Row | None:
        text = as_text(row.get(self.text), self.text, number)
        pair = as_text(row.get(self.pair), self.pair, number) if self.pair else ""
        label = row.get(self.target)
        if isinstance(label, list) and len(label) == 1:
            label = label[0]
        label = as_label(label, self.target, number)
        if not text or (self.pair and not pair):
            dropped.add("without a text")
            return None
        if label is None:
            dropped.add("without a label")
            return None
        return {"text": text, "text_pair": pair, "label": label} if self.pair else {"text": text, "label": label}

    def _tags(self, row: Row, number: int, dropped: Dropped) -> Row | None:
        words, tags = as_list(row.get(self.text)), as_list(row.get(self.target))
        if not words:
            dropped.add("without words")
            return None
        if len(words) != len(tags):
            raise BadInput(
                f"Row {number:,} has {len(words):,} words and {len(tags):,} tags.", "Give each word exactly one tag."
            )
        names = [as_label(tag, self.target, number) for tag in tags]
        if None in names:
            raise BadInput(f"Row {number:,} has a word without a tag.", "Tag words outside of every entity as O.")
        return {"words": [as_text(word, self.text, number) or "\N{REPLACEMENT CHARACTER}" for word in words],
                "tags": names}  # fmt: skip


def plan_columns(names: Sequence[str], first: Row, columns: Columns, task: Task) -> Plan:
    """Which columns a task takes from a dataset with ``names``, whose first row is ``first``."""
    _check_chosen(names, columns)
    if task is Task.CLASSIFICATION:
        return _plan_labels(names, columns)
    if task is Task.TOKENS:
        text = columns.text or _usual(names, WORDS)
        target = columns.target or _usual([name for name in names if name != text], TAGS)
        return Plan("tags", *_both(names, text, target, "words", "tags"))
    return _plan_language(names, first, columns)


def plan_texts(names: Sequence[str], columns: Columns) -> Plan:
    """Which column holds texts that are only read, without labels, and which the second texts of pairs, if any.

    ``columns.target`` is not looked for: it is a column that holds no text.
    """
    _check_chosen(names, columns)
    names = [name for name in names if name != columns.target]
    if not columns.text:
        for one, other in PAIRS:
            text, pair = _usual(names, (one,)), columns.pair or _usual(names, (other,))
            if text and pair and text != pair:
                return Plan("text", text, pair=pair)
    rest = [name for name in names if name != columns.pair]
    text = columns.text or _usual(rest, TEXTS) or _usual(rest, tuple(prompt for prompt, _ in EXCHANGES))
    text = text or (rest[0] if len(rest) == 1 else "")
    if not text:
        raise BadInput(f"No column of texts was recognised. {_listed(names)}", "Choose the text column.")
    return Plan("text", text, pair=columns.pair)


def _check_chosen(names: Sequence[str], columns: Columns) -> None:
    for chosen in (columns.text, columns.target, columns.pair):
        if chosen and chosen not in names:
            raise BadInput(f"There is no column “{chosen[:60]}”. {_listed(names)}", "Choose one of them.")
    if columns.text and columns.text == columns.target:
        raise BadInput("Text and target are the same column.", f"Choose two. {_listed(names)}")
    if columns.pair and columns.pair in (columns.text, columns.target):
        raise BadInput("The second texts are in a column that is chosen already.", f"Choose another. {_listed(names)}")


def _plan_language(names: Sequence[str], first: Row, columns: Columns) -> Plan:
    if columns.text:
        if _is_chat(first.get(columns.text)):
            return Plan("messages", columns.text, columns.target)
        return Plan("completion", columns.text, columns.target) if columns.target else Plan("text", columns.text)
    chat = _usual(names, CHATS)
    if chat and not columns.target and _is_chat(first.get(chat)):
        return Plan("messages", chat)
    for prompt, completions in EXCHANGES:
        text, target = _usual(names, (prompt,)), columns.target or _usual(names, completions)
        if text and target and text != target:
            if _is_chat(first.get(text)):
                return Plan("messages", text, target)
            context = _usual(names, ("input", "context")) if prompt == "instruction" else ""
            return Plan("completion", text, target, "" if context == target else context)
    text = _usual([name for name in names if name != columns.target], TEXTS)
    if text:
        return Plan("completion", text, columns.target) if columns.target else Plan("text", text)
    if len(names) == 1:
        return Plan("text", names[0])
    raise BadInput(f"No column of texts was recognised. {_listed(names)}", "Choose the text column.")


def _plan_labels(names: Sequence[str], columns: Columns) -> Plan:
    target = columns.target or _usual([name for name in names if name != columns.text], LABELS)
    if not columns.text:
        for one, other in PAIRS:
            text, pair = _usual(names, (one,)), columns.pair or _usual(names, (other,))
            if text and pair and target and text != pair:
                return Plan("labels", text, target, pair=pair)
    rest = [name for name in names if name not in (target, columns.pair)]
    text = columns.text or _usual(rest, TEXTS) or _usual(rest, tuple(prompt for prompt, _ in EXCHANGES))
    return Plan("labels", *_both(names, text, target, "texts", "labels"), pair=columns.pair)


def _both(names: Sequence[str], text: str, target: str, of_text: str, of_target: str) -> tuple[str, str]:
    """Both columns; of two columns the other one is taken when only one was recognised."""
    if len(names) == 2:
        text = text or next((name for name in names if target and name != target), "")
        target = target or next((name for name in names if text and name != text), "")
    for found, what in ((text, of_text), (target, of_target)):
        if not found:
            raise BadInput(f"No column of {what} was recognised. {_listed(names)}", f"Choose the column of {what}.")
    return text, target


def _usual(names: Sequence[str], usual: Sequence[str]) -> str:
    """The first of the usual names that is there, whatever its case."""
    by_name = {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[name] for name in usual if name in by_name), "")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"“{name[:40]}”" for name in names[:12])
    more = f" and {len(names) - 12:,} more" if len(names) > 12 else ""
    return f"The data has {'these columns' if len(names) > 1 else 'one column'}: {shown}{more}."


def is_missing(value: object) -> bool:
    """Nothing, or the number that stands for nothing in a table."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_text(value: object, column: str, number: int) -> str:
    """A cell as text without characters that no tokenizer takes; empty when there is nothing in it."""
    if is_missing(value):
        return ""
    if isinstance(value, (list, dict)):
        raise BadInput(
            f"Row {number:,} has a list in column “{column[:60]}”, where a text was expected.", "Choose another column."
        )
    text = str(value).replace("\0", "")
    return text.encode("utf-8", "replace").decode("utf-8") if text.strip() else ""


def as_label(value: object, column: str, number: int) -> str | int | None:
    """A label as a name or a whole number; None when there is none (also -1, as test splits mark hidden labels)."""
    if is_missing(value) or value == -1:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return as_text(value, column, number).strip() or None


def as_list(value: object) -> list[Any]:
    """A cell of words or tags: a list, a JSON list, or names between spaces."""
    if is_missing(value):
        return []
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                loaded = json.loads(value)
            except ValueError:
                return value.split()
            return loaded if isinstance(loaded, list) else value.split()
        return value.split()
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_chat(value: object) -> bool:
    """Whether a cell holds a conversation: a list of turns, or the same as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return False
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and bool({"role", "from"} & set(value[0]))
    )


def as_messages(value: object, column: str, number: int) -> list[dict[str, str]]:
    """A conversation as turns of ``role`` and ``content``."""
    if is_missing(value):
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list):
        raise BadInput(
            f"Row {number:,} has no list of turns in column “{column[:60]}”.",
            'Write each row as [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}].',
        )
    return [_turn(turn, column, number) for turn in value]


def _turn(turn: object, column: str, number: int) -> dict[str, str]:
    role = content = None
    if isinstance(turn, dict):
        role = turn.get("role", turn.get("from"))
        content = turn.get("content", turn.get("value"))
    if isinstance(content, list):  # parts, of which texts are taken
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(role, str) or not role or not isinstance(content, str):
        raise BadInput(
            f"Row {number:,} has a turn without a role or a content.", "Give each turn a “role” and a “content”."
        )
    return {"role": ROLES.get(role.lower(), role.lower()), "content": as_text(content, column, number)}
