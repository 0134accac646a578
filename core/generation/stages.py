"""The stages between raw logits and the distribution that is sampled from, for many rows with different settings.

Promises: each stage cuts and changes exactly what the processor or warper of that name in transformers does (compared
in the tests with random logits and settings), so that rows in the default order choose like ``generate()``. A stage
is worked out once for all rows that use it; a row whose setting is neutral is left out of it. Logits given to a
function here are never changed in place.

Scores are (rows, vocab) float32. Ids so far are (rows, T) int64, aligned to the right and filled up on the left with
``ABSENT``. A greedy row knows only the penalties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from core.generation.parameters import DEFAULT_ORDER, SamplingParameters, Stage

ABSENT = -1
"""Marks a place where a row has no token (yet)."""
CUT = -math.inf
_HEADS = (40, 320)
"""How many of the most probable tokens are looked at before a row is sorted as a whole: at first, and then."""
_DOUBTFUL = 1.0e-5
"""A nucleus whose border lies this near to p is decided by the full sort, as rounding may decide it."""
_HARMLESS = (Stage.TEMPERATURE, Stage.MIN_P)
"""At their neutral values these leave every bit as it is, and cost less than picking out the rows that want them."""

Operation = Callable[[Tensor, Tensor], Tensor]
"""Maps (scores, ids so far) to new scores."""


def is_active(stage: Stage, row: SamplingParameters) -> bool:
    """Whether a stage changes anything for a row."""
    if stage is Stage.PENALTIES:
        return row.repetition_penalty != 1.0 or row.no_repeat_ngram_size > 0
    if not row.do_sample:
        return False
    neutral = {
        Stage.TEMPERATURE: row.temperature == 1.0,
        Stage.TOP_K: row.top_k == 0,
        Stage.TOP_P: row.top_p >= 1.0,
        Stage.MIN_P: row.min_p == 0.0,
        Stage.TYPICAL: row.typical_p >= 1.0,
    }
    return not neutral[stage]


class Stages:
    """The stages of a fixed list of rows, compiled to tensors once; only those ``among``, if it is given."""

    def __init__(
        self, rows: Sequence[SamplingParameters], device: torch.device, among: Collection[Stage] = tuple(Stage)
    ) -> None:
        orders: dict[tuple[Stage, ...], list[int]] = {}
        for index, row in enumerate(rows):
            orders.setdefault(row.order if row.do_sample else DEFAULT_ORDER, []).append(index)
        self._operations: list[tuple[Tensor | None, Operation]] = []
        for order, indices in orders.items():
            for stage in order:
                active = [i for i in indices if stage in among and is_active(stage, rows[i])]
                if active and stage in _HARMLESS:
                    active = indices
                if active:
                    everyone = len(active) == len(rows)
                    where = None if everyone else torch.tensor(active, device=device)
                    operations = compile_stage(stage, [rows[i] for i in active], device)
                    self._operations += [(where, operation) for operation in operations]

    def __call__(self, scores: Tensor, ids: Tensor) -> Tensor:
        """Scores after all stages, each row in its own order; ``scores`` itself when no stage is active."""
        for where, operation in self._operations:
            if where is None:
                scores = operation(scores, ids)
            else:
                scores = scores.index_copy(0, where, operation(scores[where], ids[where]))
        return scores


def compile_stage(stage: Stage, rows: Sequence[SamplingParameters], device: torch.device) -> list[Operation]:
    """One stage for rows in all of which it is active (or harmless), as operations to run one after the other."""

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

    if stage is Stage.PENALTIES:
        return _compile_penalties(rows, device)
    if stage is Stage.TEMPERATURE:
        return [_Temperature(column([row.temperature if row.do_sample else 1.0 for row in rows]))]
    if stage is Stage.TOP_K:
        return [_TopK([row.top_k for row in rows], device)]
    if stage is Stage.TOP_P:
        return [_TopP(column([1 - row.top_p for row in rows]))]
    if stage is Stage.MIN_P:
        return [_MinP(column([row.min_p if row.do_sample else 0.0 for row in rows]))]
    return [_Typical(column([row.typical_p for row in rows]))]


def _compile_penalties(rows: Sequence[SamplingParameters], device: torch.device) -> list[Operation]:
    operations: list[Operation] = []
    if any(row.repetition_penalty != 1.0 for row in rows):
        penalty = torch.tensor([row.repetition_penalty for row in rows], dtype=torch.float32, device=device)
        operations.append(_RepetitionPenalty(penalty[:, None]))
    for size in sorted({row.no_repeat_ngram_size for row in rows} - {0}):
        holds = torch.tensor([row.no_repeat_ngram_size == size for row in rows], device=device)
        operations.append(_NoRepeatNgram(size, holds))
    return operations


class _Temperature:
    def __init__(self, temperature: Tensor) -> None:
        # CUDA divides by a Python number as it multiplies with the inverse, and so does the library there
        self._inverse = 1.0 / temperature if temperature.is_cuda else None
        self._temperature = temperature

    def __call__(self, scores: Tensor, ids: Tensor) -> Tensor:
        return scores / self._temperature if self._inverse is None else scores * self._inverse


class _RepetitionPenalty:
    """Scores of tokens that came already: divided by the penalty if positive, multiplied if negative."""

    def __init__(self, penalty: Tensor) -> None:
        self._penalty = penalty

    def __call__(self, scores: Tensor, ids: Tensor) -> Tensor:
        vocabulary = scores.shape[-1]
        padded = torch.nn.functional.pad(scores, (0, 1))  # the spare column takes what is no token of these scores
        places = _places(ids, vocabulary)
        old = padded.gather(1, places)
        new = torch.where(old < 0, old * self._penalty, old / self._penalty)
        return padded.scatter(1, places, new)[:, :vocabulary]


class _NoRepeatNgram:
    """Cuts each token that would complete an n-gram which is there already."""

    def __init__(self, size: int, holds: Tensor) -> None:
        self._size = size
        self._holds = holds[:, None]

    def __call__(self, scores: Tensor, ids: Tensor) -> Tensor:
        vocabulary, length = scores.shape[-1], ids.shape[-1]
        if length < self._size:
            return scores
        windows = ids.unfold(1, self._size, 1)
        prefix = ids[:, length + 1 - self._size :]
        there = (windows >= 0).all(-1) & self._holds
        same = (windows[..., :-1] == prefix[:, None]).all(-1) & there
        cut = torch.zeros((scores.shape[0], vocabulary + 1), dtype=torch.bool, device=scores.device)
        cut.scatter_(1, torch.where(same, _places(windows[..., -1], vocabulary), vocabulary), True)
        return scores.masked_fill(cut[:, :vocabulary], CUT)


def _places(ids: Tensor, vocabulary: int) -> Tensor:
    """Ids as columns of scores, those that are none in the column after the last."""
    return torch.where(ids < 0, vocabulary, ids).clamp(max=vocabulary)


class _TopK:
    """Cuts what scores below the k-th best; tokens that tie with it stay."""

    def __init__(self, top_k: Sequence[int], device: torch.device) -> None:
        self._largest = max(top_k)
        self._last = torch.tensor(top_k, device=device)[:, None] - 1

    def __call__(self, scores: Tensor, ids: Tensor) -> Tensor:
        largest = min(self._largest, scores.shape[-1])
        best = scores.topk(largest).values
        return scores.masked_fill(scores < best.gather(1, self._last.clamp(max=largest - 1)), CUT)


class _TopP:
    """Keeps the fewest tokens that together reach p. ``rest`` is 1 - p, (rows, 1)."""

    def __init__(self, rest: Tensor) -> None:
        self._rest = rest

    def __call__(self, scores: Tensor, ids: Tensor) -> Tensor:
        return _nucleus(scores, self._rest, _HEADS if scores.device.type == "cpu" else ())


def _nucleus(scores: Tensor, rest: Tensor, heads: tuple[int, ...]) -> Tensor:
    """Cut by looking at the most probable tokens only, many times faster on a CPU than sorting the vocabulary.

    Rows for which one head is too short are tried with the next; doubtful ones and what is left are sorted.
    """
    if not heads or scores.shape[-1] <= heads[0]:
        return _nucleus_by_sorting(scores, rest)
    probabilities = scores.softmax(-1)
    best: list[list[float]] = probabilities.topk(heads[0]).values.tolist()
    least = [_least_kept(head, cut) for head, cut in zip(best, rest[:, 0].tolist(), strict=True)]
    result = scores.masked_fill(probabilities < torch.tensor([p or 0.0 for p in least])[:, None], CUT)
    unsure = [i for i, p in enumerate(least) if p is None]
    if unsure:
        result[unsure] = _nucleus(scores[unsure], rest[unsure], heads[1:])
    return result


def _least_kept(head: list[float], rest: float) -> float | None:
    """The smallest probability in the nucleus, from the largest ones in falling order.

    A token is cut when it and all less probable ones together have at most ``rest``. None where that is decided by
    rounding, by which of several equal tokens comes first, or beyond the head.
    """
    above, before = 0.0, None
    for p in head:
        slack = 1.0 - above - rest
        if slack < _DOUBTFUL:
            return before if slack < -_DOUBTFUL and p != before else None
        above, before = above + p, p
    return None


def _nucleus_by_sorting(scores: Tensor, rest: Tensor) -> Tensor:
    ordered, tokens = scores.sort(descending=False)
    cut = ordered.softmax(-1).cumsum(-1) <= rest
    cut[:, -1] = False
    return scores.masked_fill(cut.scatter(1, tokens, cut), CUT)


class _MinP:
    """Cuts what is less probable than this share of the most probable token."""

    def __init__(self, share: Tensor) -> None:
        self._share = share

    def __call__(self, scores: Tensor, ids: Tensor) -> Tensor:
        probabilities = scores.softmax(-1)
        return scores.masked_fill(probabilities < self._share * probabilities.amax(-1, keepdim=True), CUT)


class _Typical:
    """Keeps the tokens whose surprisal is nearest the entropy, up to the given mass (Meister et al., 2202.00666)."""

    def __init__(self, mass: Tensor) -> None:
        self._mass = mass

    def __call__(self, scores: Tensor, ids: Tensor) -> Tensor:
        logprobs = scores.log_softmax(-1)
        entropy = -(logprobs * logprobs.exp()).nansum(-1, keepdim=True)
        distance, tokens = (-logprobs - entropy).abs().sort(descending=False)
        cumulative = scores.gather(-1, tokens).softmax(-1).cumsum(-1)
        last = (cumulative < self._mass).sum(-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        cut = distance > distance.gather(1, last)
        cut[:, 0] = False
        return scores.masked_fill(cut.scatter(1, tokens, cut), CUT)
