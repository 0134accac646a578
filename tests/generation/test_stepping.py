from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from core.generation.stepping import State, Stepper
from tests.fakes_generation import VOCABULARY, gpt2, llama, loaded, sliding_mistral, t5

PROMPT = torch.tensor([[5, 9, 200, 31, 7, 7, 12, 90, 44, 3, 8, 61]])
MODELS = [llama, gpt2, t5, sliding_mistral]


def greedy(stepper: Stepper, state: State, count: int) -> list[int]:
    ids = []
    for _ in range(count):
        token = state.logits.argmax(-1, keepdim=True)
        ids.append(int(token))
        state = stepper.advance(state, token)
    return ids


@pytest.fixture(params=MODELS, ids=lambda make: make.__name__)
def model(request: pytest.FixtureRequest) -> Any:
    make: Callable[[], Any] = request.param
    return make()


def test_stepping_greedily_gives_the_ids_of_generate(model: Any) -> None:
    stepper = Stepper(loaded(model))
    state = stepper.prefill(PROMPT)
    start = 1 if stepper.encoder_decoder else PROMPT.shape[1]
    assert state.length == start
    assert state.logits.shape == (1, VOCABULARY)
    assert state.logits.dtype == torch.float32
    model.generation_config.eos_token_id = None
    expected = model.generate(PROMPT, attention_mask=torch.ones_like(PROMPT), max_new_tokens=12, do_sample=False)
    assert greedy(stepper, state, 12) == expected[0, start:].tolist()


def test_a_scored_draft_is_what_advancing_gives_and_can_be_taken_back(model: Any) -> None:
    stepper = Stepper(loaded(model))
    draft = [4, 77, 140, 19]
    walked, state = stepper.prefill(PROMPT), stepper.prefill(PROMPT)
    start = state.length
    before = state.logits.clone()
    scored = stepper.score(state, torch.tensor([draft]))
    assert scored.shape == (1, 4, VOCABULARY)
    assert state.length == start + 4
    for i, token in enumerate(draft):
        walked = stepper.advance(walked, torch.tensor([[token]]))
        torch.testing.assert_close(scored[:, i], walked.logits, rtol=1e-4, atol=1e-4)

    state = stepper.crop(state, start + 2)
    assert torch.equal(state.logits, scored[:, 1])
    state = stepper.crop(state, start)
    assert torch.equal(state.logits, before)
    again = stepper.advance(state, torch.tensor([[4]]))
    torch.testing.assert_close(again.logits, scored[:, 0], rtol=1e-4, atol=1e-4)


def test_hypotheses_are_repeated_reordered_and_dropped(model: Any) -> None:
    stepper = Stepper(loaded(model))
    state = stepper.select(stepper.prefill(PROMPT, hidden=True), torch.tensor([0, 0, 0]))
    state = stepper.advance(state, torch.tensor([[4], [50], [6]]))
    assert state.rows == 3
    state = stepper.advance(stepper.select(state, torch.tensor([2, 1])), torch.tensor([[9], [9]]))
    for row, first in enumerate((6, 50)):
        alone = stepper.prefill(PROMPT)
        for token in (first, 9):
            alone = stepper.advance(alone, torch.tensor([[token]]))
        torch.testing.assert_close(state.logits[row], alone.logits[0], rtol=1e-4, atol=1e-4)


def test_hidden_states_cover_every_token_and_follow_a_crop(model: Any) -> None:
    stepper = Stepper(loaded(model))
    state = stepper.advance(stepper.prefill(PROMPT, hidden=True), torch.tensor([[8]]))
    assert state.hidden is not None
    assert state.hidden.shape == (1, state.length, 32)
    stepper.score(state, torch.tensor([[1, 2, 3]]))
    state = stepper.crop(state, state.length - 2)
    assert state.hidden is not None
    assert state.hidden.shape[1] == state.length
    assert stepper.prefill(PROMPT).hidden is None


def test_logits_that_were_not_kept_are_refused() -> None:
    stepper = Stepper(loaded(llama()))
    state = stepper.advance(stepper.prefill(PROMPT), torch.tensor([[8]]))
    state = stepper.crop(state, state.length - 1)
    with pytest.raises(ValueError, match="no logits"):
        _ = state.logits
    with pytest.raises(ValueError, match="cannot crop"):
        stepper.crop(state, state.length + 1)
