"""Texts as token windows that a model can read whole: one for most texts, overlapping ones for what is too long.

Promises
- Every token of a text is in at least one window, in its order; nothing is cut unless ``truncate`` asks for it.
- Windows are made of the text's own encoding: the tokenizer's settings are left alone, so that several threads may
  share it.
- A text of any length costs memory in proportion to its tokens; texts are encoded a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import BadModel
from core.runtime.loading import LoadedModel

Text = str | tuple[str, str]
OVERLAP = 64
"""Tokens that neighbouring windows share."""
_UNLIMITED = 1_000_000
"""Tokenizers without a limit of their own name one beyond this."""
_AT_ONCE = 8192
"""Tokens of a window at most: a language model may take a hundred thousand, and the memory of as many."""
_BLOCK_TEXTS, _BLOCK_CHARACTERS = 4096, 250_000


@dataclass(frozen=True, slots=True)
class Window:
    """A part of text number ``text`` with special tokens: its tokens from ``begin`` to ``end`` out of ``total``."""

    text: int
    encoding: Any
    begin: int
    end: int
    total: int

    @property
    def whole(self) -> bool:
        """Whether it is all of its text."""
        return self.begin == 0 and self.end == self.total


def limit_of(loaded: LoadedModel) -> int:
    """Tokens, special ones too, that the model reads at once here."""
    own = getattr(loaded.tokenizer, "model_max_length", None)
    return min(loaded.facts.context, _AT_ONCE, own if own and own < _UNLIMITED else _AT_ONCE)


def blocks(texts: Sequence[Text]) -> Iterator[tuple[int, Sequence[Text]]]:
    """The texts in parts that are encoded at once, each with the place of its first one."""
    begin = characters = 0
    for at, text in enumerate(texts):
        characters += len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
        if at + 1 - begin >= _BLOCK_TEXTS or characters >= _BLOCK_CHARACTERS:
            yield begin, texts[begin : at + 1]
            begin, characters = at + 1, 0
    if begin < len(texts):
        yield begin, texts[begin:]


def windows_of(loaded: LoadedModel, texts: Sequence[Text], *, truncate: bool = False, first: int = 0) -> list[Window]:
    """All windows of ``texts``, which count from ``first``. Of a pair that is too long the longer side is cut.

    Raises ``BadModel`` for a tokenizer that cannot say where its tokens stand.
    """
    tokenizer, limit = loaded.tokenizer, limit_of(loaded)
    if not getattr(tokenizer, "is_fast", False):
        raise BadModel("This model's tokenizer cannot say where its tokens stand in the text.", "Choose another model.")
    found: list[Window] = []
    encodings = tokenizer(list(texts), padding=False, truncation=False, verbose=False).encodings
    for at, (text, encoding) in enumerate(zip(texts, encodings, strict=True), start=first):
        length = len(encoding)
        if length <= limit:
            total = length - sum(encoding.special_tokens_mask)
            found.append(Window(at, encoding, 0, total, total))
        elif isinstance(text, tuple):
            found.append(_cut_pair(tokenizer.backend_tokenizer, at, text, limit))
        else:
            windows = _cut(tokenizer.backend_tokenizer, at, text, limit)
            found += windows[:1] if truncate else windows
    return found


def _cut(backend: Any, at: int, text: str, limit: int) -> list[Window]:
    encoding = backend.encode(text, add_special_tokens=False)
    total, room = len(encoding), limit - backend.num_special_tokens_to_add(False)
    overlap = min(OVERLAP, room // 4)
    encoding.truncate(room, stride=overlap)
    begin, windows = 0, []
    parts = [encoding, *encoding.overflowing]
    for part in parts:
        length = len(part)
        windows.append(Window(at, backend.post_process(part, None, True), begin, begin + length, total))
        begin += room - overlap
    return windows


def _cut_pair(backend: Any, at: int, pair: tuple[str, str], limit: int) -> Window:
    """Both sides in one window: the longer one loses tokens until both fit, as tokenizers' own truncation has it."""
    one, two = (backend.encode(text, add_special_tokens=False) for text in pair)
    total, room = len(one) + len(two), limit - backend.num_special_tokens_to_add(True)
    fair = room - room // 2 if len(one) > len(two) else room // 2
    one_keeps = min(len(one), max(fair, room - len(two)))
    one.truncate(one_keeps)
    two.truncate(room - one_keeps)
    return Window(at, backend.post_process(one, two, True), 0, len(one) + len(two), total)
