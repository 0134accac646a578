"""Speculative decoding loses nothing: greedy ids exactly, sampled tokens in distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from typing import Any

import pytest
import torch
from torch import Tensor

from core.errors import BadInput
from core.generation.engine import generate
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.readings import TokenReading
from core.generation.speculative import Draft, DraftStep, PromptLookup, _Dice, speculate
from core.generation.stages import Stages
from core.runtime.loading import LoadedModel
from tests.fakes_search import Architecture, loaded, model, tokenizer, wrap

PROMPT = [10, 20, 30, 40, 10, 20, 30, 10, 20]
RUNS = 1000
PENALTIES = [SamplingParameters(), SamplingParameters(repetition_penalty=1.3, no_repeat_ngram_size=3)]


def run(
    target: LoadedModel,
    draft: LoadedModel | None,
    parameters: SamplingParameters | None = None,
    prompt: Sequence[int] = PROMPT,
    draft_tokens: int = 4,
    **stop: Any,
) -> tuple[list[TokenReading], list[DraftStep]]:
    conditions = StopConditions(**{"max_new_tokens": 24, "ignore_eos": True, **stop})
    found = list(
        speculate(
            target, prompt, parameters or SamplingParameters(), conditions, draft=draft, draft_tokens=draft_tokens
        )
    )
    return [f for f in found if isinstance(f, TokenReading)], [f for f in found if isinstance(f, DraftStep)]


def greedy(target: LoadedModel, parameters: SamplingParameters, **stop: Any) -> list[TokenReading]:
    conditions = StopConditions(**{"max_new_tokens": 24, "ignore_eos": True, **stop})
    return list(generate(target, PROMPT, parameters, conditions, visitor="", cancelled=lambda: False))


def near(target: LoadedModel, noise: float) -> LoadedModel:
    """A draft model that often agrees: the target's weights, shaken."""
    shaken = model("llama" if "Llama" in target.facts.architecture else "gpt2", seed=0)
    shaken.load_state_dict(target.model.state_dict())
    with torch.no_grad():
        torch.manual_seed(1)
        for weights in shaken.parameters():
            weights += noise * weights.std() * torch.randn_like(weights)
    return wrap(shaken, target.tokenizer)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("parameters", PENALTIES)
@pytest.mark.parametrize("drafting", ["lookup", "near", "same", "stranger"])
def test_greedy_ids_are_those_of_greedy_search(
    architecture: Architecture, parameters: SamplingParameters, drafting: str
) -> None:
    target = loaded(architecture, seed=7)
    draft = {
        "lookup": None,
        "near": near(target, 0.1),
        "same": target,
        "stranger": loaded("gpt2", seed=99),
    }[drafting]
    for draft_tokens in (1, 4):
        readings, steps = run(target, draft, parameters, draft_tokens=draft_tokens)
        expected = greedy(target, parameters)
        assert [r.id for r in readings] == [r.id for r in expected]
        assert [r.logprob for r in readings] == pytest.approx([r.logprob for r in expected], abs=1e-3)
        assert [(r.index, r.rank, r.finished) for r in readings] == [(r.index, r.rank, r.finished) for r in expected]
        assert steps[0].proposed == ()
        assert sum(step.accepted for step in steps) + len(steps) == len(readings)
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            assert len(step.proposed) <= draft_tokens
            given = [r.id for r in readings[step.at : following.at if following else None]]
            assert given[: step.accepted] == [*step.proposed[: step.accepted]]
        if drafting == "same":
            assert all(step.accepted == len(step.proposed) for step in steps)


def test_drafts_are_accepted_where_they_should_be() -> None:
    target = loaded("llama", seed=7)
    agrees, _ = sum_of(run(target, near(target, 0.05))[1])
    disagrees, proposed = sum_of(run(target, loaded("gpt2", seed=99))[1])
    assert agrees > disagrees
    assert proposed > 0


def sum_of(steps: list[DraftStep]) -> tuple[int, int]:
    return sum(step.accepted for step in steps), sum(len(step.proposed) for step in steps)


