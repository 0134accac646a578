"""A small sweep: the runs of a grid over one field or two of a request, as requests that share a group.

Promises: at most ``MOST_RUNS`` requests, no two of which would train the same; each is a whole request of its own, so
that its run can be opened, resumed and exported alone. What is not: starting them. Imports nothing heavy.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import ValidationError

from core.errors import BadInput
from core.labs.finetuning.request import FinetuningRequest
from core.training.parameters import LOW_RANK, METHOD_TITLES, Method

MOST_RUNS = 12
MOST_FIELDS = 2
SWEPT = (
    "method",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "virtual_tokens",
    "learning_rate",
    "scheduler",
    "batch_size",
    "epochs",
    "max_steps",
    "weight_decay",
    "max_length",
    "seed",
    "model",
)
"""The fields that a sweep may change, in the order in which a page offers them."""

_OF_LOW_RANK = ("r", "lora_alpha", "lora_dropout", "target_modules", "bias", "rank_pattern")
_OF_PROMPT = ("virtual_tokens",)


def sweep(
    request: FinetuningRequest, fields: Mapping[str, Sequence[Any]], group: str | None = None
) -> list[FinetuningRequest]:
    """The grid's requests, the last field changing fastest; ``group`` is made up unless given.

    Values may be text, as ``values_of`` reads it. Combinations that would train the same (a rank where nothing has a
    rank) are there once. Raises ``BadInput`` for a field that is not swept, a value that the field refuses, no value at
    all, too many fields or too many runs.
    """
    _check(fields)
    group = group or secrets.token_hex(6)
    found: dict[str, FinetuningRequest] = {}
    for combination in product(*fields.values()):
        one = _with(request, dict(zip(fields, combination, strict=True)) | {"group": group, "resume": ""})
        found.setdefault(effective(one).model_dump_json(), one)
    if len(found) > MOST_RUNS:
        raise BadInput(
            f"The sweep would be {len(found)} runs, and {MOST_RUNS} is the most.", "Give fewer values for its fields."
        )
    return list(found.values())


def values_of(field: str, text: str) -> list[Any]:
    """What somebody typed for ``field``, separated by commas or lines; names of modules within a value by spaces."""
    parts = [part.strip() for line in text.splitlines() for part in line.split(",")]
    values = list(dict.fromkeys(part for part in parts if part))
    if field == "target_modules":
        return [() if value.lower() in ("all", "all-linear") else tuple(value.split()) for value in values]
    if field == "method":
        by_title = {title.lower(): method.value for method, title in METHOD_TITLES.items()}
        return [by_title.get(value.lower(), value.lower()) for value in values]
    return list(values)


def effective(request: FinetuningRequest) -> FinetuningRequest:
    """The request with the fields that its method does not read at their defaults: equal ones train the same."""
    unread: tuple[str, ...] = ()
    if request.method not in LOW_RANK:
        unread += _OF_LOW_RANK
    if request.method is not Method.PROMPT:
        unread += _OF_PROMPT
    defaults = {name: FinetuningRequest.model_fields[name].default for name in unread}
    return request.model_copy(update=defaults)


def _check(fields: Mapping[str, Sequence[Any]]) -> None:
    if not 1 <= len(fields) <= MOST_FIELDS:
        raise BadInput(f"A sweep goes over one or {MOST_FIELDS} fields.", "Choose which numbers to compare.")
    for name, values in fields.items():
        if name not in SWEPT:
            raise BadInput(f"{name[:40]!r} is nothing that a sweep changes.", f"Choose from: {', '.join(SWEPT)}.")
        if not values:
            raise BadInput(f"{_title(name)} has no values to compare.", "Give some, separated by commas.")


def _with(request: FinetuningRequest, changes: Mapping[str, Any]) -> FinetuningRequest:
    try:
        return FinetuningRequest.model_validate({**request.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = _title(str(first["loc"][0])) if first["loc"] else "The combination"
        reason = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{place}: {reason}.", "Change the values of the sweep.") from None


def _title(name: str) -> str:
    return FinetuningRequest.model_fields[name].title or name
