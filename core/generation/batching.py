"""Continuous batching: all rows of one model share each forward pass, and come and go between passes.

Promises: a new row's prompt is read alone and its row steps with the others from then on; a row that finishes, is
cancelled or fails leaves before the next pass, and the others' numbers don't change. A row's choices depend on the
others by rounding at most; alone in the batch, it computes exactly what ``generate()`` computes.

A ``Batch`` exists while it has rows and goes with its memory when the last one leaves. Not here: encoder-decoders and
models that cannot share a pass (``SoloRow``), and what happens between a row and its reader (``rows``).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import DynamicCache

from core.generation.choosing import Chooser
from core.generation.readings import measure
from core.generation.rows import Row, clock
from core.generation.slots import DecodePass, Newcomer, SlotCache, can_share
from core.generation.stepping import State, Stepper
from core.runtime.loading import LoadedModel
from core.runtime.threads import MeasuredThreads, suitable_threads

MAX_ROWS = 32
"""Rows that step together; more wait for one to leave."""
PREFILL_TOKENS = 512
"""Prompt tokens read in one slice of the lane before the rows that are there get their next token."""
REMEMBERED_TOKENS = 512
"""Prompts that a batch keeps as they were read, in tokens, and at least the last one."""
CACHE_BYTES = 512 * 1024**2
"""Keys and values that a batch may take even where the placement planned less."""

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_batches: dict[int, Batch] = {}
"""The batches that have rows, by the identity of their model."""


def enqueue(loaded: LoadedModel, row: Row) -> bool:
    """Put a row into its model's batch; False when this model's rows cannot share a pass.

    On an inline lane this returns when the batch is empty again.
    """
    key = id(loaded.model)
    with _lock:
        batch = _batches.get(key)
        if batch is not None:
            batch.waiting.append(row)
            return True
    if not can_share(loaded.model):
        return False
    with _lock:
        is_new = key not in _batches
        batch = _batches.setdefault(key, Batch(loaded))
        batch.waiting.append(row)
    if is_new:
        try:
            loaded.lane.submit(batch)
        except BaseException as error:
            batch.fail(error)
            raise
    return True


@dataclass(frozen=True, slots=True, eq=False)
class _Prompt:
    """A prompt that was read: ids (1, T), cache, next logits (1, vocab); ``cost`` tokens had to be read for it now."""

    ids: Tensor
    cache: DynamicCache
    logits: Tensor
    cost: int


class Batch:
    """The rows of one model as one work of its lane. All but ``waiting`` belongs to the lane's thread."""

    visitor = ""

    def __init__(self, loaded: LoadedModel) -> None:
        self.waiting: deque[Row] = deque()  # guarded by the module's lock
        self._loaded = loaded
        self._device = loaded.device
        self._pass = DecodePass(loaded.model)
        self._cache = SlotCache()
        self._threads = MeasuredThreads(self._device.type, loaded.facts.parameters)
        self._rows: list[Row] = []
        self._logits: Tensor | None = None
        self._chooser: Chooser | None = None
        self._prompts: dict[tuple[int, ...], _Prompt] = {}

    def step(self) -> bool:
        """One token for every row; True while there are rows."""
        with torch.inference_mode(), suitable_threads(self._device.type, self._loaded.facts.parameters):
            return self._step()

    def _step(self) -> bool:
        gone = [i for i, row in enumerate(self._rows) if _is_gone(row)]
        if gone:
            kept = self._drop(gone)
            self._logits = self._logits[kept] if self._logits is not None and kept else None
        self._admit()
        tokens = self._choose()
        self._logits = None if tokens is None else self._forward(tokens)
        with _lock:
            if self._rows or self.waiting:
                return True
            self._unregister()
            return False

    def _forward(self, tokens: Tensor) -> Tensor:
        with self._threads.suitable(tokens.shape[0]):
            return self._pass.step(self._cache, tokens)

    def fail(self, error: BaseException) -> None:
        """Called by the lane when a step raised or the lane closed: every row's reader hears of it."""
        with _lock:
            rows = [*self._rows, *self.waiting]
            self._rows = []
            self.waiting.clear()
            self._unregister()
        for row in rows:
            row.fail(error)

    def _unregister(self) -> None:
        if _batches.get(id(self._loaded.model)) is self:
            del _batches[id(self._loaded.model)]

    def _admit(self) -> None:
        """Read the prompts of waiting rows, as many as one slice may and the memory holds, and give them slots."""
        budget = PREFILL_TOKENS
        newcomers: list[Newcomer] = []
        logits = [] if self._logits is None else [self._logits]
        while budget > 0 and (row := self._next_waiting()) is not None:
            if _is_gone(row):
                row.end()
                continue
            try:
                prompt = self._read(row.prompt)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this row only
                _log.exception("a row could not join its batch")
                row.fail(error)
                continue
            budget -= prompt.cost
            newcomers.append(Newcomer(prompt.ids, prompt.cache, row.limit))
            logits.append(prompt.logits)
            self._rows.append(row)
        if newcomers:
            self._cache.join(newcomers)
            self._logits = torch.cat(logits)
            self._chooser = None

    def _next_waiting(self) -> Row | None:
        with _lock:
            if not self.waiting or len(self._rows) >= MAX_ROWS or not self._has_memory_for(self.waiting[0]):
                return None
            return self.waiting.popleft()

    def _has_memory_for(self, row: Row) -> bool:
        columns = max([len(row.prompt) + row.limit, *(len(r.prompt) + r.limit for r in self._rows)])
        allowed = max(CACHE_BYTES, self._loaded.placement.kv_bytes)
        return not self._rows or (len(self._rows) + 1) * columns * self._cache.token_bytes <= allowed

    def _read(self, prompt: tuple[int, ...]) -> _Prompt:
        """The prompt in a cache of its own. Rows of one run, or of one lesson, share a prompt: it is read once."""
        known = self._prompts.get(prompt)
        if known is not None:
            return replace(known, cost=0)
        ids = torch.tensor([prompt], device=self._device)
        cache, logits = self._pass.prefill(ids)
        read = _Prompt(ids, cache, logits, cost=len(prompt))
        self._prompts[prompt] = read
        while sum(map(len, self._prompts)) > REMEMBERED_TOKENS and len(self._prompts) > 1:
            del self._prompts[next(iter(self._prompts))]
        return read

    def _choose(self) -> Tensor | None:
        """Choose and deliver every row's token; the tokens of those that go on, None when none does."""
        logits = self._logits
        if logits is None:
            return None
        if self._chooser is None:
            sampling, generators = [row.sampling for row in self._rows], [row.generator for row in self._rows]
            self._chooser = Chooser(sampling, generators, self._device)
        tokens = self._chooser(logits, self._cache.so_far())
        now = clock()
        over = [
            i
            for i, (row, numbers) in enumerate(zip(self._rows, measure(logits, tokens), strict=True))
            if not _deliver(row, numbers, now)
        ]
        if not over:
            return tokens
        kept = self._drop(over)
        return tokens[kept] if kept else None

    def _drop(self, slots: list[int]) -> list[int]:
        """Let rows leave; returns where those that stay were before, in their new order."""
        kept = list(range(len(self._rows)))
        for slot in sorted(slots, reverse=True):  # as the last row moves into the gap
            self._rows[slot].end()
            self._cache.leave(slot)
            self._rows[slot], kept[slot] = self._rows[-1], kept[-1]
            self._rows.pop()
            kept.pop()
        self._chooser = None
        return kept


