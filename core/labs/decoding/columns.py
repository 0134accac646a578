"""One column of a decoding run: a strategy's events, from its first token to its figures.

Each strategy is an iterator over ``Token`` and ``Step`` events; ``column_events`` adds what every column ends with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.errors import BadInput
from core.events import Candidate, Event, Metric, Step, Token, Warning
from core.generation.beams import BeamResult, BeamStep, beam_search
from core.generation.contrastive import contrastive_search
from core.generation.engine import TokenReading, generate
from core.generation.parameters import Strategy
from core.generation.scoring import score_tokens
from core.generation.speculative import speculate
from core.generation.text_stream import TextStream
from core.labs.decoding.request import ONLY_STAGE, DecodingRequest
from core.measure import text_quality
from core.runtime.loading import LoadedModel

CAUSAL_ONLY = (Strategy.CONTRASTIVE, Strategy.SPECULATIVE)


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
