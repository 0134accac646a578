"""The same text with a few words changed: a negation more or less, another gender, another name; and a visitor's edit.

Promises: each change says which characters of the original it replaces and with what; making the changes gives exactly
the variant's text; capitals are kept. English only, by the short lists of ``word_lists``, with no grammar behind them.

Limits
- "her" becomes "his" before a word that can be a noun's and "him" elsewhere; "his" becomes "her" or "hers" likewise.
  The rule knows only the commonest words that end such a phrase, so "told her stories" comes out as "told his stories".
- A negation goes behind an auxiliary verb that does not begin its sentence, else before a common judging word. "no",
  "nothing", "hardly" and prefixes (unhappy) are not seen; "not only" is left alone; doubled ones are not judged.
- Only the names on the list are seen, and only with a capital.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from core.text.word_lists import GENDER_PAIRS, NAMES

Change = tuple[int, int, str, str]
"""Start and end in the original, what stands there, and what takes its place."""
KINDS = ("negation", "gender", "name")
MOST = 4
"""Variants of a kind at most: each negation makes one of its own."""

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_WORD = re.compile(r"\w+")
_NEGATION = re.compile(r"\b(?:(cannot)|(\w+)(n['’]t)|(not|never))\b", re.IGNORECASE)
_AUXILIARIES = "am is are was were will would can could should must might shall"
_AUXILIARY = re.compile(
    rf"\b(?:{_AUXILIARIES.replace(' ', '|')}|(?:have|has|had)(?=\s+(?:been|\w{{2,}}ed)\b)|i['’]m|"
    r"(?:it|they|we|you|he|she)['’](?:ll|re))\b(?!['’])",
    re.IGNORECASE,
)
_JUDGING = re.compile(
    r"\b(?:good|great|bad|best|worst|nice|happy|sad|funny|boring|interesting|excellent|terrible|awful|wonderful|amazing|"
    r"recommended|recommend|worth|love|loved|like|liked|enjoyed|hate|hated)\b",
    re.IGNORECASE,
)
_IRREGULAR = {"wo": "will", "ca": "can", "sha": "shall"}
_SENTENCE_START = re.compile(r"(?:^|[.!?\n])[\s\"'“‘(]*$")
_GENDER = {a: b for pair in GENDER_PAIRS for a, b in (pair, pair[::-1])} | {"him": "her", "hers": "his", "mrs": "mr"}
_ENDINGS = (
    "a about after again all although an and are as at back because before but by down every for from had has her him "
    "his how i if in into is it just me my not of off on or our out over so that the their them then there they this "
    "to today tonight too until up us was we were what when where which while who why will with would yesterday you "
    "your"
)
_ENDS_PHRASE = frozenset(_ENDINGS.split())


@dataclass(frozen=True, slots=True)
class Variant:
    """The text with ``changes`` made, which are in order and do not overlap."""

    kind: str
    text: str
    changes: tuple[Change, ...]


def variants(text: str, kinds: Sequence[str] = KINDS) -> list[Variant]:
    """The text's variants, by kind; a kind that finds no word to change has none.

    Raises ``ValueError`` for a kind that is none of ``KINDS``.
    """
    makers = {"negation": _negations, "gender": _genders, "name": _names}
    unknown = set(kinds) - makers.keys()
    if unknown:
        raise ValueError(f"no such kind: {sorted(unknown)}")
    found = []
    for kind in kinds:
        sets = (tuple(changes) for changes in makers[kind](text))
        found += [Variant(kind, apply(text, changes), changes) for changes in sets if changes][:MOST]
    return found


def apply(text: str, changes: Sequence[Change]) -> str:
    """The text with ``changes`` made."""
    parts, at = [], 0
    for start, end, _, after in changes:
        parts += [text[at:start], after]
        at = end
    return "".join([*parts, text[at:]])


def diff(original: str, edited: str) -> list[Change]:
    """What was changed, by words: the spaces between two changed words go along."""
    one, two = _TOKEN.findall(original), _TOKEN.findall(edited)
    same = 0
    while same < min(len(one), len(two)) and one[same] == two[same]:
        same += 1
    end = 0
    while end < min(len(one), len(two)) - same and one[-1 - end] == two[-1 - end]:
        end += 1
    matcher = SequenceMatcher(None, one[same : len(one) - end], two[same : len(two) - end])
    places = [0]
    for token in one:
        places.append(places[-1] + len(token))
    changes: list[Change] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            start, stop = places[a + same], places[b + same]
            _add(changes, original, (start, stop, original[start:stop], "".join(two[c + same : d + same])))
    return changes


def _add(changes: list[Change], original: str, change: Change) -> None:
    """Append a change; one that only white space parts from the last is joined to it."""
    between = original[changes[-1][1] : change[0]] if changes else "x"
    if changes and not between.strip():
        start, _, before, after = changes.pop()
        change = (start, change[1], before + between + change[2], after + between + change[3])
    changes.append(change)


def _negations(text: str) -> Iterator[list[Change]]:
    """Each negation taken out; where there are none, one put in at each auxiliary, or else at each judging word."""
    found = [match for match in _NEGATION.finditer(text) if not _kept(text, match)]
    if found:
        yield from ([_taken_out(text, match)] for match in found)
        return
    places = [match.end() for match in _AUXILIARY.finditer(text) if _takes_not(text, match)]
    for place in places:
        yield [(place, place, "", " NOT" if _loud(text, place) else " not")]
    if not places:
        for match in _JUDGING.finditer(text):
            before = "Not " if match[0][0].isupper() and not match[0].isupper() else "not "
            word = match[0] if before == "not " else match[0][0].lower() + match[0][1:]
            yield [(match.start(), match.end(), match[0], before + word)]


def _takes_not(text: str, match: re.Match[str]) -> bool:
    """Whether it is no question's first word and has no negation behind it."""
    question = match[0].isalpha() and _SENTENCE_START.search(text[: match.start()]) is not None
    return not question and re.match(r"\s+not\b", text[match.end() :], re.IGNORECASE) is None


