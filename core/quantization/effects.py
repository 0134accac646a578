"""What changed weights do to a model: its perplexity, and how far its predictions move from those it had.

Promises
- The model itself is never touched: passes run through a twin, new modules around the same tensors, in which the
  changed weights stand for the length of a pass (``torch.func.functional_call``). Tied embeddings stay as they are.
- Passes go through the model's lane, a passage per slice.
- Perplexity is over every scored token, KL divergence and top-1 agreement over the positions whose predictions are kept
  (``core.measure.agreement``).
- What was read of the unchanged model is kept for its last texts, and goes when the model goes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from core.measure.agreement import Agreement, Reference
from core.runtime.attaching import structural_copy
from core.runtime.loading import LoadedModel
from core.runtime.threads import suitable_threads

KEPT_BYTES = 64_000_000
"""Memory for the unchanged model's predictions on one text."""
KEPT_TEXTS = 2
Passages = tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class _Known:
    """What is kept of a model: its twin, and readings of its last texts."""

    twin: Any
    references: OrderedDict[Passages, Reference] = field(default_factory=OrderedDict)


_known: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()
_lock = threading.Lock()


class Probe:
    """A borrowed causal model and a text, in passages of at most the model's context; the first token isn't scored."""

    def __init__(
        self,
        loaded: LoadedModel,
        passages: Sequence[Sequence[int]],
        *,
        visitor: str = "",
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._loaded = loaded
        self._passages: Passages = tuple(tuple(passage) for passage in passages)
        self._visitor, self._cancelled = visitor, cancelled
        with _lock:
            known = _known.get(loaded.model)
        if known is None:
            known = _Known(structural_copy(loaded.model))
            with _lock:
                known = _known.setdefault(loaded.model, known)
        self._own = known

    def in_lane(self, work: Callable[[], Any]) -> Any:
        """``work`` as one slice of the model's lane. Raises ``Stopped``."""
        return self._loaded.lane.call(work, visitor=self._visitor, cancelled=self._cancelled)

    def reference(self) -> Reference:
        """The unchanged model on this text; read once for as long as it is kept. Raises ``Stopped``."""
        with _lock:
            found = self._own.references.get(self._passages)
        if found is not None:
            return found
        made = Reference(KEPT_BYTES)
        for logits, targets in self._passes({}):
            made.add(logits, targets)
        with _lock:
            self._own.references[self._passages] = made
            while len(self._own.references) > KEPT_TEXTS:
                self._own.references.popitem(last=False)
        return made

    def effect(self, changed: Mapping[str, Tensor]) -> Agreement:
        """The model with the parameters ``changed``, by their full names and as the model stores them.

        Raises ``Stopped``.
        """
        found = Agreement(self.reference())
        for logits, targets in self._passes(changed):
            found.add(logits, targets)
        return found

    def _passes(self, changed: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (T - 1, vocabulary) in float32 and the tokens that came, for each passage in turn."""
        for passage in self._passages:
            yield self.in_lane(partial(self._forward, passage, changed))

    @torch.inference_mode()
    def _forward(self, passage: Sequence[int], changed: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        ids = torch.tensor([passage], device=self._loaded.device)
        device, work = self._loaded.placement.device, self._loaded.facts.parameters * len(passage)
        with suitable_threads(device, work):
            found = torch.func.functional_call(self._own.twin, dict(changed), (ids,), {"use_cache": False})
            return found.logits[0, :-1].float(), ids[0, 1:]
