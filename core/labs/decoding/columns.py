"""One column of a decoding run: a strategy's events, from its first token to its figures.

A strategy is an iterator over ``Token`` and ``Step`` events and warnings; ``column_events`` adds what each column
begins and ends with. Nothing here waits for a turn or a thread: whoever iterates sets the pace.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import events
from core.events import Candidate, Event, Metric, Step, Token
from core.generation.beams import BeamResult, BeamStep, beam_search
from core.generation.contrastive import contrastive_search
from core.generation.engine import Finish, TokenReading, generate
from core.generation.parameters import Strategy
from core.generation.scoring import score_tokens
from core.generation.speculative import DraftStep, speculate
from core.generation.text_stream import TextStream, token_text
from core.labs.decoding.request import ONLY_STAGE, DecodingRequest
from core.measure import text_quality
from core.runtime.loading import LoadedModel

FINISHES: Mapping[Finish | None, str] = {"eos": "eos", "length": "length", "stop": "stop string"}
NEUTRAL = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}


@dataclass(frozen=True, slots=True)
class ColumnJob:
    """All that one column needs. ``draft`` is the smaller model of speculative decoding, None for prompt lookup."""

    index: int
    strategy: Strategy
    request: DecodingRequest
    loaded: LoadedModel
    draft: LoadedModel | None
    prompt_ids: Sequence[int]
    visitor: str
    cancelled: Callable[[], bool]

    @property
    def context_ids(self) -> list[int]:
        """The prompt and the forced tokens: what a causal model continues."""
        return [*self.prompt_ids, *self.request.forced_ids]


def column_events(job: ColumnJob) -> Iterator[Event]:
    """Everything one column says, ending with its figures and ``Step("column")``."""
    speaker, figures = _Speaker(job), Figures(job)
    yield from _warnings(job)
    for reading in score_tokens(job.loaded, job.prompt_ids, job.request.forced_ids, visitor=job.visitor):
        token = speaker.say(reading, forced=True)
        figures.add(token)
        yield token
    figures.start()
    for event in STRATEGIES.get(job.strategy, _one_row)(job, speaker):
        figures.add(event)
        yield event
    yield from figures.metrics()
    yield Step(name="column", index=0, column=job.index, values={"state": "done", "finish": speaker.finish})


def _warnings(job: ColumnJob) -> Iterator[Event]:
    stage = ONLY_STAGE.get(job.strategy)
    if stage is not None and getattr(job.request, stage) == NEUTRAL[stage]:
        title = type(job.request).model_fields[stage].title
        yield events.Warning(
            text=f"{title} is at {NEUTRAL[stage]:g}, which is off: this column samples freely.", column=job.index
        )


class _Speaker:
    """Turns readings into a column's token events, with the text that each token adds to the one before."""

    def __init__(self, job: ColumnJob) -> None:
        self._job = job
        # A character may be spread over the prompt's last tokens and the first new one.
        self._lead = job.prompt_ids[-4:] if job.loaded.facts.kind == "causal" else ()
        self._ids: list[int] = []
        self._stream = self._restart()
        self.finish = "stopped"  # until a token says that it is the last

    def __len__(self) -> int:
        """How many tokens were said and not taken back."""
        return len(self._ids)

    def say(self, reading: TokenReading, *, forced: bool = False) -> Token:
        """The event of the next token."""
        text, piece = self._stream.push(reading.id)
        self._ids.append(reading.id)
        self.finish = FINISHES.get(reading.finished, self.finish)
        tokenizer = self._job.loaded.tokenizer
        return Token(
            column=self._job.index,
            index=len(self) - 1,
            id=reading.id,
            text=text,
            piece=piece,
            logprob=reading.logprob,
            rank=reading.rank,
            entropy=reading.entropy,
            top=tuple(Candidate(id=i, text=token_text(tokenizer, i), p=p) for i, p in reading.top),
            forced=forced,
        )

    def take_back(self, length: int) -> None:
        """Forget all tokens after the first ``length``."""
        if length < len(self):
            del self._ids[length:]
            self._stream = self._restart()

    def _restart(self) -> TextStream:
        stream = TextStream(self._job.loaded.tokenizer)
        for token_id in (*self._lead, *self._ids):
            stream.push(token_id)
        return stream


def _one_row(job: ColumnJob, speaker: _Speaker) -> Iterator[Event]:
    """Greedy and sampling: one row of the model's continuous batch."""
    for reading in generate(
        job.loaded,
        job.prompt_ids,
        job.request.sampling(job.strategy),
        job.request.stop(),
        prefix_ids=job.request.forced_ids,
        visitor=job.visitor,
        cancelled=job.cancelled,
    ):
        yield speaker.say(reading)


def _contrastive(job: ColumnJob, speaker: _Speaker) -> Iterator[Event]:
    for reading in contrastive_search(
        job.loaded,
        job.context_ids,
        job.request.sampling(job.strategy),
        job.request.stop(),
        top_k=job.request.contrastive_k,
        penalty_alpha=job.request.penalty_alpha,
        visitor=job.visitor,
        cancelled=job.cancelled,
    ):
        yield speaker.say(reading)


