"""Contrastive search: probable, but unlike what came before (Su et al. 2022, "A Contrastive Framework for Neural Text
Generation").

Each step takes the k most probable tokens (after the penalties), reads all of them in one forward pass, and keeps the
one with the largest ``(1 - alpha) * p - alpha * s``: p its probability, s the greatest cosine similarity between its
last hidden state and that of any token before it, the prompt's included. With alpha 0 this is greedy search.

Promises: one forward pass a step, one slice of the model's lane each; the transformers library no longer has this
search, so the test compares with a plain loop that reads the whole text again for each candidate. Causal models only:
an encoder-decoder's states are no measure of having been said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from core.errors import BadInput
from core.generation.ending import Ending
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.readings import TokenReading, read_tokens
from core.generation.stages import Stages
from core.generation.stepping import State, Stepper
from core.runtime.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class Contrast:
    """One candidate: its probability after the penalties, its likeness to the text (-1 to 1), and the score of both."""

    id: int
    p: float
    similarity: float
    score: float


@dataclass(frozen=True, slots=True)
class ContrastiveReading(TokenReading):
    """The chosen token with the candidates it was chosen from, most probable first."""

    candidates: tuple[Contrast, ...] = ()


def contrastive_search(
    loaded: LoadedModel,
    prompt_ids: Sequence[int],
    parameters: SamplingParameters,
    stop: StopConditions,
    *,
    penalty_alpha: float,
    top_k: int,
    visitor: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[ContrastiveReading]:
    """Yield the tokens one by one; nothing more once ``cancelled`` says so. Of ``parameters`` only the penalties act.

    Raises ``BadInput`` for an encoder-decoder.
    """
    if loaded.facts.kind != "causal":
        raise BadInput("Contrastive search needs a causal model.", "Choose another strategy for this model.")
    ending = Ending(loaded, prompt_ids, stop)
    search = _Search(loaded, prompt_ids, parameters, penalty_alpha, top_k)

    def run() -> Iterator[ContrastiveReading]:
        finished = None
        while finished is None and not cancelled():
            reading = loaded.lane.call(search.step, visitor=visitor)
            finished = ending(search.ids[len(prompt_ids) :])
            yield replace(reading, finished=finished)

    return run()


class _Search:
    """The text so far as one row of hidden states; ``step`` makes it k rows and one again."""

    def __init__(
        self,
        loaded: LoadedModel,
        prompt_ids: Sequence[int],
        parameters: SamplingParameters,
        penalty_alpha: float,
        top_k: int,
    ) -> None:
        self._stepper = Stepper(loaded)
        self._penalties = Stages([parameters.model_copy(update={"do_sample": False})], loaded.device)
        self._alpha, self._top_k = penalty_alpha, top_k
        self._prompt = len(prompt_ids)
        self._state: State | None = None
        self.ids = list(prompt_ids)

    def step(self) -> ContrastiveReading:
        """Choose one token and read it."""
        if self._state is None:
            self._state = self._stepper.prefill(torch.tensor([self.ids]), hidden=True)
        raw = self._state.logits
        chances = self._penalties(raw, torch.tensor([self.ids], device=raw.device)).softmax(dim=-1)[0]
        p, candidates = chances.topk(min(self._top_k, chances.numel()))
        similarity = self._similarity(candidates)
        scores = (1 - self._alpha) * p - self._alpha * similarity
        best = int(scores.argmax())
        self._stepper.select(self._state, torch.tensor([best]))
        columns = (candidates.tolist(), p.tolist(), similarity.tolist(), scores.tolist())
        contrasts = tuple(Contrast(*each) for each in zip(*columns, strict=True))
        self.ids.append(contrasts[best].id)
        (reading,) = read_tokens(raw, self.ids[-1:], first_index=len(self.ids) - 1 - self._prompt)
        values = {field.name: getattr(reading, field.name) for field in fields(reading)}
        return ContrastiveReading(**values, candidates=contrasts)

    def _similarity(self, candidates: Tensor) -> Tensor:
        """Go on with each candidate in a row of its own: (k,) greatest similarity to any state before."""
        state = self._state
        assert state is not None
        copies = torch.zeros(len(candidates), dtype=torch.long)
        self._stepper.advance(self._stepper.select(state, copies), candidates[:, None])
        assert state.hidden is not None
        hidden = torch.nn.functional.normalize(state.hidden.float(), dim=-1)
        return (hidden[:, :-1] @ hidden[:, -1:].mT).squeeze(-1).amax(dim=1)
