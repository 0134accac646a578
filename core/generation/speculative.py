"""Speculative decoding: guess a few tokens cheaply, then check them all in one forward pass of the model.

The guesses come from the text itself (prompt lookup: what followed the last tokens when they came before) or from a
smaller model with the same tokenizer. Promises: lossless. Greedy gives the ids of greedy search; with ``do_sample``
every token is distributed as if the model had been sampled alone, by the rejection rule of Leviathan et al. 2023
("Fast Inference from Transformers via Speculative Decoding"): a guess x, drawn from q, stands with probability
min(1, p(x) / q(x)), and where it falls the token is drawn from what p has over q. All stages act on p, position by
position, and on q likewise.

Each forward pass is one slice of the lane of the model that it belongs to. Causal models only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Protocol

import torch
from torch import Tensor

from core.errors import BadInput
from core.generation.ending import Ending
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.readings import TokenReading, read_tokens
from core.generation.stages import Stages
from core.generation.stepping import State, Stepper
from core.runtime.loading import LoadedModel

LOOKUP_NGRAM = 3
"""The longest run of last tokens that prompt lookup looks for."""


@dataclass(frozen=True, slots=True)
class DraftStep:
    """One check by the model: the guesses, and how many of them stand. The tokens that came of it follow.

    ``at`` is the index of the first token that follows. Without a guess the step gives one token, as plain decoding.
    """

    index: int
    at: int
    proposed: tuple[int, ...]
    accepted: int


@dataclass(frozen=True, slots=True)
class Draft:
    """Guessed ids; row i of ``chances`` (k, vocab) is what id i was drawn from, None if nothing was left to chance."""

    ids: tuple[int, ...] = ()
    chances: Tensor | None = None


class Drafter(Protocol):
    """Guesses up to ``count`` tokens that follow ``ids``."""

    def propose(self, ids: Sequence[int], count: int) -> Draft: ...


def speculate(
    loaded: LoadedModel,
    prompt_ids: Sequence[int],
    parameters: SamplingParameters,
    stop: StopConditions,
    *,
    draft: LoadedModel | None = None,
    draft_tokens: int = 5,
    visitor: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[TokenReading | DraftStep]:
    """Yield a ``DraftStep`` per check and the tokens it gave; nothing more once ``cancelled`` says so.

    ``draft`` None is prompt lookup. Raises ``BadInput`` for an encoder-decoder or a draft with another tokenizer.
    """
    if loaded.facts.kind != "causal":
        raise BadInput("Speculative decoding needs a causal model here.", "Choose another strategy for this model.")
    ending = Ending(loaded, prompt_ids, stop)
    dice = _Dice(parameters)
    drafter: Drafter = PromptLookup()
    if draft is not None:
        check_same_tokenizer(loaded, draft)
        drafter = DraftModel(draft, parameters, dice, loaded.facts.vocab_size, visitor=visitor)
    checker = _Checker(loaded, prompt_ids, parameters, ending, dice)
    return _blocks(loaded, checker, drafter, draft_tokens, visitor, cancelled)


def _blocks(
    loaded: LoadedModel,
    checker: _Checker,
    drafter: Drafter,
    draft_tokens: int,
    visitor: str,
    cancelled: Callable[[], bool],
) -> Iterator[TokenReading | DraftStep]:
    index, finished = 0, None
    while finished is None:
        if cancelled():
            return
        # the check itself gives one token more than it accepts, so a guess of the last one would be idle
        count = min(draft_tokens, checker.room - 1) if index else 0
        guess = drafter.propose(checker.ids, count) if count else Draft()
        at = checker.made
        readings, accepted = loaded.lane.call(partial(checker.check, guess), visitor=visitor)
        yield DraftStep(index, at, guess.ids, accepted)
        yield from readings
        index, finished = index + 1, readings[-1].finished


class _Dice:
    """Greedy choice, or draws from one generator; on the CPU, so that the device makes no difference to the stream."""

    def __init__(self, parameters: SamplingParameters) -> None:
        self.greedy = not parameters.do_sample
        self._generator = torch.Generator().manual_seed(parameters.seed)

    def weigh(self, scores: Tensor) -> Tensor:
        """What to choose by, from scores (1, vocab) after the stages: the scores themselves, or probabilities."""
        return scores[0] if self.greedy else scores[0].softmax(dim=-1).cpu()

    def draw(self, weights: Tensor) -> int:
        """An id chosen by its weight: the largest, or at random."""
        if self.greedy:
            return int(weights.argmax())
        return int(torch.multinomial(weights, 1, generator=self._generator))

    def judge(self, wanted: Tensor, guess: int, drawn_from: Tensor | None) -> tuple[int, bool]:
        """The token to take where ``guess`` was drawn from ``drawn_from``, and whether that is the guess."""
        if self.greedy:
            token = self.draw(wanted)
            return token, token == guess
        share = 1.0 if drawn_from is None else float(drawn_from[guess])
        if float(torch.rand((), generator=self._generator)) * share < float(wanted[guess]):
            return guess, True
        if drawn_from is None:
            rest = wanted.index_fill(0, torch.tensor(guess), 0.0)
        else:
            rest = (wanted - drawn_from).clamp(min=0.0)
        return self.draw(rest if float(rest.sum()) > 0 else wanted), False  # no rest: p and q are equal up to rounding


class _Checker:
    """The model and the text so far. Its cache holds all ids but the last, which the next check reads first."""

    def __init__(
        self,
        loaded: LoadedModel,
        prompt_ids: Sequence[int],
        parameters: SamplingParameters,
        ending: Ending,
        dice: _Dice,
    ) -> None:
        self.ids = list(prompt_ids)
        self._prompt = len(prompt_ids)
        self._stepper = Stepper(loaded)
        self._stages = Stages([parameters], loaded.device)
        self._ending, self._dice = ending, dice
        self._state: State | None = None

    @property
    def made(self) -> int:
        """New tokens so far."""
        return len(self.ids) - self._prompt

    @property
    def room(self) -> int:
        """New tokens until the length ends the text."""
        return self._ending.limit - self.made

    def check(self, guess: Draft) -> tuple[list[TokenReading], int]:
        """One forward pass: the readings of the tokens that it gives, and how many of them were guessed."""
        raw = self._read(guess.ids)
        first, accepted, finished = self.made, 0, None
        for place, logits in enumerate(raw):
            ids = torch.tensor([self.ids], device=logits.device)
            wanted = self._dice.weigh(self._stages(logits[None], ids))
            if place < len(guess.ids):
                drawn_from = None if guess.chances is None else guess.chances[place]
                token, stands = self._dice.judge(wanted, guess.ids[place], drawn_from)
            else:
                token, stands = self._dice.draw(wanted), False
            self.ids.append(token)
            accepted += stands
            finished = self._ending(self.ids[self._prompt :])
            if finished or not stands:
                break
        new = self.ids[self._prompt + first :]
        assert self._state is not None
        self._stepper.crop(self._state, len(self.ids) - 1)
        readings = read_tokens(raw[: len(new)], new, first_index=first)
        readings[-1] = replace(readings[-1], finished=finished)
        return readings, accepted

    def _read(self, guessed: Sequence[int]) -> Tensor:
        """(k + 1, vocab): the logits after the text so far and after each guess."""
        if self._state is None:
            self._state = self._stepper.prefill(torch.tensor([self.ids]))
            return self._state.logits
        return self._stepper.score(self._state, torch.tensor([[self.ids[-1], *guessed]]))[0]


class PromptLookup:
    """Guesses what followed the longest run of last tokens (up to three) at its most useful earlier place."""

    def propose(self, ids: Sequence[int], count: int) -> Draft:
        """The longest continuation found, of equally long ones the latest."""
        for size in range(min(LOOKUP_NGRAM, len(ids) - 1), 0, -1):
            last = list(ids[-size:])
            found: Sequence[int] = ()
            for place in range(len(ids) - size - 1, -1, -1):
                if ids[place] == last[0] and list(ids[place : place + size]) == last:
                    follows = ids[place + size : place + size + count]
                    found = follows if len(follows) > len(found) else found
                    if len(found) == count:
                        break
            if found:
                return Draft(tuple(found))
        return Draft()


class DraftModel:
    """Guesses with a smaller model, which keeps a cache of its own and forgets what was rejected."""

    def __init__(
        self, loaded: LoadedModel, parameters: SamplingParameters, dice: _Dice, vocabulary: int, *, visitor: str
    ) -> None:
        self._loaded, self._visitor = loaded, visitor
        self._stepper = Stepper(loaded)
        self._stages = Stages([parameters], loaded.device)
        self._dice, self._vocabulary = dice, vocabulary
        self._read: list[int] = []
        self._state: State | None = None

    def propose(self, ids: Sequence[int], count: int) -> Draft:
        """Guess within the smaller model's own context; nothing once the text is longer than that."""
        count = min(count, self._loaded.facts.context - len(ids) + 1)
        text, weights = list(ids), []
        for _ in range(count):
            weights.append(self._loaded.lane.call(partial(self._next, text), visitor=self._visitor))
            text.append(self._dice.draw(weights[-1]))
        by_chance = weights and not self._dice.greedy
        return Draft(tuple(text[len(ids) :]), torch.stack(weights) if by_chance else None)

    def _next(self, text: list[int]) -> Tensor:
        """(vocab,) what to choose the token after ``text`` by: one forward pass over what it has not read yet."""
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._read, text, strict=False)))
        same = min(same, len(text) - 1)  # the last token is read again if need be: its logits are asked for
        if self._state is None or same == 0:
            self._state = self._stepper.prefill(torch.tensor([text]))
        else:
            self._stepper.crop(self._state, same)
            self._stepper.score(self._state, torch.tensor([text[same:]]))
        self._read = list(text)
        raw = self._state.logits[:, : self._vocabulary]  # rows that pad the vocabulary differ between sizes of a model
        raw = torch.nn.functional.pad(raw, (0, self._vocabulary - raw.shape[1]), value=-torch.inf)
        return self._dice.weigh(self._stages(raw, torch.tensor([text], device=raw.device)))


def check_same_tokenizer(loaded: LoadedModel, draft: LoadedModel) -> None:
    """Raise ``BadInput`` unless both models write the same token under each id."""
    if draft.facts.kind != "causal":
        raise BadInput(
            f"{draft.facts.title} cannot guess ahead: it is no causal model.", "Choose a smaller causal model."
        )
    if loaded.tokenizer.get_vocab() != draft.tokenizer.get_vocab():
        raise BadInput(
            f"{draft.facts.title} cannot guess for {loaded.facts.title}: their tokenizers differ.",
            "Choose a smaller model of the same family, or prompt lookup.",
        )