def _speculative(job: ColumnJob, speaker: _Speaker) -> Iterator[Event]:
    """Tokens, and after each check how many guesses were made and how many stood, in all so far."""
    proposed = accepted = 0
    for item in speculate(
        job.loaded,
        job.context_ids,
        job.request.sampling(job.strategy),
        job.request.stop(),
        draft=job.draft,
        draft_tokens=job.request.draft_tokens,
        visitor=job.visitor,
        cancelled=job.cancelled,
    ):
        if isinstance(item, DraftStep):
            proposed, accepted = proposed + len(item.proposed), accepted + item.accepted
            counts = {"proposed": proposed, "accepted": accepted}
            yield Step(name="draft", column=job.index, index=item.index, values=counts)
        else:
            yield speaker.say(item)


def _beam(job: ColumnJob, speaker: _Speaker) -> Iterator[Event]:
    """Each step as a tree's nodes, and what it changes in the best hypothesis so far."""
    offset = len(speaker)
    for step in beam_search(
        job.loaded,
        job.prompt_ids,
        job.request.sampling(job.strategy),
        job.request.stop(),
        num_beams=job.request.num_beams,
        length_penalty=job.request.length_penalty,
        prefix_ids=job.request.forced_ids,
        visitor=job.visitor,
        cancelled=job.cancelled,
    ):
        if isinstance(step, BeamStep):
            yield Step(name="beam", column=job.index, index=step.index, values={"nodes": _nodes(job, step)})
            yield _best(job, speaker, offset, step.unchanged, step.readings)
        elif isinstance(step, BeamResult):
            yield _best(job, speaker, offset, 0, step.readings)
            speaker.finish = FINISHES.get(step.hypotheses[0].finished, speaker.finish) if step.hypotheses else "stopped"


def _nodes(job: ColumnJob, step: BeamStep) -> list[dict[str, Any]]:
    tokenizer = job.loaded.tokenizer
    return [
        {
            "n": node.node,
            "parent": node.parent,
            "id": node.id,
            "t": token_text(tokenizer, node.id),
            "logprob": round(node.logprob, 4),
            "score": round(node.score, 4),
            "kept": node.kept,
            "done": node.done,
        }
        for node in step.nodes
    ]


def _best(job: ColumnJob, speaker: _Speaker, offset: int, unchanged: int, readings: Iterable[TokenReading]) -> Step:
    speaker.take_back(offset + unchanged)
    tokens = [speaker.say(reading).model_dump(exclude={"kind", "column", "top"}) for reading in readings]
    return Step(name="beam_best", column=job.index, index=0, values={"from": offset + unchanged, "tokens": tokens})


class Figures:
    """Measures a column while it runs; ``metrics`` are its figures at the end."""

    def __init__(self, job: ColumnJob) -> None:
        self._job = job
        self._tokens: list[dict[str, Any]] = []
        self._forced = 0
        self._began = self._first = self._last = 0.0

    def start(self) -> None:
        """The strategy starts now: from here the time to the first token counts."""
        self._began = time.perf_counter()

    def add(self, event: Event) -> None:
        """Take note of an event of this column."""
        if isinstance(event, Token):
            self._tokens.append({"id": event.id, "text": event.text, "logprob": event.logprob})
            self._forced += event.forced
        elif isinstance(event, Step) and event.name == "beam_best":
            self._tokens[event.values["from"] :] = event.values["tokens"]
        if len(self._tokens) > self._forced:
            self._last = time.perf_counter()
            self._first = self._first or self._last

    def metrics(self) -> Iterator[Metric]:
        """Tokens per second and time to first token as measured; quality figures of the text."""
        column, produced = self._job.index, self._tokens[self._forced :]
        ids = [token["id"] for token in produced]
        if len(ids) > 1 and not self._job.request.by_hand:
            rate = (len(ids) - 1) / max(self._last - self._first, 1e-9)
            yield Metric(name="rate", value=round(rate, 1), unit="tokens/s", column=column)
            wait = 1e3 * (self._first - self._began)
            yield Metric(name="time to first token", value=round(wait, 1), unit="ms", column=column)
        figures = {
            "perplexity": text_quality.perplexity([token["logprob"] for token in produced]),
            "distinct-2": text_quality.distinct(ids, 2),
            "repetition": text_quality.sequence_repetition(ids, 4),
        }
        for name, value in figures.items():
            if value is not None and math.isfinite(value):
                yield Metric(name=name, value=round(value, 3), column=column)
        yield from self._against_reference("".join(token["text"] for token in produced))

    def _against_reference(self, text: str) -> Iterator[Metric]:
        reference = self._job.request.reference
        if not reference.strip():
            return
        rouge = text_quality.rouge(text, reference)
        yield Metric(name="BLEU", value=round(text_quality.bleu(text, reference), 1), column=self._job.index)
        for name, value in (("ROUGE-1", rouge.rouge1), ("ROUGE-2", rouge.rouge2), ("ROUGE-L", rouge.rouge_l)):
            yield Metric(name=name, value=round(value, 3), column=self._job.index)


STRATEGIES: dict[Strategy, Callable[[ColumnJob, _Speaker], Iterator[Event]]] = {
    Strategy.BEAM: _beam,
    Strategy.CONTRASTIVE: _contrastive,
    Strategy.SPECULATIVE: _speculative,
}
"""The strategies that are not one row of the batch."""
