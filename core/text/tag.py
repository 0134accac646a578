"""Labels for each token of a text, or for words that somebody else has split.

Promises
- Every token of every text has a probability for each label, however long the text is: where overlapping windows read
  a token more than once, the window counts in which it stands furthest from an edge.
- Special tokens are left out. ``spans`` are places in the text as it was given, in characters.
- Words that were split before are joined by single spaces, and a token belongs to the word in which it ends; that is
  how the Fine-tuning lab reads them too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.runtime.loading import LoadedModel
from core.text.batching import batches
from core.text.windows import Window, blocks, windows_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenLabels:
    """What a model says of text ``index``, token by token.

    ``probabilities`` is (tokens, labels), float32. ``word_ids`` counts the words as the tokenizer splits them, or the
    caller did. ``continues`` says of a token that it goes on with the word before it, as transformers' pipeline reads
    it: by the vocabulary's mark where it has one, else by the space that is not there. ``seconds`` is the text's share,
    by tokens, of the passes that it was in.
    """

    index: int
    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    word_ids: tuple[int | None, ...]
    continues: tuple[bool, ...]
    probabilities: NDArray[np.float32]
    windows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Part:
    window: Window
    probabilities: NDArray[np.float32]
    seconds: float


def tag(
    loaded: LoadedModel,
    texts: Sequence[str],
    *,
    visitor: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[list[TokenLabels]]:
    """Labels, a list per batch, the shorter texts of a block first. Raises ``Stopped`` when ``cancelled``."""
    for first, block in blocks(texts):
        windows = windows_of(loaded, block, first=first)
        wanted: dict[int, int] = {}
        for window in windows:
            wanted[window.text] = wanted.get(window.text, 0) + 1
        parts: dict[int, list[_Part]] = {}
        for batch in batches(loaded, windows, visitor=visitor, cancelled=cancelled):
            tokens = sum(len(window.encoding) for window in batch.windows)
            share = batch.seconds / tokens if tokens else 0.0
            probabilities = batch.logits.softmax(-1).numpy()
            done: list[TokenLabels] = []
            for window, rows in zip(batch.windows, probabilities, strict=True):
                mine = parts.setdefault(window.text, [])
                mine.append(_Part(window, rows, len(window.encoding) * share))
                if len(mine) == wanted[window.text]:
                    del parts[window.text]
                    done.append(_labels(loaded, texts[window.text], window.text, mine))
            if done:
                yield done


def tag_words(
    loaded: LoadedModel,
    rows: Sequence[Sequence[str]],
    *,
    visitor: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[list[TokenLabels]]:
    """The same for rows of words; ``word_ids`` are the words' places in their row."""
    for batch in tag(loaded, [" ".join(words) for words in rows], visitor=visitor, cancelled=cancelled):
        yield [replace(labels, word_ids=_words_of(labels.spans, rows[labels.index])) for labels in batch]


def _words_of(spans: Sequence[tuple[int, int]], words: Sequence[str]) -> tuple[int | None, ...]:
    ends, at = [], 0
    for word in words:
        at += len(word)
        ends.append(at)
        at += 1
    return tuple(min(bisect_left(ends, end), len(ends) - 1) if end > start else None for start, end in spans)


def _labels(loaded: LoadedModel, text: str, index: int, parts: list[_Part]) -> TokenLabels:
    """One text's tokens, from its windows in the order of their places."""
    import numpy as np

    parts.sort(key=lambda part: part.window.begin)
    tokens: list[str] = []
    spans: list[tuple[int, int]] = []
    word_ids: list[int | None] = []
    ids: list[int] = []
    rows = []
    for at, part in enumerate(parts):
        begin = _middle(parts[at - 1].window, part.window) if at else 0
        end = _middle(part.window, parts[at + 1].window) if at + 1 < len(parts) else part.window.total
        encoding = part.window.encoding
        content = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
        kept = content[begin - part.window.begin : end - part.window.begin]
        pieces, offsets, words, numbers = encoding.tokens, encoding.offsets, encoding.word_ids, encoding.ids
        tokens += [pieces[i] for i in kept]
        spans += [offsets[i] for i in kept]
        word_ids += [words[i] for i in kept]
        ids += [numbers[i] for i in kept]
        rows.append(part.probabilities[kept])
    return TokenLabels(
        index=index,
        tokens=tuple(tokens),
        spans=tuple(spans),
        word_ids=tuple(word_ids),
        continues=tuple(_continues(loaded.tokenizer, text, tokens, spans, ids)),
        probabilities=np.concatenate(rows),
        windows=len(parts),
        seconds=sum(part.seconds for part in parts),
    )


def _middle(one: Window, two: Window) -> int:
    """The middle of what two neighbours share: from there on the second one has more text around a token."""
    return (two.begin + one.end + 1) // 2


def _continues(
    tokenizer: Any, text: str, tokens: Sequence[str], spans: Sequence[tuple[int, int]], ids: Sequence[int]
) -> Iterator[bool]:
    marked = bool(getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None))
    unknown = tokenizer.unk_token_id
    for piece, (start, end), number in zip(tokens, spans, ids, strict=True):
        if number == unknown:
            yield False
        elif marked:
            yield len(piece) != end - start
        else:
            yield start > 0 and " " not in text[start - 1 : start + 1]
