"""What a decoding run's log holds, read back: a column's tokens, and the requests that follow from them.

Pure functions over log records; nothing here loads a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import BadInput
from core.generation.parameters import Stage
from core.labs.decoding.request import DecodingRequest, MicroscopeRequest

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ColumnHistory:
    """One column so far: the prompt's ids, and the produced tokens as their records."""

    prompt_ids: tuple[int, ...]
    tokens: tuple[Record, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token["id"] for token in self.tokens)


def column_history(records: Sequence[Record], column: int) -> ColumnHistory:
    """Fold a column's records; a beam's best hypothesis replaces what it changes."""
    prompt: tuple[int, ...] = ()
    tokens: list[Record] = []
    for record in records:
        if record["kind"] == "step" and record["name"] == "start":
            prompt = tuple(token["id"] for token in record["values"]["prompt"])
        elif record.get("column") != column:
            continue
        elif record["kind"] == "token":
            tokens.append(record)
        elif record["kind"] == "step" and record["name"] == "beam_best":
            tokens[record["values"]["from"] :] = record["values"]["tokens"]
    return ColumnHistory(prompt, tuple(tokens))


def microscope_request(
    request: DecodingRequest,
    records: Sequence[Record],
    column: int,
    index: int,
    order: tuple[Stage, ...] | None = None,
) -> MicroscopeRequest:
    """The step that produced token ``index`` of a column, to be put under the lens."""
    history = column_history(records, column)
    if not 0 <= index < len(history.tokens) or column >= len(request.strategies):
        raise BadInput("That token is no longer there.", "Click one that is on the page.")
    return MicroscopeRequest(
        decoding=request,
        strategy=request.strategies[column],
        prompt_ids=history.prompt_ids,
        prefix_ids=history.ids[:index],
        chosen_id=history.ids[index],
        order=order or request.stage_order,
    )


def branch_request(
    request: DecodingRequest, records: Sequence[Record], column: int, index: int, token_id: int
) -> DecodingRequest:
    """The same column, gone on with another token at ``index``."""
    history = column_history(records, column)
    if not 0 <= index < len(history.tokens) or column >= len(request.strategies):
        raise BadInput("That token is no longer there.", "Click one that is on the page.")
    return request.model_copy(
        update={
            "strategies": (request.strategies[column],),
            "forced_ids": (*history.ids[:index], token_id),
            "by_hand": False,
        }
    )
