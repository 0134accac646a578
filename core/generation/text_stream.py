"""From token ids to text while they arrive, one token at a time.

Promises: a character whose bytes are spread over tokens comes out whole, with its last token; a word's leading space
stays; special tokens add no text. Joined texts (and the final ``flush``) are what decoding all ids at once gives,
except for a tokenizer that tidies spaces up afterwards. A token's bytes are those that transformers matches stop
strings against: the token decoded behind a fixed word, so that no decoder strips its leading space.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from typing import Any

_ANCHOR = "abcdef"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TokenBytes:
    """What each token of a tokenizer contributes to the text, as UTF-8 bytes, and how it is shown.

    Remembers what it was asked: a tokenizer takes some ten microseconds for an answer, and ten candidates are shown
    with every token.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, bytes] = {}
        self._texts: dict[int, str] = {}
        self._pieces: dict[int, str | None] = {}
        self.special = frozenset(tokenizer.all_special_ids)
        decoder = _decoder_types(tokenizer)
        self._has_byte_tokens = "ByteFallback" in decoder
        self._alphabet = _byte_alphabet() if "ByteLevel" in decoder and not self._has_byte_tokens else {}
        anchor = tokenizer(_ANCHOR, add_special_tokens=False)["input_ids"]
        self._anchor: list[str] = tokenizer.convert_ids_to_tokens(anchor)

    def __call__(self, token_id: int) -> bytes:
        """The bytes of a token; none for an id outside the vocabulary."""
        known = self._known.get(token_id)
        if known is None:
            token = self.piece(token_id)
            known = self._known[token_id] = b"" if token is None else self._bytes_of(token)
        return known

    def piece(self, token_id: int) -> str | None:
        """The token as the vocabulary writes it; None for an id outside."""
        if token_id not in self._pieces:
            self._pieces[token_id] = self._tokenizer.convert_ids_to_tokens(token_id)
        return self._pieces[token_id]

    def text(self, token_id: int) -> str:
        """The token on its own as text: see ``token_text``."""
        known = self._texts.get(token_id)
        if known is None:
            special = self.piece(token_id) if token_id in self.special else None
            known = self._texts[token_id] = special or self(token_id).decode("utf-8", "replace")
        return known

    def _bytes_of(self, token: str) -> bytes:
        if self._alphabet and all(character in self._alphabet for character in token):
            return bytes(self._alphabet[character] for character in token)
        if self._has_byte_tokens and (match := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(match[1], 16)])
        text: str = self._tokenizer.convert_tokens_to_string([*self._anchor, token])
        place = text.find(_ANCHOR)
        if place < 0:  # the vocabulary cannot write the fixed word
            text = self._tokenizer.convert_tokens_to_string([token])
            return text.encode("utf-8", "replace")
        return text[place + len(_ANCHOR) :].encode("utf-8", "replace")


class TextStream:
    """The text of one sequence of tokens. ``at_start`` drops the space that some vocabularies put before a text."""

    def __init__(self, tokenizer: Any, *, at_start: bool = False) -> None:
        self._bytes = token_bytes(tokenizer)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strips = at_start and "Strip" in _decoder_types(tokenizer)

    def push(self, token_id: int) -> tuple[str, str]:
        """What the token adds to the text (empty while a character is incomplete), and how the vocabulary writes it."""
        piece = self._bytes.piece(token_id)
        if piece is None:
            return "", f"<{token_id}>"
        if token_id in self._bytes.special:
            return "", piece
        text = self._decoder.decode(self._bytes(token_id))
        if self._strips and text:
            self._strips, text = False, text.removeprefix(" ")
        return text, piece

    def flush(self) -> str:
        """The replacement character for what was left incomplete at the end, or nothing."""
        return self._decoder.decode(b"", final=True)


class StopMatcher:
    """Says whether a stop string was completed by the last token, on bytes, as transformers' ``stop_strings`` do.

    The stop string must reach into the last token; where it begins does not matter, the prompt included.
    """

    def __init__(self, tokenizer: Any, strings: Sequence[str]) -> None:
        self._bytes = token_bytes(tokenizer)
        self._strings = tuple(string.encode("utf-8") for string in strings if string)
        self._longest = max(map(len, self._strings), default=0)

    def ends(self, ids: Sequence[int]) -> bool:
        """Whether one of the strings ends within the text of the last id."""
        if not self._strings:
            return False
        last = self._bytes(ids[-1])
        parts, size = [last], 0
        for token_id in reversed(ids[-self._longest : -1]):
            if size >= self._longest:
                break
            parts.append(self._bytes(token_id))
            size += len(parts[-1])
        tail = b"".join(reversed(parts))
        before = len(tail) - len(last)
        return any((place := tail.rfind(string)) >= 0 and place + len(string) > before for string in self._strings)


def token_bytes(tokenizer: Any) -> TokenBytes:
    """The tokenizer's one ``TokenBytes``, kept on it, so that the table lives as long as its tokenizer."""
    known: TokenBytes | None = tokenizer.__dict__.get("_benchtop_token_bytes")
    if known is None:
        known = TokenBytes(tokenizer)
        tokenizer.__dict__["_benchtop_token_bytes"] = known
    return known


def _decoder_types(tokenizer: Any) -> frozenset[str]:
    """The names of the decoding steps of a fast tokenizer, such as ByteLevel, ByteFallback, Strip."""
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    if decoder is None:
        return frozenset()
    described = json.loads(decoder.__getstate__())
    return frozenset(step["type"] for step in described.get("decoders", [described]))


def _byte_alphabet() -> dict[str, int]:
    """The 256 characters with which a byte-level vocabulary writes bytes: printable Latin-1 stands for itself."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in plain}
    for offset, byte in enumerate(byte for byte in range(256) if byte not in set(plain)):
        alphabet[chr(256 + offset)] = byte
    return alphabet


def token_text(tokenizer: Any, token_id: int) -> str:
    """A token on its own as text: a special token as it is written, bytes of an incomplete character as U+FFFD."""
    return token_bytes(tokenizer).text(token_id)
