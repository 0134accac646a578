"""The library's own ``generate()``, run one forward pass at a time so that it shares a lane fairly.

``generate()`` cannot be interrupted, so it runs on a thread of its own that is let through once per step: the lane's
slice lasts from one call of a logits processor to the next, and only one of the two threads works at a time. It draws
from torch's global generator, whose state is put aside between slices, so that two calls never disturb each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from core.errors import Stopped
from core.runtime.loading import LoadedModel


class _Turnstile(LogitsProcessor):
    """Hands the turn back to the lane at each step and waits for the next one; changes no score."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled
        self.go, self.paused = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.paused.release()
        self.go.acquire()
        if self._cancelled():
            raise Stopped("Stopped.")
        return scores


class LibraryGenerate:
    """One call of ``model.generate`` as a lane's work. ``settings`` are the fields of a ``GenerationConfig``."""

    def __init__(
        self,
        loaded: LoadedModel,
        input_ids: Sequence[int],
        settings: dict[str, Any],
        *,
        seed: int,
        visitor: str,
        cancelled: Callable[[], bool],
    ) -> None:
        self.visitor = visitor
        self._loaded, self._input_ids, self._settings = loaded, list(input_ids), settings
        self._turnstile = _Turnstile(cancelled)
        self._random_state = torch.Generator(loaded.device).manual_seed(seed).get_state()
        self._finished = threading.Event()
        self._ids: list[int] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._generate, name="library-generate", daemon=True)

    def step(self) -> bool:
        """Let ``generate()`` go on by one token; True while it has more to do."""
        own = torch.cuda.default_generators[self._loaded.device.index or 0] if self._on_cuda else torch.default_generator
        outside = own.get_state()
        own.set_state(self._random_state)
        if not self._thread.ident:
            self._thread.start()
        self._turnstile.go.release()
        self._turnstile.paused.acquire()
        self._random_state = own.get_state()
        own.set_state(outside)
        return not self._finished.is_set()

    @property
    def _on_cuda(self) -> bool:
        return self._loaded.device.type == "cuda"

    def fail(self, error: BaseException) -> None:
        """Called by the lane when a step raised."""
        self._error = error
        self._finished.set()

    def result(self) -> list[int]:
        """Wait for the new ids. Raises what ``generate()`` raised; ``Stopped`` if it was cancelled."""
        self._finished.wait()
        if self._error is not None:
            raise self._error
        return self._ids

    def _generate(self) -> None:
        self._turnstile.go.acquire()
        try:
            ids = torch.tensor([self._input_ids], device=self._loaded.device)
            stop_strings = self._settings.get("stop_strings")
            output = self._loaded.model.generate(
                ids,
                generation_config=GenerationConfig(**self._settings),
                logits_processor=LogitsProcessorList([self._turnstile]),
                **({"tokenizer": self._loaded.tokenizer} if stop_strings else {}),
            )
            skip = 1 if self._loaded.facts.kind == "seq2seq" else len(self._input_ids)
            self._ids = output[0, skip:].tolist()
        except Exception as error:  # handed to the thread that waits for the result
            self._error = error
        finally:
            self._finished.set()
            self._turnstile.paused.release()
