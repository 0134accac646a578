"""The library's own ``generate()``, run one forward pass at a time so that it shares a lane fairly.

``generate()`` cannot be interrupted, so it runs on a thread of its own that is let through once per step: the lane's
slice lasts from one call of a logits processor to the next, and only one of the two threads works at a time. It draws
from torch's global generator, whose state is put aside between slices, so that two calls never disturb each other.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from core.errors import Stopped
from core.runtime.loading import LoadedModel
from core.runtime.threads import suitable_threads


class _Turnstile(LogitsProcessor):
    """Hands the turn back to the lane at each step and waits for the next one; changes no score."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled
        self.abandoned = False
        self.go, self.paused = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.paused.release()
        self.go.acquire()
        if self.abandoned or self._cancelled():
            raise Stopped("Stopped.")
        return scores


class LibraryGenerate:
    """One call of ``model.generate`` as a lane's work. ``settings`` are the fields of a ``GenerationConfig``.

    The new ids follow ``input_ids`` and then ``prefix_ids``; an encoder-decoder encodes the first and has begun to
    decode the second.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        input_ids: Sequence[int],
        settings: dict[str, Any],
        *,
        prefix_ids: Sequence[int] = (),
        seed: int,
        visitor: str,
        cancelled: Callable[[], bool],
    ) -> None:
        self.visitor = visitor
        self._loaded, self._settings = loaded, settings
        self._input_ids, self._prefix_ids = list(input_ids), list(prefix_ids)
        self._turnstile = _Turnstile(cancelled)
        self._random_state = torch.Generator(loaded.device).manual_seed(seed).get_state()
        self._finished = threading.Event()
        self._ids: list[int] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._generate, name="library-generate", daemon=True)

    def step(self) -> bool:
        """Let ``generate()`` go on by one token; True while it has more to do."""
        own = (
            torch.cuda.default_generators[self._loaded.device.index or 0] if self._on_cuda else torch.default_generator
        )
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
        """Called by the lane when a step raised or the lane closes; the generating thread ends at its next token."""
        self._error = self._error or error
        self._turnstile.abandoned = True
        self._finished.set()
        self._turnstile.go.release()

    def result(self) -> list[int]:
        """Wait for the new ids. Raises what ``generate()`` raised; ``Stopped`` if it was cancelled."""
        self._finished.wait()
        if self._error is not None:
            raise self._error
        return self._ids

    def _generate(self) -> None:
        self._turnstile.go.acquire()
        try:
            inputs = self._inputs()
            model = copy.copy(self._loaded.model)  # shares all weights
            model.generation_config = GenerationConfig()  # no default of the checkpoint fills what is not set here
            with suitable_threads(self._loaded.device.type, self._loaded.facts.parameters):
                output = model.generate(
                    **inputs,
                    attention_mask=torch.ones_like(inputs["inputs"]),  # a start token may have the padding's id
                    generation_config=GenerationConfig(**self._settings),
                    logits_processor=LogitsProcessorList([self._turnstile]),
                    tokenizer=self._loaded.tokenizer,
                )
            start = inputs.get("decoder_input_ids", inputs["inputs"])
            self._ids = output[0, start.shape[1] :].tolist()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for the result
            self._error = error
        finally:
            self._finished.set()
            self._turnstile.paused.release()

    def _inputs(self) -> dict[str, Tensor]:
        """The prompt, and what stands before the first new id: for an encoder-decoder that is the decoder's."""
        device = self._loaded.device
        if self._loaded.facts.kind != "seq2seq":
            return {"inputs": torch.tensor([self._input_ids + self._prefix_ids], device=device)}
        start = int(self._loaded.model.generation_config.decoder_start_token_id)
        decoder = torch.tensor([[start, *self._prefix_ids]], device=device)
        return {"inputs": torch.tensor([self._input_ids], device=device), "decoder_input_ids": decoder}
