"""``generate``: greedy and sampled text, a token at a time, with the rows of many runs sharing one forward pass.

Promises: in float32 and alone on its model, the ids are those of ``model.generate`` with the same settings after
``torch.manual_seed(seed)`` on the same device: greedy and sampled, with stop strings, with and without end tokens.
Beside others, only rounding can make a difference. The iterator ends within one token of ``cancelled``.

Rows run ahead of their reader: an iterator that is read slowly finds its tokens waiting. Searches that look at more
than one continuation are elsewhere (beams, contrastive, speculative).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from core.errors import BadInput
from core.generation.batching import SoloRow, enqueue
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.readings import Finish, TokenReading, read_tokens
from core.generation.rows import Row
from core.generation.stepping import Stepper
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
    if not prompt_ids:
        raise BadInput("The prompt has no tokens.", "Type something for the model to continue.")
    context = loaded.facts.context
    takes_source = loaded.facts.kind == "seq2seq"
    if not takes_source:
        prompt_ids, prefix_ids = [*prompt_ids, *prefix_ids], ()
    room = context - len(prefix_ids) if takes_source else context - len(prompt_ids)
    if len(prompt_ids) > context or room < 1:
        raise BadInput(
            f"The prompt has {len(prompt_ids):,} tokens; this model reads {context:,} at most, the answer included.",
            "Shorten the prompt or choose a model with a longer context.",
        )
    limit = min(stop.max_new_tokens, room)

    def run() -> Iterator[TokenReading]:
        prompt = [*Stepper(loaded).decoder_start()[0].tolist(), *prefix_ids] if takes_source else prompt_ids
        row = Row(loaded, prompt, sampling, stop, limit=limit, visitor=visitor, cancelled=cancelled)
        if takes_source or not enqueue(loaded, row):
            loaded.lane.submit(SoloRow(loaded, row, tuple(prompt_ids) if takes_source else None))
        yield from row.readings()

    return run()
