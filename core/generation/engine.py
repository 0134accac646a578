"""``generate``: greedy and sampled text, a token at a time, with the rows of many runs sharing one forward pass.

Promises: in float32 and alone on its model, the ids are those of ``model.generate`` with the same settings after
``torch.manual_seed(seed)`` on the same device: greedy and sampled, with stop strings, with and without end tokens.
Beside others, only rounding can make a difference. The iterator ends within one token of ``cancelled``.

Rows run ahead of their reader: an iterator that is read slowly finds its tokens waiting. Searches that look at more
than one continuation are elsewhere (beams, contrastive, speculative).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from core.generation.batching import SoloRow, enqueue
from core.generation.beginning import begin
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.readings import Finish, TokenReading, read_tokens
from core.generation.rows import Row
from core.runtime.loading import LoadedModel

__all__ = ["Finish", "TokenReading", "generate", "read_tokens"]


def generate(
    loaded: LoadedModel,
    prompt_ids: Sequence[int],
    sampling: SamplingParameters,
    stop: StopConditions,
    *,
    prefix_ids: Sequence[int] = (),
    visitor: str,
    cancelled: Callable[[], bool],
) -> Iterator[TokenReading]:
    """The tokens that follow ``prompt_ids`` and ``prefix_ids``. Nothing runs before the first is asked for.

    To a causal model the two are one text; an encoder-decoder encodes the first and has begun to write the second.

    Raises ``BadInput`` at once when the prompt is empty or leaves no room in the model's context; the iterator raises
    what went wrong on the device. A row ends at the context's end ("length"), whatever ``max_new_tokens`` says.
    """
    beginning = begin(loaded, prompt_ids, prefix_ids)
    limit = min(stop.max_new_tokens, beginning.room)
    encodes = loaded.facts.kind == "seq2seq"

    def run() -> Iterator[TokenReading]:
        row = Row(loaded, beginning.start, sampling, stop, limit=limit, visitor=visitor, cancelled=cancelled)
        if encodes or not enqueue(loaded, row):
            loaded.lane.submit(SoloRow(loaded, row, beginning.source if encodes else None))
        yield from row.readings()

    return run()
