"""A text's words with their places, and which of them a token belongs to.

Promises
- Every character that is no white space lies in exactly one word, so that a page can show the text unchanged.
- Punctuation and symbols stand apart from letters, but an apostrophe, a hyphen or a full stop inside a word stays in it
  (don't, well-made, 3.5). Marks and joiners stay with the character before them. Each Chinese or Japanese character is
  a word of its own, since nothing shows where their words end.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

Span = tuple[int, int]
_INNER = frozenset("'’-.·_")
_CJK = (("぀", "ヿ"), ("㐀", "鿿"), ("豈", "﫿"))


def word_spans(text: str) -> list[Span]:
    """Places of the words of ``text``, in order."""
    spans: list[Span] = []
    start, kind = 0, ""
    for at, character in enumerate(text):
        now = _kind(text, at, kind)
        if now != kind or (now == "cjk" and not _extends(character)):
            if kind:
                spans.append((start, at))
            start, kind = at, now
    if kind:
        spans.append((start, len(text)))
    return spans


def word_of(span: Span, words: Sequence[Span]) -> int:
    """The word of a token at ``span``: the one in which it ends, or for white space the next one, at last the last one.

    There has to be a word.
    """
    start, end = span
    last = bisect_right(words, (max(start, end - 1), 1 << 60)) - 1
    if last >= 0 and words[last][1] > start:
        return last
    return min(bisect_left(words, (start, 0)), len(words) - 1)


def _kind(text: str, at: int, before: str) -> str:
    """Empty for white space, else what it is a part of. ``before`` is the kind of the character before it."""
    character = text[at]
    if character.isspace():
        return ""
    if before and _extends(character):
        return before
    if before == "word" and character in _INNER and at + 1 < len(text) and text[at + 1].isalnum():
        return "word"
    if any(low <= character <= high for low, high in _CJK):
        return "cjk"
    category = unicodedata.category(character)[0]
    return "word" if category in "LMN" else "punctuation" if category == "P" else "symbol"


def _extends(character: str) -> bool:
    """Whether it belongs to the character before it: accents, vowel signs, joiners, skin tones."""
    return unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf", "Sk") and character not in "^`¨´"
