"""Beam search, one step at a time, with everything that a tree of it needs: also the hypotheses that were dropped.

Promises: in float32 the best ids are those of ``generate(num_beams=n, do_sample=False, early_stopping=False)`` with
the same penalties, and the scores are its ``sequences_scores``: a hypothesis of t new tokens scores its summed
log-probability (after the penalties) over ``t ** length_penalty``, its end token counted. One beam is greedy search.

The rules are the library's. Each step looks at the best ``max(2, 1 + end tokens) * num_beams`` continuations; one that
ends is kept as finished only if it is among the first ``num_beams`` of them; the best ``num_beams`` that do not end run
on. The search is over when no running hypothesis, scored at its present length, beats the worst of ``num_beams``
finished ones; with a length penalty that is a heuristic. One difference: the library gives up a finished hypothesis
that scores below -1e9 (a strongly negative length penalty on a long text) and returns nothing; here it counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import torch
from torch import Tensor

from core.generation.ending import Ending
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.readings import Finish, TokenReading, measure, reading_of
from core.generation.stages import Stages
from core.generation.stepping import State, Stepper
from core.runtime.loading import LoadedModel

IMPOSSIBLE = -1.0e9
"""What the library adds to the log-probability of a hypothesis that must not run on."""
LOWEST = torch.finfo(torch.float32).min
"""A score of minus infinity (a forbidden token) as a finite number, so that it can be stored and drawn."""


@dataclass(frozen=True, slots=True)
class BeamNode:
    """One considered continuation. ``parent`` is None for a child of the prompt.

    ``logprob`` is this token's own, raw, in nats; ``score`` the hypothesis's, penalties and length included. A node is
    ``kept`` if the search goes on from it and ``done`` if it is a finished hypothesis's end; otherwise it was pruned.
    """

    node: int
    parent: int | None
    id: int
    logprob: float
    score: float
    kept: bool
    done: bool


@dataclass(frozen=True, slots=True)
class BeamStep:
    """What one step looked at, best first, and how the best hypothesis so far changed.

    ``best`` are the node ids of the hypothesis, running or finished, that scores best now. To redraw its tokens keep
    the first ``unchanged`` of those shown after the last step and put ``readings`` behind them.
    """

    index: int
    nodes: tuple[BeamNode, ...]
    best: tuple[int, ...]
    unchanged: int
    readings: tuple[TokenReading, ...]


@dataclass(frozen=True, slots=True)
class BeamHypothesis:
    """A finished hypothesis: its nodes and ids from the prompt's end on, and why it ended."""

    nodes: tuple[int, ...]
    ids: tuple[int, ...]
    score: float
    finished: Finish


@dataclass(frozen=True, slots=True)
class BeamResult:
    """The best finished hypotheses, at most ``num_beams``, best first; and the readings of the first one's tokens."""

    hypotheses: tuple[BeamHypothesis, ...]
    readings: tuple[TokenReading, ...]


