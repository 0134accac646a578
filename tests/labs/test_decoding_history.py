"""Reading a column back from the log, and the requests that follow from one of its tokens."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import BadInput
from core.generation.parameters import Strategy
from core.labs.decoding.history import branch_request, column_history, microscope_request
from core.labs.decoding.request import DecodingRequest

REQUEST = DecodingRequest(strategies=(Strategy.GREEDY, Strategy.BEAM), by_hand=True)


def token(column: int, index: int, token_id: int) -> dict[str, Any]:
    return {"kind": "token", "column": column, "index": index, "id": token_id, "text": "x"}


RECORDS: list[dict[str, Any]] = [
    {"kind": "step", "name": "start", "column": None, "values": {"prompt": [{"id": 1}, {"id": 2}]}},
    token(0, 0, 10),
    {"kind": "step", "name": "beam_best", "column": 1, "values": {"from": 0, "tokens": [{"id": 20}, {"id": 21}]}},
    token(0, 1, 11),
    {"kind": "step", "name": "beam_best", "column": 1, "values": {"from": 1, "tokens": [{"id": 22}, {"id": 23}]}},
]


def test_columns_are_told_apart_and_a_better_beam_replaces_the_old_end() -> None:
    assert column_history(RECORDS, 0).prompt_ids == (1, 2)
    assert column_history(RECORDS, 0).ids == (10, 11)
    assert column_history(RECORDS, 1).ids == (20, 22, 23)


def test_the_microscope_sees_what_stood_before_the_token() -> None:
    asked = microscope_request(REQUEST, RECORDS, 1, 2)
    assert (asked.prompt_ids, asked.prefix_ids, asked.chosen_id) == ((1, 2), (20, 22), 23)
    assert asked.strategy is Strategy.BEAM


def test_a_branch_keeps_what_stood_before_and_takes_the_other_token() -> None:
    branch = branch_request(REQUEST, RECORDS, 0, 1, 99)
    assert branch.forced_ids == (10, 99)
    assert branch.strategies == (Strategy.GREEDY,)
    assert not branch.by_hand


@pytest.mark.parametrize(("column", "index"), [(0, 2), (0, -1), (3, 0)])
def test_a_token_that_is_not_there_is_refused(column: int, index: int) -> None:
    with pytest.raises(BadInput, match="no longer there"):
        microscope_request(REQUEST, RECORDS, column, index)
