"""One step of a column under the lens, as the page draws it: candidates, stages, what another order would change."""

from __future__ import annotations

from typing import Any

from core.generation.microscope import MicroscopeReading, OrderComparison, compare_orders, explain, forward_once
from core.generation.parameters import STAGE_TITLES, SamplingParameters, Stage, Strategy
from core.generation.text_stream import token_text
from core.labs.decoding.request import MicroscopeRequest
from core.runtime.loading import LoadedModel
from core.runtime.pool import ModelSpec, Pool

PARAMETER_OF = {
    Stage.TEMPERATURE: "temperature",
    Stage.TOP_K: "top_k",
    Stage.TOP_P: "top_p",
    Stage.MIN_P: "min_p",
    Stage.TYPICAL: "typical_p",
}
SEARCHES = {
    Strategy.BEAM: "Beam search compares whole hypotheses, so it may take a token that is not the best of its step.",
    Strategy.CONTRASTIVE: "Contrastive search also weighs how unlike the context a token is; no stage here shows that.",
}
CHANGED = 8
"""How many tokens of a difference are named."""


def microscope(
    request: MicroscopeRequest, pool: Pool, *, visitor: str, token: str | None = None, owner: str = ""
) -> dict[str, Any]:
    """One forward pass, all stages; plain JSON as ``tabs.widgets.microscope_view`` draws it."""
    with pool.lease(ModelSpec(base=request.decoding.model), token=token, owner=owner) as loaded:
        causal = loaded.facts.kind == "causal"
        before = [*request.prompt_ids, *request.prefix_ids] if causal else list(request.prompt_ids)
        decoded = [] if causal else list(request.prefix_ids)
        logits = forward_once(loaded, before, decoder_ids=decoded, visitor=visitor)
        penalized = before if causal else [int(loaded.model.generation_config.decoder_start_token_id), *decoded]
        parameters = request.decoding.sampling(request.strategy)
        reading = explain(logits, penalized, parameters, request.order, request.chosen_id, request.candidates)
        usual = request.decoding.stage_order
        changes = None
        if request.order != usual:
            changes = compare_orders(logits, penalized, parameters, usual, request.order, CHANGED)
        return _shown(request, loaded, parameters, reading, changes)


def _shown(
    request: MicroscopeRequest,
    loaded: LoadedModel,
    parameters: SamplingParameters,
    reading: MicroscopeReading,
    changes: OrderComparison | None,
) -> dict[str, Any]:
    def text(token_id: int) -> str:
        return token_text(loaded.tokenizer, token_id)

    title = request.decoding.title(request.strategy)
    return {
        "title": f"Token {len(request.prefix_ids) + 1} of {title}: “{text(request.chosen_id)}”",
        "summary": _summary(reading),
        "stages": _stages(parameters, reading),
        "rows": [
            {
                "id": candidate.id,
                "text": text(candidate.id),
                "piece": loaded.tokenizer.convert_ids_to_tokens(candidate.id),
                "chosen": candidate.id == request.chosen_id,
                "p": _through(candidate.raw, candidate.after, candidate.cut_by, reading.order),
                "cut_by": candidate.cut_by.value if candidate.cut_by else None,
            }
            for candidate in reading.candidates
        ],
        "orders": {"default": [s.value for s in request.decoding.stage_order], "now": [s.value for s in reading.order]},
        "order_note": SEARCHES.get(request.strategy, ""),
        "changes": changes
        and {
            "kept": [text(i) for i in changes.newly_kept],
            "cut": [text(i) for i in changes.newly_cut],
            "tv": changes.total_variation,
        },
    }


def _summary(reading: MicroscopeReading) -> str:
    chosen = reading.chosen
    return (
        f"p {chosen.raw:.2f} → {chosen.final:.2f} · rank {chosen.rank} · surprisal {reading.surprisal:.1f} bits · "
        f"entropy {reading.entropy_raw:.1f} → {reading.entropy_final:.1f} bits"
    )


def _stages(parameters: SamplingParameters, reading: MicroscopeReading) -> list[dict[str, Any]]:
    """The columns of the table: raw, then each stage in order. What the last one leaves is what is drawn from."""
    columns: list[dict[str, Any]] = [{"name": "raw", "label": "raw", "left": reading.vocabulary, "movable": False}]
    for stage, active, left in zip(reading.order, reading.active, reading.left, strict=True):
        value = f" {getattr(parameters, PARAMETER_OF[stage]):g}" if active and stage in PARAMETER_OF else ""
        label = f"{STAGE_TITLES[stage]}{value}" if active else f"{STAGE_TITLES[stage]} off"
        columns.append({"name": stage.value, "label": label, "left": left, "movable": True, "neutral": not active})
    return columns


def _through(
    raw: float, after: tuple[float, ...], cut_by: Stage | None, order: tuple[Stage, ...]
) -> list[float | None]:
    """The probability at each column; None from the stage on that cut the token."""
    cut_at = order.index(cut_by) if cut_by is not None else len(order)
    return [raw, *(p if i < cut_at else None for i, p in enumerate(after))]