def beam_search(
    loaded: LoadedModel,
    prompt_ids: Sequence[int],
    parameters: SamplingParameters,
    stop: StopConditions,
    *,
    num_beams: int,
    length_penalty: float = 1.0,
    prefix_ids: Sequence[int] = (),
    visitor: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[BeamStep | BeamResult]:
    """Yield a ``BeamStep`` per step and the ``BeamResult`` last; nothing more once ``cancelled`` says so.

    ``prefix_ids`` are tokens that each hypothesis begins with and that are not told again. Only the penalties of
    ``parameters`` act. Each step is one slice of the model's lane. Raises ``BadInput`` at once when there is no room.
    """
    ending = Ending(loaded, prompt_ids, stop, prefix_ids=prefix_ids)
    book = BeamBook(num_beams, length_penalty, ending)
    rows = _Rows(loaded, ending, parameters, num_beams)

    def run() -> Iterator[BeamStep | BeamResult]:
        while not book.over:
            if cancelled():
                return
            yield book.extend(loaded.lane.call(lambda: rows.look(book), visitor=visitor))
        yield book.result()

    return run()


class _Rows:
    """The running hypotheses as rows of one model state."""

    def __init__(self, loaded: LoadedModel, ending: Ending, parameters: SamplingParameters, num_beams: int) -> None:
        self._stepper = Stepper(loaded)
        self._source, self._start = ending.source, ending.start
        greedy = parameters.model_copy(update={"do_sample": False})
        self._penalties = Stages([greedy] * num_beams, loaded.device)
        self._width = max(2, 1 + len(ending.end_tokens)) * num_beams
        self._state: State | None = None

    def look(self, book: BeamBook) -> Continuations:
        """One forward pass, then the best continuations of the book's running hypotheses."""
        logits = self._forward(book).logits.expand(len(book.running), -1)  # the first step has one row for all
        ids = torch.tensor([[*self._start, *path.ids] for path in book.running], device=logits.device)
        scores = self._penalties(logits.log_softmax(dim=-1), ids) + book.totals.to(logits.device)[:, None]
        totals, places = scores.flatten().topk(min(self._width, scores.numel()))
        parents, tokens = places // scores.shape[1], places % scores.shape[1]
        readings = [reading_of(numbers, book.length) for numbers in measure(logits[parents], tokens)]
        return Continuations(totals.cpu(), parents.tolist(), readings)

    def _forward(self, book: BeamBook) -> State:
        if self._state is None:
            self._state = self._stepper.prefill(torch.tensor([self._source]))
            if self._state.length < len(self._start):  # what an encoder-decoder has written already
                self._stepper.score(self._state, torch.tensor([self._start[self._state.length :]]))
        else:
            rows = torch.tensor(book.parents) % self._state.rows  # after the first step all continue its one row
            state = self._stepper.select(self._state, rows)
            self._state = self._stepper.advance(state, torch.tensor([path.ids[-1:] for path in book.running]))
        return self._state


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """A hypothesis with all that is told of it."""

    ids: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    readings: tuple[TokenReading, ...] = ()
    score: float = -math.inf
    finished: Finish | None = None


@dataclass(frozen=True, slots=True)
class Continuations:
    """The best continuations of the running hypotheses, best first.

    ``totals`` are their summed log-probabilities (float32, CPU), ``parents`` the rows they continue.
    """

    totals: Tensor
    parents: list[int]
    readings: list[TokenReading]


class BeamBook:
    """The bookkeeping of one search. It sees no model; ``ending`` says why new ids end a text, or None.

    Sums stay float32 tensors: other rounding would part from the library on near ties.
    """

    def __init__(self, num_beams: int, length_penalty: float, ending: Callable[[Sequence[int]], Finish | None]) -> None:
        self.running = [_Path()] * num_beams
        self.finished: list[_Path] = []
        self.parents: list[int] = []
        self.length = 0
        self.over = False
        self.totals = torch.full((num_beams,), IMPOSSIBLE)
        self.totals[0] = 0.0  # the first step continues one prompt, not num_beams copies of it
        self._width, self._length_penalty, self._ending = num_beams, length_penalty, ending
        self._best = _Path()
        self._nodes = 0

    def extend(self, found: Continuations) -> BeamStep:
        """Take one step; afterwards ``parents`` says which rows run on, and ``over`` whether none does."""
        self.length += 1
        scores = (found.totals / self.length**self._length_penalty).clamp(min=LOWEST).tolist()
        paths = [self._path(*each) for each in zip(found.parents, found.readings, scores, strict=True)]
        ends = torch.tensor([path.finished is not None for path in paths])
        self.totals, kept = (found.totals + ends * IMPOSSIBLE).topk(self._width)
        self.running = [paths[place] for place in kept]
        self.parents = [found.parents[place] for place in kept]
        done = [place for place in range(self._width) if ends[place]]
        self.finished = sorted([*self.finished, *(paths[place] for place in done)], key=_score, reverse=True)
        del self.finished[self._width :]
        self.over = bool(ends.all()) or not self._can_improve()
        alive = [] if self.over else [int(place) for place in kept if not ends[place]]
        nodes = tuple(_node(path, kept=place in alive, done=place in done) for place, path in enumerate(paths))
        return self._step(nodes, max([*self.finished, *(paths[place] for place in alive)], key=_score))

    def result(self) -> BeamResult:
        """What the search found; only once it is over."""
        found = [BeamHypothesis(p.nodes, p.ids, p.score, p.finished) for p in self.finished if p.finished is not None]
        return BeamResult(tuple(found), self.finished[0].readings)

    def _path(self, parent: int, reading: TokenReading, score: float) -> _Path:
        before = self.running[parent]
        ids, nodes = (*before.ids, reading.id), (*before.nodes, self._nodes)
        self._nodes += 1
        finished = self._ending(ids)
        return _Path(ids, nodes, (*before.readings, replace(reading, finished=finished)), score, finished)

    def _can_improve(self) -> bool:
        if len(self.finished) < self._width:
            return True
        if self._width == 1:
            return False  # greedy search ends with its first end
        reach = float(self.totals[0] / self.length**self._length_penalty)
        return reach > self.finished[-1].score

    def _step(self, nodes: tuple[BeamNode, ...], best: _Path) -> BeamStep:
        pairs = zip(self._best.nodes, best.nodes, strict=False)
        unchanged = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._best = best
        return BeamStep(self.length - 1, nodes, best.nodes, unchanged, best.readings[unchanged:])


def _score(path: _Path) -> float:
    return path.score


def _node(path: _Path, *, kept: bool, done: bool) -> BeamNode:
    parent = path.nodes[-2] if len(path.nodes) > 1 else None
    return BeamNode(path.nodes[-1], parent, path.ids[-1], path.readings[-1].logprob, path.score, kept, done)
