"""A decoding run: lease the model, encode the prompt, let the columns decode side by side, compare, sum up.

Free columns each have a thread, so that their rows meet in one batch; by hand, all columns take one step per turn.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from core.errors import BadInput, Stopped
from core.events import Done, Event, Metric, Step, Token
from core.generation.parameters import Strategy
from core.generation.prompts import encode_prompt, prompt_tokens
from core.labs.decoding.check import check_column
from core.labs.decoding.columns import ColumnJob, column_events
from core.labs.decoding.facts import model_facts
from core.labs.decoding.request import PROMPT_LOOKUP, DecodingRequest
from core.runtime.loading import LoadedModel
from core.runtime.pool import ModelSpec, Pool
from core.runtime.runner import RunContext

CAUSAL_ONLY = (Strategy.CONTRASTIVE, Strategy.SPECULATIVE)


def run(request: DecodingRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one decoding run, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    with ExitStack() as leases:

        def lease(name: str) -> LoadedModel:
            spec = ModelSpec(base=name)
            return leases.enter_context(pool.lease(spec, token=context.secret, cancelled=context.cancelled))

        loaded = lease(request.model)
        refuse_unsuitable(request, loaded)
        draft = None
        if Strategy.SPECULATIVE in request.strategies and request.draft != PROMPT_LOOKUP:
            draft = lease(request.draft)
        prompt_ids = encode_prompt(
            loaded, request.prompt, chat=request.chat, system_prompt=request.system_prompt, room=len(request.forced_ids) + 1
        )
        yield _start(request, loaded, prompt_ids)
        jobs = [
            ColumnJob(i, strategy, request, loaded, draft, prompt_ids, context.visitor, context.cancelled)
            for i, strategy in enumerate(request.strategies)
        ]
        summary = Summary(request, prompt_ids)
        events = in_turns(jobs, context) if request.by_hand else side_by_side(jobs)
        for event in events:
            summary.add(event)
            yield event
        if request.check and not context.cancelled():
            for job in jobs:
                yield check_column(job, summary.ids(job.index))
        yield Done(reason="stopped" if context.cancelled() else "finished", result=summary.result())
