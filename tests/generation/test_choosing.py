"""A row's choice against ``torch.multinomial`` of what the library's processors leave."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from core.generation import choosing
from core.generation.choosing import Chooser
from core.generation.parameters import SamplingParameters
from tests.generation.test_stages import aligned, library, random_row

CPU = torch.device("cpu")


def generators(rows: list[SamplingParameters]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(row.seed) for row in rows]


def expected(row: SamplingParameters, raw: Tensor, ids: list[int], generator: torch.Generator) -> int:
    scores = library(row)(torch.tensor([ids]), raw.clone())
    if not row.do_sample:
        return int(scores.argmax(-1))
    return int(torch.multinomial(scores.softmax(-1), 1, generator=generator))


@pytest.mark.parametrize("mixed", ["default order", "any order", "no shortcut for noise"])
def test_rows_of_all_kinds_draw_what_multinomial_draws(mixed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mixed == "no shortcut for noise":
        monkeypatch.setattr(choosing, "_exponential_is_log_of_uniform", lambda: False)
    dice, draw = random.Random(4), torch.Generator().manual_seed(4)
    for trial in range(15):
        rows = [
            random_row(dice, shuffled=mixed == "any order").model_copy(update={"seed": 100 * trial + i})
            for i in range(dice.randint(1, 9))
        ]
        chooser, twins = Chooser(rows, generators(rows), CPU), generators(rows)
        for _ in range(4):
            raw = torch.randn(len(rows), 700, generator=draw) * 3
            sequences = [[dice.randrange(12) for _ in range(dice.randint(1, 9))] for _ in rows]
            chosen = chooser(raw, aligned(sequences)).tolist()
            assert chosen == [expected(row, raw[i : i + 1], sequences[i], twins[i]) for i, row in enumerate(rows)]


def test_more_tokens_tie_with_the_kth_than_the_short_list_holds() -> None:
    row = SamplingParameters(do_sample=True, top_k=40, seed=8)
    raw = torch.zeros(1, 700)
    chooser, twins = Chooser([row], generators([row]), CPU), generators([row])
    for _ in range(20):
        assert chooser(raw, torch.zeros(1, 1, dtype=torch.long)).tolist() == [expected(row, raw, [0], twins[0])]


def test_a_greedy_row_draws_nothing_and_takes_the_first_of_equals() -> None:
    greedy, sampled = SamplingParameters(seed=3), SamplingParameters(do_sample=True, seed=3)
    own = generators([greedy, sampled])
    before = own[0].get_state()
    raw = torch.zeros(2, 700)
    raw[0, [9, 400]] = 1.0
    assert int(Chooser([greedy, sampled], own, CPU)(raw, torch.zeros(2, 1, dtype=torch.long))[0]) == 9
    assert torch.equal(own[0].get_state(), before)
