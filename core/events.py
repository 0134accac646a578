"""What a run says: typed events, one JSON object each.

A run's log is a list of records ``{"seq": 0, "at": 0.012, "kind": "token", ...fields of the event}``; ``seq`` counts
from zero without gaps, ``at`` is seconds since the run was made. Events are plain values: they pickle, compare, and
survive ``parse(dump(event))`` unchanged. The last event of a finished run is a ``Done`` or a ``Failed``, and there is
one of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Scalar = str | int | float | bool | None


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Candidate(_Event):
    """A token that could have come next: its id, its text, and its probability under the raw model (0 to 1)."""

    id: int
    text: str
    p: float


class Token(_Event):
    """One produced token. Readings are of the model's raw next-token distribution, before any sampling stage.

    ``text`` is what this token adds to the text (empty while a multi-byte character is incomplete); ``piece`` is the
    token as the vocabulary writes it. ``logprob`` is in nats, ``entropy`` in bits, ``rank`` counts from 1. A ``forced``
    token was given by a branch, not chosen.
    """

    kind: Literal["token"] = "token"
    column: int
    index: int
    id: int
    text: str
    piece: str
    logprob: float
    rank: int
    entropy: float
    top: tuple[Candidate, ...] = ()
    forced: bool = False


class Step(_Event):
    """One step of something other than a token: a beam's hypotheses, a training step. ``values`` is plain JSON."""

    kind: Literal["step"] = "step"
    name: str
    index: int
    column: int | None = None
    values: dict[str, Any]


class Metric(_Event):
    """A measured number (or a word) with its unit; ``column`` says whose it is, None the whole run's."""

    kind: Literal["metric"] = "metric"
    name: str
    value: Scalar
    unit: str = ""
    column: int | None = None


class Progress(_Event):
    """How far long work is. ``total`` is None when it is not known; ``seconds_left`` is an estimate."""

    kind: Literal["progress"] = "progress"
    done: float
    total: float | None = None
    unit: str = ""
    note: str = ""
    seconds_left: float | None = None


class Table(_Event):
    """A small table: column names and rows of scalars."""

    kind: Literal["table"] = "table"
    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Scalar, ...], ...]


class Artifact(_Event):
    """A file that the run left in its own folder; ``path`` is relative to that folder."""

    kind: Literal["artifact"] = "artifact"
    name: str
    path: str
    bytes: int


class Warning(_Event):  # noqa: A001 - the word a reader expects
    """Something the visitor should know; the run goes on."""

    kind: Literal["warning"] = "warning"
    text: str
    column: int | None = None


class Done(_Event):
    """The run is over. ``reason`` is "finished" or "stopped"; ``result`` is what an API caller gets."""

    kind: Literal["done"] = "done"
    reason: Literal["finished", "stopped"] = "finished"
    result: dict[str, Any] = Field(default_factory=dict)


class Failed(_Event):
    """The run ended in an error: what happened and what to do, as the visitor reads it. ``error.log`` has the cause."""

    kind: Literal["failed"] = "failed"
    error: str
    what: str
    todo: str = ""


Event = Annotated[
    Token | Step | Metric | Progress | Table | Artifact | Warning | Done | Failed, Field(discriminator="kind")
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def dump(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready dict with its ``kind`` first."""
    return event.model_dump(mode="json")


def parse(record: dict[str, Any]) -> Event:
    """The event of a log record; ``seq`` and ``at`` are ignored."""
    return _ADAPTER.validate_python({k: v for k, v in record.items() if k not in ("seq", "at")})


def is_last(record: dict[str, Any]) -> bool:
    """Whether a record ends its run."""
    return record.get("kind") in ("done", "failed")
