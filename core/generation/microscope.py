"""One step under the lens: what each stage does to the next-token distribution, and what another order would do.

Promises: the same stages as generation itself, run one after the other on one row; probabilities are normalised after
every stage, so that what a cut token held is seen to go to the others. A greedy row has the penalties only, and takes
the largest of what they leave. Everything returned is plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.generation.parameters import SamplingParameters, Stage
from core.generation.stages import compile_stage, is_active
from core.generation.stepping import Stepper
from core.runtime.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class CandidateReading:
    """One token's way through the stages. ``after`` holds its probability after each stage of the order in turn.

    ``cut_by`` is the stage that cut it, None for one that may still be drawn. ``rank`` counts from 1, raw.
    """

    id: int
    rank: int
    raw: float
    after: tuple[float, ...]
    cut_by: Stage | None

    @property
    def final(self) -> float:
        """The probability it is drawn with; for a greedy row that of the distribution whose largest is taken."""
        return self.after[-1]


@dataclass(frozen=True, slots=True)
class MicroscopeReading:
    """The step. ``left`` and ``active`` say for each stage of ``order`` how many tokens it left and if it did anything.

    ``candidates`` are the most probable raw tokens, the chosen one added at the end if it isn't among them. Entropies
    and the chosen token's surprisal are in bits.
    """

    order: tuple[Stage, ...]
    active: tuple[bool, ...]
    left: tuple[int, ...]
    vocabulary: int
    candidates: tuple[CandidateReading, ...]
    chosen: CandidateReading
    surprisal: float
    entropy_raw: float
    entropy_final: float


@dataclass(frozen=True, slots=True)
class OrderComparison:
    """What order ``other`` changes: tokens it cuts that ``order`` keeps, and the reverse, the most probable first.

    ``total_variation`` (0 to 1) is half the summed difference of the two final distributions: the largest share of
    draws that can come out differently. ``top`` and ``other_top`` are (id, final probability).
    """

    order: tuple[Stage, ...]
    other: tuple[Stage, ...]
    newly_cut: tuple[int, ...]
    newly_kept: tuple[int, ...]
    total_variation: float
    top: tuple[tuple[int, float], ...]
    other_top: tuple[tuple[int, float], ...]


def explain(
    logits_row: Tensor,
    ids_so_far: Sequence[int],
    parameters: SamplingParameters,
    order: Sequence[Stage],
    chosen_id: int,
    n: int,
) -> MicroscopeReading:
    """Read a step from its raw logits (vocab,); ``ids_so_far`` are those that the penalties look at."""
    order = tuple(order)
    raw = _row(logits_row)
    steps = _scores_after_each(raw, ids_so_far, parameters, order)
    probabilities = torch.cat([raw, *steps]).softmax(-1)
    kept = torch.cat([raw, *steps]) > -math.inf
    shown = raw[0].topk(min(n, raw.shape[-1])).indices.tolist()
    if chosen_id not in shown:
        shown.append(chosen_id)
    readings = {i: _candidate(i, probabilities[:, i].tolist(), kept[:, i].tolist(), order, raw) for i in shown}
    entropies = torch.special.entr(probabilities).sum(-1) / math.log(2)
    return MicroscopeReading(
        order=order,
        active=tuple(is_active(stage, parameters) for stage in order),
        left=tuple(kept[1:].sum(-1).tolist()),
        vocabulary=raw.shape[-1],
        candidates=tuple(readings.values()),
        chosen=readings[chosen_id],
        surprisal=-float(raw.log_softmax(-1)[0, chosen_id]) / math.log(2),
        entropy_raw=float(entropies[0]),
        entropy_final=float(entropies[-1]),
    )


def compare_orders(
    logits_row: Tensor,
    ids_so_far: Sequence[int],
    parameters: SamplingParameters,
    order: Sequence[Stage],
    other: Sequence[Stage],
    n: int,
) -> OrderComparison:
    """What ``other`` changes of what ``order`` makes of the raw logits (vocab,); ``n`` tokens in each list at most."""
    raw = _row(logits_row)
    one = _scores_after_each(raw, ids_so_far, parameters, order)[-1][0]
    two = _scores_after_each(raw, ids_so_far, parameters, other)[-1][0]
    p, q = one.softmax(-1), two.softmax(-1)
    kept_one, kept_two = one > -math.inf, two > -math.inf
    return OrderComparison(
        order=tuple(order),
        other=tuple(other),
        newly_cut=_most_probable(kept_one & ~kept_two, raw[0], n),
        newly_kept=_most_probable(kept_two & ~kept_one, raw[0], n),
        total_variation=float((p - q).abs().sum()) / 2,
        top=_top(p, n),
        other_top=_top(q, n),
    )


def forward_once(
    loaded: LoadedModel, prefix_ids: Sequence[int], *, decoder_ids: Sequence[int] = (), visitor: str = ""
) -> Tensor:
    """One forward pass in the model's lane: the raw logits (vocab,) after ``prefix_ids``, float32 on the CPU.

    For an encoder-decoder the prefix is the encoder's, and ``decoder_ids`` are those made so far, start token left out.
    """

    def forward() -> Tensor:
        stepper = Stepper(loaded)
        state = stepper.prefill(torch.tensor([list(prefix_ids)]))
        if decoder_ids:
            stepper.score(state, torch.tensor([list(decoder_ids)]))
        return state.logits[0].cpu()

    return loaded.lane.call(forward, visitor=visitor)


def _row(logits_row: Tensor) -> Tensor:
    return logits_row.detach().float().reshape(1, -1)


def _scores_after_each(
    raw: Tensor, ids_so_far: Sequence[int], parameters: SamplingParameters, order: Sequence[Stage]
) -> list[Tensor]:
    """Scores (1, vocab) after each stage of ``order``."""
    ids = torch.tensor([list(ids_so_far)], dtype=torch.long, device=raw.device)
    scores, steps = raw, []
    for stage in order:
        if is_active(stage, parameters):
            for operation in compile_stage(stage, [parameters], raw.device):
                scores = operation(scores, ids)
        steps.append(scores)
    return steps


def _candidate(
    token: int, probabilities: list[float], kept: list[bool], order: tuple[Stage, ...], raw: Tensor
) -> CandidateReading:
    return CandidateReading(
        id=token,
        rank=int((raw[0] > raw[0, token]).sum()) + 1,
        raw=probabilities[0],
        after=tuple(probabilities[1:]),
        cut_by=next((stage for stage, stays in zip(order, kept[1:], strict=True) if not stays), None),
    )


def _most_probable(which: Tensor, raw: Tensor, n: int) -> tuple[int, ...]:
    tokens = which.nonzero()[:, 0]
    best = raw[tokens].argsort(descending=True)[:n]
    return tuple(tokens[best].tolist())


def _top(probabilities: Tensor, n: int) -> tuple[tuple[int, float], ...]:
    """The ``n`` most probable tokens that can be drawn."""
    values, tokens = probabilities.topk(min(n, probabilities.shape[-1]))
    return tuple((i, p) for i, p in zip(tokens.tolist(), values.tolist(), strict=True) if p > 0)
