"""The public data of the heads, read from the layout in which its publishers give it, and split the same way always.

Promises: rows are canonical (``text, label`` or ``words, tags``, as numbers) and in the order of the files; where the
publishers give no split, a row's part is decided by its own text alone (``fold``). Nothing is downloaded; a file that
is not there is named.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from core.errors import NotFound
from core.training.columns import Row

FOLDS = 10
SENTIMENTS = ("negative", "positive")
EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
SPAM = ("ham", "spam")
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")

EWT_FILES = {
    "train": "en_ewt-ud-train*.iob2",
    "validation": "en_ewt-ud-dev*.iob2",
    "test": "en_ewt-ud-test*.iob2",
}
_PROS_OR_CONS = re.compile(r"<(?:Pros|Cons)>(.*?)</(?:Pros|Cons)>")
_TAG_NUMBERS = {tag: number for number, tag in enumerate(TAGS)}


def fold(text: str) -> int:
    """Which of ten parts a text belongs to: ``sha1(text) mod 10``, 0 being the one that is held out."""
    return int(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), 16) % FOLDS


def row_fold(row: Row) -> int:
    """``fold`` of a row's text, or of its words with single spaces between them."""
    return fold(row["text"] if "text" in row else " ".join(row["words"]))


def sentence_polarity(root: Path) -> list[Row]:
    """rt-polarity: one sentence of a film review a line."""
    folder = root / "sentiment" / "sentence_polarity"
    rows = []
    for label, ending in enumerate(("neg", "pos")):
        lines = _text(folder, f"rt-polarity.{ending}").split("\n")
        rows += [{"text": line.strip(), "label": label} for line in lines if line.strip()]
    return rows


def pros_cons(root: Path) -> list[Row]:
    """What buyers liked and disliked, as phrases. Each once; those on both sides are left out."""
    folder = root / "sentiment" / "pros_cons"
    labels: dict[str, set[int]] = {}
    for label, name in enumerate(("IntegratedCons.txt", "IntegratedPros.txt")):
        for text in _PROS_OR_CONS.findall(_text(folder, name)):
            if text.strip():
                labels.setdefault(" ".join(text.split()), set()).add(label)
    return [{"text": text, "label": min(found)} for text, found in labels.items() if len(found) == 1]


def movie_reviews(root: Path) -> list[Row]:
    """Whole reviews of films, from the folder or from its archive."""
    return [
        {"text": text, "label": int("/pos/" in name)}
        for name, text in sorted(_review_files(root / "sentiment").items())
        if "/pos/" in name or "/neg/" in name
    ]


def _review_files(folder: Path) -> Mapping[str, str]:
    reviews, archive = folder / "movie_reviews", folder / "movie_reviews.tar.xz"
    if reviews.is_dir():
        return {path.as_posix(): path.read_text(encoding="utf-8") for path in reviews.glob("*/*.txt")}
    if not archive.is_file():
        raise NotFound(f"There is no {reviews.name} in {folder}.", "Give --data the folder that holds the data.")
    found = {}
    with tarfile.open(archive) as files:
        for member in files:
            content = files.extractfile(member) if member.isfile() else None
            if content is not None:
                found[member.name] = content.read().decode("utf-8", errors="replace")
    return found


def emotions(root: Path, part: str) -> list[Row]:
    """GoEmotions in seven groups; ``part`` is "train", "dev" or "test". Comments with several groups are left out."""
    rows = []
    for line in _text(root / "emotions", f"{part}.tsv").split("\n"):
        cells = line.rstrip("\r").split("\t")
        if len(cells) >= 2 and cells[1].isdigit():
            rows.append({"text": cells[0], "label": int(cells[1])})
    return rows


def emotions_as_sentiment(root: Path, part: str) -> list[Row]:
    """The same comments: joy is positive, anger, disgust, fear and sadness are negative, the others are left out."""
    side = {"anger": 0, "disgust": 0, "fear": 0, "sadness": 0, "joy": 1}
    named = ((row["text"], EMOTIONS[row["label"]]) for row in emotions(root, part))
    return [{"text": text, "label": side[name]} for text, name in named if name in side]


def sms_spam(root: Path) -> list[Row]:
    """SMS Spam Collection. The same message more than once stays that often."""
    rows = []
    for line in _text(root / "sms_spam", "SMSSpamCollection").split("\n"):
        name, tab, text = line.rstrip("\r").partition("\t")
        if tab and name in SPAM:
            rows.append({"text": text.strip(), "label": SPAM.index(name)})
    return rows


def english_ewt(root: Path, part: str) -> list[Row]:
    """Universal NER's English EWT, ``part`` being "train", "validation" or "test"; other entities become ``O``."""
    folder = root / "entities" / "english_ewt"
    path = next(iter(sorted(folder.glob(EWT_FILES[part]))), None)
    if path is None:
        raise NotFound(f"There is no {EWT_FILES[part]} in {folder}.", "Give --data the folder that holds the data.")
    return list(tagged_rows(path.read_text(encoding="utf-8").split("\n"), word=1, tag=2))


def broad_twitter(root: Path) -> list[Row]:
    """The Broad Twitter Corpus, each tweet once."""
    folder = root / "entities" / "broad_twitter" / "CONLL-format" / "data"
    paths = sorted(folder.glob("*.conll"))
    if not paths:
        raise NotFound(f"There is no CoNLL file in {folder}.", "Give --data the folder that holds the data.")
    rows = [row for path in paths for row in tagged_rows(path.read_text(encoding="utf-8").split("\n"), word=0, tag=1)]
    return list({" ".join(row["words"]): row for row in rows}.values())


def tagged_rows(lines: Iterable[str], *, word: int, tag: int) -> Iterator[Row]:
    """Sentences of a file with a word a line and tab-separated columns; tags beside ``TAGS`` become ``O``.

    An entity that lost its beginning that way begins where its first ``I-`` tag stands.
    """
    words: list[str] = []
    tags: list[str] = []
    for line in (*lines, ""):
        cells = line.rstrip("\r").split("\t")
        if not line.strip():
            if words:
                yield {"words": words, "tags": tag_numbers(tags)}
            words, tags = [], []
        elif not line.startswith("# ") and len(cells) > max(word, tag) and cells[word].strip():
            words.append(cells[word].strip())
            tags.append(cells[tag].strip())


def tag_numbers(tags: Sequence[str]) -> list[int]:
    """Tags as numbers, in whole IOB2: what is none of ``TAGS`` is ``O``, and each entity begins with ``B-``."""
    kept, before = [], "O"
    for given in tags:
        tag = given if given in _TAG_NUMBERS else "O"
        if tag.startswith("I-") and before[2:] != tag[2:]:
            tag = f"B-{tag[2:]}"
        kept.append(_TAG_NUMBERS[tag])
        before = tag
    return kept


def _text(folder: Path, name: str) -> str:
    path = folder / name
    if not path.is_file():
        raise NotFound(f"There is no {name} in {folder}.", "Give --data the folder that holds the data.")
    return path.read_text(encoding="utf-8")
