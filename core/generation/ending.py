"""When a text that is searched for ends: the one judge that beams, contrastive and speculative decoding share.

Promises: the same end as ``generate`` gives a row, asked of any continuation: an end token unless ignored, then a stop
string that the last token completes, then the length, which never goes beyond the model's context.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import BadInput
from core.generation.parameters import StopConditions
from core.generation.readings import Finish
from core.generation.rows import end_tokens
from core.generation.stepping import Stepper
from core.generation.text_stream import StopMatcher
from core.runtime.loading import LoadedModel


class Ending:
    """Judges continuations of ``start``, the ids that the new ones follow; ``source`` is what the model reads first.

    They are one for a causal model: prompt and prefix. An encoder-decoder encodes the prompt, and has begun to write
    its decoder start token and the prefix. Raises ``BadInput`` when the prompt is empty or leaves no room.
    """

    def __init__(
        self, loaded: LoadedModel, prompt_ids: Sequence[int], stop: StopConditions, *, prefix_ids: Sequence[int] = ()
    ) -> None:
        if not prompt_ids:
            raise BadInput("The prompt has no tokens.", "Type something for the model to continue.")
        takes_source, context = loaded.facts.kind == "seq2seq", loaded.facts.context
        if not takes_source:
            prompt_ids, prefix_ids = [*prompt_ids, *prefix_ids], ()
        room = context - len(prefix_ids) if takes_source else context - len(prompt_ids)
        if len(prompt_ids) > context or room < 1:
            raise BadInput(
                f"The prompt has {len(prompt_ids):,} tokens; this model reads {context:,}, the answer included.",
                "Shorten the prompt or choose a model with a longer context.",
            )
        self.source = tuple(prompt_ids)
        self.start = (*Stepper(loaded).decoder_start()[0].tolist(), *prefix_ids) if takes_source else self.source
        self.limit = min(stop.max_new_tokens, room)
        self.end_tokens = frozenset() if stop.ignore_eos else end_tokens(loaded)
        self._stops = StopMatcher(loaded.tokenizer, stop.stop_strings) if stop.stop_strings else None

    def __call__(self, new_ids: Sequence[int]) -> Finish | None:
        """Why the text ends with the last of ``new_ids``, or None if it goes on."""
        if new_ids[-1] in self.end_tokens:
            return "eos"
        if self._stops is not None and self._stops.ends([*self.start, *new_ids]):
            return "stop"
        return "length" if len(new_ids) >= self.limit else None