class SoloRow:
    """A row that steps alone, as one work of its lane: an encoder-decoder's, or a model's that cannot share a pass."""

    def __init__(self, loaded: LoadedModel, row: Row, source: tuple[int, ...] | None) -> None:
        self.visitor = row.visitor
        self._row = row
        self._stepper = Stepper(loaded)
        self._source = row.prompt if source is None else source
        self._state: State | None = None
        self._ids = torch.tensor([row.prompt], device=loaded.device)
        self._chooser = Chooser([row.sampling], [row.generator], loaded.device)

    def step(self) -> bool:
        """One token; True while the row goes on."""
        if self._row.gone:
            self._row.end()
            return False
        state = self._state
        if state is None:
            state = self._stepper.prefill(torch.tensor([self._source]))
            if state.length < self._ids.shape[1]:  # what an encoder-decoder has written already
                self._stepper.score(state, self._ids[:, state.length :])
        else:
            state = self._stepper.advance(state, self._ids[:, -1:])
        self._state = state
        chosen = self._chooser(state.logits, self._ids)
        self._ids = torch.cat([self._ids, chosen[:, None]], dim=1)
        return self._row.take(measure(state.logits, chosen)[0], clock())

    def fail(self, error: BaseException) -> None:
        """Called by the lane when a step raised or the lane closed."""
        self._row.fail(error)


def _is_gone(row: Row) -> bool:
    """Whether nobody wants the row's next token; a row whose own question fails is gone too, and told why."""
    try:
        return row.gone
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this row only
        _log.exception("a row's cancelled() raised")
        row.fail(error)
        return True


def _deliver(row: Row, numbers: list[float], now: float) -> bool:
    """Whether the row goes on; what its stop strings or its mailbox raise ends this row only."""
    try:
        return row.take(numbers, now)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this row only
        _log.exception("a row could not take its token")
        row.fail(error)
        return False
