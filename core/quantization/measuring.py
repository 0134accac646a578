"""How fast a borrowed model reads and writes here, where its time goes, and what it predicts on a text.

Promises: passes run in the model's lane, one per slice, and only they are timed; the first of each kind is not counted;
medians are of single passes. The model is not changed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from core.runtime.devices import synchronize
from core.runtime.loading import LoadedModel
from core.runtime.threads import suitable_threads

STEPS = 16
"""Tokens that are written for each reading of a decode time."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Median seconds of a pass over ``prompt_tokens`` and of a pass that writes one token, with a cache."""

    prompt_tokens: int
    prefill_seconds: float
    decode_seconds: float


class Meter:
    """A borrowed causal model, asked for passes. Each raises ``Stopped`` when ``cancelled``."""

    def __init__(self, loaded: LoadedModel, *, visitor: str = "", cancelled: Callable[[], bool] | None = None) -> None:
        self._loaded, self._visitor, self._cancelled = loaded, visitor, cancelled

    def predictions(self, passages: Sequence[Sequence[int]]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each passage its logits (T - 1, vocabulary) in float32, and the tokens that came."""
        for passage in passages:
            ids = self._tensor(passage)
            logits = self._call(partial(self._pass, ids, None)).logits
            yield logits[0, :-1].float(), ids[0, 1:]

    def speed(self, prompt: Sequence[int], repeats: int) -> Speed:
        """Read ``prompt`` and write ``STEPS`` tokens behind it, greedily, ``repeats`` times after a warm-up."""
        ids, reads, writes = self._tensor(prompt), [], []
        for turn in range(repeats + 1):
            took, (cache, token) = self._timed(partial(self._read, ids))
            steps = []
            for _ in range(STEPS if turn else 2):
                took_step, (cache, token) = self._timed(partial(self._write, token, cache))
                steps.append(took_step)
            if turn:
                reads.append(took)
                writes += steps
        return Speed(len(prompt), statistics.median(reads), statistics.median(writes))

    def operations(self, prompt: Sequence[int]) -> list[tuple[str, float]]:
        """Seconds of each operation of one written token as torch's profiler has them, the longest first."""
        cache, token = self._call(partial(self._read, self._tensor(prompt)))
        found: list[tuple[str, float]] = self._call(partial(self._profiled, token, cache))
        return found

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([list(ids)], device=self._loaded.device)

    def _call(self, work: Callable[[], Any]) -> Any:
        return self._loaded.lane.call(work, visitor=self._visitor, cancelled=self._cancelled)

    def _timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        timed: tuple[float, Any] = self._call(partial(self._clocked, work))
        return timed

    def _clocked(self, work: Callable[[], Any]) -> tuple[float, Any]:
        synchronize(self._loaded.placement.device)
        begin = time.perf_counter()
        made = work()
        synchronize(self._loaded.placement.device)
        return time.perf_counter() - begin, made

    @torch.inference_mode()
    def _pass(self, ids: Tensor, cache: Any, *, use_cache: bool = False) -> Any:
        with suitable_threads(self._loaded.placement.device, self._loaded.facts.parameters * ids.shape[1]):
            return self._loaded.model(ids, past_key_values=cache, use_cache=use_cache)

    def _read(self, ids: Tensor) -> tuple[Any, Tensor]:
        return self._next(self._pass(ids, None, use_cache=True))

    def _write(self, token: Tensor, cache: Any) -> tuple[Any, Tensor]:
        return self._next(self._pass(token, cache, use_cache=True))

    def _next(self, out: Any) -> tuple[Any, Tensor]:
        return out.past_key_values, out.logits[:, -1:].argmax(-1)

    def _profiled(self, token: Tensor, cache: Any) -> list[tuple[str, float]]:
        from torch.profiler import profile

        with profile() as profiled:
            self._write(token, cache)
            synchronize(self._loaded.placement.device)
        kind = "self_cpu_time_total" if self._loaded.device.type == "cpu" else "self_device_time_total"
        times = [(str(each.key), 1e-6 * getattr(each, kind)) for each in profiled.key_averages()]
        return sorted(((name, seconds) for name, seconds in times if seconds > 0), key=lambda one: -one[1])