def _loud(text: str, place: int) -> bool:
    """Whether the word before ``place`` is in capitals."""
    before = _WORD.findall(text[max(0, place - 12) : place])
    return bool(before) and len(before[-1]) > 1 and before[-1].isupper()


def _kept(text: str, match: re.Match[str]) -> bool:
    return match[0].lower() == "not" and re.match(r"\s+only\b", text[match.end() :], re.IGNORECASE) is not None


def _taken_out(text: str, match: re.Match[str]) -> Change:
    start, end = match.span()
    if match[1]:
        return start, end, match[0], match[0][:3]
    if match[2]:
        verb = _IRREGULAR.get(match[2].lower(), match[2].lower())
        return start, end, match[0], _as_written(match[0], verb)
    after = re.match(r"\s+(\w)?", text[end:])
    if after:
        end += after.end()
        first = after[1] or ""
        if match[0][0].isupper() and not match[0].isupper():
            return start, end, text[start:end], first.upper()
        return start, end - len(first), text[start : end - len(first)], ""
    while start and text[start - 1].isspace():
        start -= 1
    return start, match.end(), text[start : match.end()], ""


def _as_written(before: str, after: str) -> str:
    """``after`` with the capitals of ``before``."""
    letters = [character for character in before if character.isalpha()]
    if len(letters) > 1 and all(character.isupper() for character in letters):
        return after.upper()
    return after.capitalize() if before[0].isupper() else after


def _genders(text: str) -> Iterator[list[Change]]:
    """All of them at once."""
    changes: list[Change] = []
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if word in ("her", "his"):
            owns = _owns(text, match.end())
            after = ("his" if owns else "him") if word == "her" else ("her" if owns else "hers")
        else:
            after = _GENDER.get(word, "")
        if after:
            changes.append((*match.span(), match[0], _as_written(match[0], after)))
    yield changes


def _owns(text: str, end: int) -> bool:
    """Whether a word follows that "her" or "his" can belong to."""
    following = re.match(r"\s+(\w+)", text[end:])
    return following is not None and following[1].lower() not in _ENDS_PHRASE


def _names(text: str) -> Iterator[list[Change]]:
    """All names become those of the next group, then of the one after it, and so on."""
    groups = list(NAMES)
    known = {
        name: (at, kind, place)
        for at, group in enumerate(groups)
        for kind, names in NAMES[group].items()
        for place, name in enumerate(names)
    }
    found = [match for match in _WORD.finditer(text) if match[0].capitalize() in known and match[0][0].isupper()]
    for step in range(1, len(groups)):
        changes: list[Change] = []
        for match in found:
            at, kind, place = known[match[0].capitalize()]
            other = NAMES[groups[(at + step) % len(groups)]][kind][place]
            changes.append((*match.span(), match[0], _as_written(match[0], other)))
        yield changes