def test_it_ends_within_a_block() -> None:
    """An end token, a stop string and the length may all fall among accepted guesses."""
    target = loaded("llama", seed=8)
    ids = [r.id for r in greedy(target, SamplingParameters())]
    places = [place for place in range(3, 20) if ids[place] not in ids[:place]]
    for place in places[:4]:
        target.model.generation_config.eos_token_id = [ids[place]]
        readings, _ = run(target, target, ignore_eos=False)
        assert [r.id for r in readings] == ids[: place + 1]
        assert readings[-1].finished == "eos"
    for length in (1, 2, 5, 6, 7):
        readings, _ = run(target, target, max_new_tokens=length)
        assert [r.id for r in readings] == ids[:length]
        assert readings[-1].finished == "length"
    text = target.tokenizer.decode(ids)
    stop = next(c for c in text if c.isascii() and c.isprintable())
    readings, _ = run(target, target, stop_strings=(stop,))
    assert [r.id for r in readings] == [r.id for r in greedy(target, SamplingParameters(), stop_strings=(stop,))]
    assert readings[-1].finished == "stop"


@pytest.mark.parametrize("context", [12, 18])
def test_neither_context_is_overrun(context: int) -> None:
    target, small = loaded("gpt2", seed=9, context=40), loaded("gpt2", seed=10, context=context)
    readings, steps = run(target, small, max_new_tokens=100)
    assert len(readings) == 40 - len(PROMPT)
    assert any(step.proposed for step in steps)
    assert steps[-2].proposed == ()  # the text has outgrown the smaller model


@dataclass
class TableState:
    ids: list[int]
    logits: Tensor


