"""A column against the library: the same prompt and settings through ``model.generate``, id by id.

In float32 and unbatched the ids are equal. Where batching or rounding flips a near tie, the first difference is told
with its logit gap. Speculative decoding is compared with plain greedy, which it must not differ from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.events import Step
from core.generation.beginning import begin
from core.generation.library import LibraryGenerate
from core.generation.microscope import forward_once
from core.generation.parameters import DEFAULT_ORDER, SAMPLING_STRATEGIES, Strategy
from core.generation.text_stream import token_text
from core.labs.decoding.columns import ColumnJob


def check_column(job: ColumnJob, ids: Sequence[int]) -> Step:
    """``Step("check")`` with ``{"same": bool | None, "text": ...}``; None where the library has no such search."""
    request = job.request
    if job.strategy is Strategy.CONTRASTIVE:
        return _told(job, None, "the library no longer has contrastive search")
    if job.strategy in SAMPLING_STRATEGIES and request.stage_order != DEFAULT_ORDER:
        return _told(job, None, "the library has no other order of stages")
    work = LibraryGenerate(
        job.loaded,
        job.prompt_ids,
        library_settings(job),
        prefix_ids=request.forced_ids,
        seed=request.seed,
        visitor=job.visitor,
        cancelled=job.cancelled,
    )
    job.loaded.lane.submit(work)
    return _compared(job, list(ids[len(request.forced_ids) :]), work.result())


def library_settings(job: ColumnJob) -> dict[str, Any]:
    """The fields of a ``GenerationConfig`` that ask the library for what this column does."""
    request, chosen, config = job.request, job.request.sampling(job.strategy), job.loaded.model.generation_config
    room = begin(job.loaded, job.prompt_ids, request.forced_ids).room
    settings: dict[str, Any] = {
        "max_new_tokens": min(request.max_new_tokens, room),
        "eos_token_id": None if request.ignore_eos else config.eos_token_id,
        "bos_token_id": config.bos_token_id,
        "pad_token_id": config.pad_token_id,
        "decoder_start_token_id": config.decoder_start_token_id,
        "repetition_penalty": chosen.repetition_penalty,
        "no_repeat_ngram_size": chosen.no_repeat_ngram_size,
        "do_sample": chosen.do_sample,
    }
    if request.stop_strings:
        settings["stop_strings"] = list(request.stop_strings)
    if chosen.do_sample:
        names = ("temperature", "top_k", "top_p", "min_p", "typical_p")
        settings.update({name: getattr(chosen, name) for name in names})
    if job.strategy is Strategy.BEAM:
        settings.update(num_beams=request.num_beams, length_penalty=request.length_penalty, early_stopping=False)
    return settings


def _compared(job: ColumnJob, ours: list[int], theirs: list[int]) -> Step:
    if ours == theirs:
        return _told(job, True, f"{len(ours)} of {len(ours)} ids equal to generate()")
    place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if place is None:
        return _told(job, False, f"{len(ours)} ids here, {len(theirs)} from generate(), equal as far as both go")
    made = [*job.request.forced_ids, *ours[:place]]
    if job.loaded.facts.kind == "causal":
        logits = forward_once(job.loaded, [*job.prompt_ids, *made], visitor=job.visitor)
    else:
        logits = forward_once(job.loaded, job.prompt_ids, decoder_ids=made, visitor=job.visitor)
    gap = abs(float(logits[ours[place]] - logits[theirs[place]]))
    tokenizer = job.loaded.tokenizer
    words = f"“{token_text(tokenizer, ours[place])}” here, “{token_text(tokenizer, theirs[place])}” from generate()"
    return _told(job, False, f"differs first at token {place + 1}: {words}; their logits are {gap:.2g} apart")


def _told(job: ColumnJob, same: bool | None, text: str) -> Step:
    return Step(name="check", index=0, column=job.index, values={"same": same, "text": text})
