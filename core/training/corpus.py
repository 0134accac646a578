"""Text for pre-training: reading public corpora, the held-out split, and an endless mixture of token rows.

Promises
- The held-out stories are exactly those whose ``sha1(text) mod 20 == 0`` in the cased file, and no story that
  nearly repeats one of them is trained on.
- A mixture's state can be saved and restored, so a resumed run sees the rows that an unbroken one would.

Does not download anything: a corpus is a folder the caller names.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import BadInput

SEPARATOR = "<|endoftext|>"
HELD_OUT_FILE = "tinystories_head_cased.txt"
SHINGLE_WORDS = 8
NEAR_DUPLICATE_SHARE = 0.5
SYSTEM_PROMPT = "You tell short, simple stories."

TokenIds = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Raw text by source; ``held_out`` is never trained on."""

    stories: tuple[str, ...]
    prose: tuple[str, ...]
    novels: tuple[str, ...]
    held_out: tuple[str, ...]
    near_duplicates: int


def read_corpus(root: Path) -> Corpus:
    """Read ``stories/*.txt``, ``modern_prose/*.txt`` and ``novels.tar.xz`` below ``root``."""
    if not (root / "stories" / HELD_OUT_FILE).is_file():
        raise BadInput(f"No stories/{HELD_OUT_FILE} in {root.name}.", "Point --data at the folder that holds it.")
    held_out: list[str] = []
    stories: list[str] = []
    for path in sorted((root / "stories").glob("*.txt")):
        for story in split_stories(path.read_text(encoding="utf-8")):
            held = path.name == HELD_OUT_FILE and is_held_out(story)
            (held_out if held else stories).append(story)
    kept = drop_near_duplicates(stories, held_out)
    return Corpus(
        stories=tuple(kept),
        prose=tuple(path.read_text(encoding="utf-8") for path in sorted((root / "modern_prose").glob("*.txt"))),
        novels=tuple(_read_novels(root / "novels.tar.xz")),
        held_out=tuple(held_out),
        near_duplicates=len(stories) - len(kept),
    )


def split_stories(text: str) -> list[str]:
    """The non-empty documents of a file whose documents are separated by ``<|endoftext|>``."""
    return [story for part in text.split(SEPARATOR) if (story := part.strip())]


def is_held_out(text: str) -> bool:
    """Whether a story belongs to the held-out twentieth."""
    return int(hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest(), 16) % 20 == 0


def drop_near_duplicates(texts: Iterable[str], held_out: Sequence[str]) -> list[str]:
    """Those texts that share at most half of their (lower-cased) 8-word shingles with the held-out texts."""
    seen = {shingle for text in held_out for shingle in _shingles(text)}
    kept = []
    for text in texts:
        own = _shingles(text)
        if not own or len(own & seen) <= NEAR_DUPLICATE_SHARE * len(own):
            kept.append(text)
    return kept


def _shingles(text: str) -> set[int]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {hash(tuple(words[i : i + SHINGLE_WORDS])) for i in range(len(words) - SHINGLE_WORDS + 1)}


def _read_novels(path: Path) -> Iterable[str]:
    if not path.is_file():
        return
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield stream.read().decode("utf-8", errors="replace")


def as_conversation(story: str) -> list[dict[str, str]] | None:
    """A story as a chat: the user gives its first sentence, the assistant tells the rest. None if it has only one."""
    first, _, rest = story.partition(". ")
    if not rest or len(first) > 200:
        return None
    return [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": f"Tell me a story that begins like this: {first}."},
        {"role": "assistant", "content": rest},
    ]


@dataclass(frozen=True, slots=True)
class Source:
    """Documents of one kind, drawn without replacement within an epoch."""

    name: str
    documents: tuple[TokenIds, ...]

    @classmethod
    def of(cls, name: str, documents: Sequence[Sequence[int]], length: int) -> Source:
        """Token ids by document; refused when together they do not fill a row of ``length + 1``."""
        if sum(map(len, documents)) <= length:
            raise BadInput(f"The corpus has too few {name} for one row of {length} tokens.", "Add text of this kind.")
        return cls(name, tuple(np.asarray(ids, dtype=np.uint16) for ids in documents))


class RowStream:
    """Rows of ``length + 1`` token ids cut from one source's documents, shuffled anew each epoch.

    Documents follow one another whole, each closed by its end token; a row may begin inside one.
    """

    def __init__(self, source: Source, length: int, seed: int) -> None:
        self._source, self._length, self._seed = source, length, seed
        self._epoch, self._next = -1, 0
        self._flat: TokenIds = np.empty(0, dtype=np.uint16)

    def take(self, count: int) -> npt.NDArray[np.int64]:
        """The next ``count`` rows, int64 of shape (count, length + 1)."""
        rows = np.empty((count, self._length + 1), dtype=np.int64)
        for i in range(count):
            rows[i] = self._one()
        return rows

    def state(self) -> list[int]:
        """Epoch and position, for ``restore``."""
        return [self._epoch, self._next]

    def restore(self, state: Sequence[int]) -> None:
        self._epoch, self._next = state
        if self._epoch >= 0:
            self._shuffle()

    def _shuffle(self) -> None:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self._source.documents))
        self._flat = np.concatenate([self._source.documents[i] for i in order])

    def _one(self) -> TokenIds:
        if self._next + self._length + 1 > len(self._flat):
            self._epoch, self._next = self._epoch + 1, 0
            self._shuffle()
        row = self._flat[self._next : self._next + self._length + 1]
        self._next += self._length
        return row


class Mixture:
    """Draws each row of a batch from one of several sources by weight; the weights may change from batch to batch."""

    def __init__(self, sources: Sequence[Source], length: int, seed: int) -> None:
        self._streams = {s.name: RowStream(s, length, seed + i) for i, s in enumerate(sources)}
        self._choice = np.random.default_rng((seed, 1_000_003))

    def batch(self, size: int, weights: Mapping[str, float]) -> npt.NDArray[np.int64]:
        """A shuffled batch, int64 of shape (size, length + 1). Weights of sources that are not there do not count."""
        shares = np.array([weights[name] for name in self._streams])
        counts = self._choice.multinomial(size, shares / shares.sum())
        rows = [stream.take(int(n)) for stream, n in zip(self._streams.values(), counts, strict=True) if n]
        return np.concatenate(rows)[self._choice.permutation(size)]

    def state(self) -> str:
        """Where the mixture stands, as JSON, for ``restore``."""
        streams = [stream.state() for stream in self._streams.values()]
        return json.dumps({"streams": streams, "choice": self._choice.bit_generator.state})

    def restore(self, state: str) -> None:
        saved = json.loads(state)
        for stream, position in zip(self._streams.values(), saved["streams"], strict=True):
            stream.restore(position)
        self._choice.bit_generator.state = saved["choice"]