class TableStepper:
    """Stands in for ``Stepper``: the next logits are a row of a table, chosen by the last token."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.table: Tensor = loaded.model

    def prefill(self, ids: Tensor) -> TableState:
        return TableState(ids[0].tolist(), self.table[ids[:, -1]])

    def score(self, state: TableState, tokens: Tensor) -> Tensor:
        state.ids += tokens[0].tolist()
        state.logits = self.table[tokens[:, -1]]
        return self.table[tokens]

    def crop(self, state: TableState, length: int) -> TableState:
        assert 1 <= length <= len(state.ids)
        del state.ids[length:]
        return state


def law(table: Tensor, parameters: SamplingParameters, prompt: list[int], n: int) -> dict[tuple[int, ...], float]:
    """The exact distribution of the next n tokens."""
    stages, chances = Stages([parameters], torch.device("cpu")), {}
    for ids in product(range(len(table)), repeat=n):
        p = 1.0
        for place, token in enumerate(ids):
            text = torch.tensor([[*prompt, *ids[:place]]])
            p *= float(stages(table[text[:, -1]], text).softmax(-1)[0, token])
        chances[ids] = p
    return chances


def total_variation(counted: Counter[Any], expected: dict[Any, float]) -> float:
    runs = counted.total()
    return sum(abs(counted[key] / runs - p) for key, p in expected.items()) / 2


@pytest.mark.parametrize("drafting", ["model", "lookup"])
def test_sampled_tokens_follow_the_models_own_distribution(drafting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.generation.speculative.Stepper", TableStepper)
    target, small = loaded("llama"), loaded("llama")
    for each, seed in ((target, 1), (small, 2)):
        each.model = 1.5 * torch.randn(3, 3, generator=torch.Generator().manual_seed(seed))
        each.facts = replace(each.facts, vocab_size=3)
    settings = {"do_sample": True, "temperature": 1.3, "repetition_penalty": 1.2, "min_p": 0.02}
    prompt, runs = [0, 1, 2, 0, 1], RUNS
    expected = law(target.model, SamplingParameters(**settings), prompt, 3)
    counted: Counter[tuple[int, ...]] = Counter()
    accepted = proposed = 0
    for seed in range(runs):
        parameters = SamplingParameters(**settings, seed=seed)
        draft = small if drafting == "model" else None
        readings, steps = run(target, draft, parameters, prompt, draft_tokens=3, max_new_tokens=3)
        counted[tuple(r.id for r in readings)] += 1
        accepted, proposed = accepted + sum_of(steps)[0], proposed + sum_of(steps)[1]
    assert 0.1 < accepted / proposed < 0.9
    assert total_variation(counted, expected) < 0.08
    plain = law(small.model, SamplingParameters(**settings), prompt, 3)
    assert total_variation(counted, plain) > 0.2  # the draft's own law is far off


@pytest.mark.parametrize("certain", [False, True])
def test_the_rejection_rule(certain: bool) -> None:
    """One guess, many times: p and q far apart, and the token comes out as p has it."""
    p = torch.tensor([0.05, 0.6, 0.0, 0.25, 0.1])
    q = torch.tensor([0.5, 0.1, 0.2, 0.2, 0.0])
    dice = _Dice(SamplingParameters(do_sample=True, seed=5))
    counted: Counter[int] = Counter()
    stood = 0
    for _ in range(20_000):
        guess = 3 if certain else dice.draw(q)
        token, stands = dice.judge(p, guess, None if certain else q)
        assert not stands or token == guess
        counted[token] += 1
        stood += stands
    assert total_variation(counted, dict(enumerate(p.tolist()))) < 0.01
    share = 0.25 if certain else float(torch.minimum(p, q).sum())  # Leviathan et al., corollary 3.6
    assert stood / 20_000 == pytest.approx(share, abs=0.01)
    assert dice.judge(p, 0, p)[1]  # equal distributions reject nothing


def test_the_same_seed_gives_the_same_text() -> None:
    target = loaded("llama", seed=11)
    parameters = SamplingParameters(do_sample=True, temperature=2.0, seed=4)
    draft = near(target, 0.2)
    first, second = (run(target, draft, parameters)[0] for _ in range(2))
    other = run(target, draft, parameters.model_copy(update={"seed": 5}))[0]
    assert [r.id for r in first] == [r.id for r in second] != [r.id for r in other]


def test_prompt_lookup() -> None:
    lookup = PromptLookup()
    assert lookup.propose([1, 2, 3, 4, 9, 2, 3], 2) == Draft((4, 9))
    assert lookup.propose([1, 2, 3, 7, 5, 2, 3, 8, 6, 2, 3], 1) == Draft((8,))  # the latest place
    assert lookup.propose([5, 1, 2, 3, 7, 0, 2, 3, 8, 1, 2, 3], 2) == Draft((7, 0))  # the longest run of last tokens
    assert lookup.propose([4, 4, 4, 4, 4], 3) == Draft((4, 4))  # the longest continuation that is there
    assert lookup.propose([1, 2, 3], 4) == Draft()
    assert lookup.propose([1], 4) == Draft()


def test_one_forward_pass_of_the_target_per_block() -> None:
    target = loaded("llama", seed=7)
    passes: list[int] = []
    target.model.register_forward_hook(lambda *_: passes.append(1))
    _, steps = run(target, near(loaded("llama", seed=7), 0.05))
    assert len(passes) == len(steps)


def test_cancelling_ends_it_before_the_next_block() -> None:
    target = loaded("llama", seed=7)
    asked = count()
    found = list(
        speculate(
            target,
            PROMPT,
            SamplingParameters(),
            StopConditions(ignore_eos=True),
            draft=target,
            draft_tokens=3,
            cancelled=lambda: next(asked) == 2,
        )
    )
    assert sum(isinstance(each, DraftStep) for each in found) == 2
    assert len(found) == 2 + 1 + 4


def test_other_tokenizers_and_encoder_decoders_are_refused_at_once() -> None:
    target = loaded("llama")
    with pytest.raises(BadInput, match="tokenizers differ"):
        speculate(target, PROMPT, SamplingParameters(), StopConditions(), draft=wrap(model("gpt2"), tokenizer(270)))
    with pytest.raises(BadInput, match="causal"):
        speculate(target, PROMPT, SamplingParameters(), StopConditions(), draft=loaded("t5"))
    with pytest.raises(BadInput, match="causal"):
        speculate(loaded("t5"), PROMPT, SamplingParameters(), StopConditions())


def test_sizes_of_one_family_may_pad_their_vocabulary_differently() -> None:
    target = loaded("llama", seed=7)
    for width in (258, 272):
        draft = wrap(model("gpt2", seed=12, vocabulary=width), target.tokenizer)
        readings, _ = run(target, draft)
        assert [r.id for r in readings] == [r.id for r in greedy(target, SamplingParameters())]
        sampled, _ = run(target, draft, SamplingParameters(do_sample=True, temperature=1.5))
        assert len(sampled) == 24
