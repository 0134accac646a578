"""What a decoding run amounts to: each column's text, ids and figures, gathered from the events as they pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.events import Event, Metric, Scalar, Step, Token
from core.labs.decoding.request import DecodingRequest


@dataclass(slots=True)
class _Column:
    tokens: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Scalar] = field(default_factory=dict)
    finish: str | None = None


class Summary:
    """Fed every event of a run; ``result`` is what an API caller gets."""

    def __init__(self, request: DecodingRequest, prompt_ids: Sequence[int]) -> None:
        self._request, self._prompt_ids = request, list(prompt_ids)
        self._columns = [_Column() for _ in request.strategies]

    def add(self, event: Event) -> None:
        """Take note of one event."""
        if isinstance(event, Token):
            self._columns[event.column].tokens.append({"id": event.id, "text": event.text})
        elif isinstance(event, Metric) and event.column is not None:
            self._columns[event.column].metrics[event.name] = event.value
        elif isinstance(event, Step) and event.column is not None:
            self._add_step(self._columns[event.column], event)

    @staticmethod
    def _add_step(column: _Column, step: Step) -> None:
        if step.name == "beam_best":
            column.tokens[step.values["from"] :] = step.values["tokens"]
        elif step.name == "column":
            column.finish = step.values["finish"]

    def ids(self, column: int) -> list[int]:
        """The token ids of a column so far, forced ones included."""
        return [token["id"] for token in self._columns[column].tokens]

    def result(self) -> dict[str, Any]:
        """Plain JSON: the model, the prompt's ids, and per column strategy, text, ids, finish and figures."""
        return {
            "model": self._request.model,
            "prompt_ids": self._prompt_ids,
            "columns": [
                {
                    "strategy": strategy.value,
                    "text": "".join(token["text"] for token in column.tokens),
                    "ids": [token["id"] for token in column.tokens],
                    "finish": column.finish,
                    "metrics": column.metrics,
                }
                for strategy, column in zip(self._request.strategies, self._columns, strict=True)
            ],
        }
