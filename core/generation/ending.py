"""When a text that is searched for ends: the one judge that beams, contrastive and speculative decoding share.

Promises: the same end as ``generate`` gives a row, asked of any continuation: an end token unless ignored, then a stop
string that the last token completes, then the length, which never goes beyond the model's context.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.generation.beginning import begin
from core.generation.parameters import StopConditions
from core.generation.readings import Finish
from core.generation.rows import end_tokens
from core.generation.text_stream import StopMatcher
from core.runtime.loading import LoadedModel


class Ending:
    """Judges continuations of ``start``; ``source`` is what the model reads first (see ``beginning``).

    Raises ``BadInput`` when the prompt is empty or leaves no room.
    """

    def __init__(
        self, loaded: LoadedModel, prompt_ids: Sequence[int], stop: StopConditions, *, prefix_ids: Sequence[int] = ()
    ) -> None:
        beginning = begin(loaded, prompt_ids, prefix_ids)
        self.source, self.start = beginning.source, beginning.start
        self.limit = min(stop.max_new_tokens, beginning.room)
        self.end_tokens = frozenset() if stop.ignore_eos else end_tokens(loaded)
        self._stops = StopMatcher(loaded.tokenizer, stop.stop_strings) if stop.stop_strings else None

    def __call__(self, new_ids: Sequence[int]) -> Finish | None:
        """Why the text ends with the last of ``new_ids``, or None if it goes on."""
        if new_ids[-1] in self.end_tokens:
            return "eos"
        if self._stops is not None and self._stops.ends([*self.start, *new_ids]):
            return "stop"
        return "length" if len(new_ids) >= self.limit else None
