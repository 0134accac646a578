"""A decoding run: lease the model, encode the prompt, let the columns decode side by side, compare, sum up.

Free columns each have a thread, so that their rows meet in one batch; by hand, all columns take one step per turn.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

from core.catalog.catalog import Catalog, Located
from core.errors import BadInput, Stopped
from core.events import Done, Event, Progress, Step, Token
from core.generation.beginning import begin
from core.generation.parameters import STRATEGY_TITLES, Strategy
from core.generation.prompts import encode_prompt, shown_tokens
from core.labs.decoding.check import check_column
from core.labs.decoding.columns import ColumnJob, column_events
from core.labs.decoding.facts import model_facts
from core.labs.decoding.microscope import microscope
from core.labs.decoding.request import PROMPT_LOOKUP, DecodingRequest
from core.labs.decoding.script import Kind
from core.labs.decoding.script import script as write_script
from core.labs.decoding.summary import Summary
from core.runtime.loading import LoadedModel
from core.runtime.pool import ModelSpec, Pool
from core.runtime.runner import RunContext
from core.runtime.tuned import is_tuned

__all__ = ["microscope", "run", "script", "warm_up"]
CAUSAL_ONLY = (Strategy.CONTRASTIVE, Strategy.SPECULATIVE)


def run(request: DecodingRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one decoding run, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    with ExitStack() as leases:

        def lease(name: str) -> LoadedModel:
            spec = ModelSpec(base=name)
            lent = pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner)
            return leases.enter_context(lent)

        yield Progress(done=0, note=f"Getting {request.model} ready")
        loaded = lease(request.model)
        _refuse_unsuitable(request, loaded)
        drafts = Strategy.SPECULATIVE in request.strategies and request.draft != PROMPT_LOOKUP
        draft = lease(request.draft) if drafts else None
        prompt_ids = encode_prompt(loaded, request.prompt, chat=request.chat, system_prompt=request.system_prompt)
        begin(loaded, prompt_ids, request.forced_ids)  # a prompt that is too long is refused before anything is shown
        yield _start(request, loaded, prompt_ids)
        jobs = [
            ColumnJob(i, strategy, request, loaded, draft, prompt_ids, context.visitor, context.cancelled)
            for i, strategy in enumerate(request.strategies)
        ]
        summary = Summary(request, prompt_ids)
        for event in _in_turns(jobs, context) if request.by_hand else _side_by_side(jobs):
            summary.add(event)
            yield event
        if request.check and not context.cancelled():
            yield from (check_column(job, summary.ids(job.index)) for job in jobs)
        yield Done(reason="stopped" if context.cancelled() else "finished", result=summary.result())


def _refuse_unsuitable(request: DecodingRequest, loaded: LoadedModel) -> None:
    facts = loaded.facts
    if facts.kind == "encoder" or loaded.spec.head is not None:
        what = "an encoder: it reads text" if loaded.spec.head is None else "trained to label: it reads text"
        raise BadInput(f"{facts.title} is {what} and writes none.", "Choose a model that decodes.")
    wrong = [STRATEGY_TITLES[s] for s in request.strategies if s in CAUSAL_ONLY]
    if facts.kind == "seq2seq" and wrong:
        raise BadInput(
            f"{facts.title} is an encoder-decoder; {' and '.join(wrong)} is for causal models.",
            "Use greedy, sampling or beam search with it.",
        )


def _start(request: DecodingRequest, loaded: LoadedModel, prompt_ids: list[int]) -> Step:
    columns = [{"strategy": s.value, "title": request.title(s)} for s in request.strategies]
    values = {
        "prompt": shown_tokens(loaded, prompt_ids),
        "columns": columns,
        "facts": model_facts(loaded),
        "by_hand": request.by_hand,
    }
    return Step(name="start", index=0, values=values)


def _side_by_side(jobs: list[ColumnJob]) -> Iterator[Event]:
    """All columns at once, each on its own thread; events in the order in which they come.

    The first error ends the run; a reader that leaves ends the columns at their next token.
    """
    events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
    left = threading.Event()

    def work(job: ColumnJob) -> None:
        try:
            for event in column_events(replace(job, cancelled=lambda: left.is_set() or job.cancelled())):
                events.put(event)
        except BaseException as error:  # noqa: BLE001 - raised again where the run can see it
            events.put(error)
        finally:
            events.put(None)

    for job in jobs:
        threading.Thread(target=work, args=(job,), name=f"column-{job.index}", daemon=True).start()
    going = len(jobs)
    try:
        while going:
            item = events.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                going -= 1
            else:
                yield item
    finally:
        left.set()


def _in_turns(jobs: list[ColumnJob], context: RunContext) -> Iterator[Event]:
    """One step of each column for each turn that the visitor gives."""
    going = [column_events(job) for job in jobs]
    while going:
        if context.would_wait():
            yield Step(name="waiting", index=0, values={"on": True})
        with suppress(Stopped):  # the columns see it themselves and end with what they have
            context.wait_for_turn()
        for column in list(going):
            for event in column:
                yield event
                if (isinstance(event, Token) and not event.forced) or (
                    isinstance(event, Step) and event.name == "beam_best"
                ):
                    break
            else:
                going.remove(column)
        yield Step(name="waiting", index=0, values={"on": False})


def script(request: DecodingRequest, pool: Pool, catalog: Catalog, token: str | None = None, owner: str = "") -> str:
    """A plain Python script that gives the same ids without Benchtop; run it in the repository's folder.

    A fine-tuned model is named by its run's folder: its owner may unpack the model's zip elsewhere and name that.
    """
    tuned = pool.tuned.open(request.model, owner) if is_tuned(request.model) else None
    if tuned is not None and not tuned.attaches:
        located = tuned.located()
    else:
        located = catalog.locate(request.model if tuned is None else tuned.base, token)
    placement = pool.plan(ModelSpec(base=request.model), token, owner)
    kind: Kind = "seq2seq" if located.facts.kind == "seq2seq" else "causal"
    drafts = Strategy.SPECULATIVE in request.strategies and request.draft != PROMPT_LOOKUP
    draft = _name_in_script(catalog.locate(request.draft, token)) if drafts else None
    return write_script(
        request,
        _name_in_script(located),
        placement.dtype,
        kind=kind,
        draft_path=draft,
        device=placement.device,
        adapter_path=str(tuned.folder) if tuned and tuned.attaches else None,
        prompted=tuned is not None and tuned.kind == "prompt",
    )


def _name_in_script(located: Located) -> str:
    if located.source == "bundled":
        return f"assets/models/{located.name}"
    return located.name if located.source == "hub" else str(located.path)


def warm_up(pool: Pool) -> None:
    """Import what a run needs, load the bundled model, and take one step with it."""
    request = DecodingRequest(strategies=tuple(Strategy)[:1], max_new_tokens=1)
    for _ in run(request, pool, RunContext("warm-up", "")):
        pass
