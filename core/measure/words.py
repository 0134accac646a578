"""Which word each token belongs to, and which label it gets: one rule for training, for the inspector and for scores.

Words are joined by single spaces and tokenized as one text, so a tokenizer sees what it will see of a visitor's text.
A token belongs to the word in which it ends, since in many vocabularies a token begins with the space before the word.
"""

from __future__ import annotations

from collections.abc import Sequence

IGNORED = -100
"""The label of a token that gives no loss and no score, in torch's cross-entropy and everywhere above it."""


def word_ids(spans: Sequence[tuple[int, int]], words: Sequence[str]) -> list[int | None]:
    """Of each token the number of its word; None for special tokens and for a space alone.

    ``spans`` are the tokens' places in the words joined by single spaces; an empty one is a special token's.
    """
    ends, end = list[int](), -1
    for text in words:
        end += 1 + len(text)
        ends.append(end)
    found: list[int | None] = []
    at = 0
    for start, stop in spans:
        while at < len(ends) and stop > ends[at]:
            at += 1
        inside = start < stop and at < len(ends) and stop > ends[at] - len(words[at])
        found.append(at if inside else None)
    return found


def token_labels(ids: Sequence[int | None], tags: Sequence[int], inside: Sequence[int] | None = None) -> list[int]:
    """A label for each token: its word's on the word's first token, and IGNORED on special tokens.

    The word's other tokens are IGNORED too, or get ``inside`` of the word's label (see ``continued``).
    """
    labels: list[int] = []
    seen = -1
    for word in ids:
        if word is None:
            labels.append(IGNORED)
        elif word != seen:
            labels.append(tags[word])
            seen = word
        else:
            labels.append(IGNORED if inside is None else inside[tags[word]])
    return labels


def continued(labels: Sequence[str]) -> list[int]:
    """For each label the one of a word's later tokens: I-TYPE for B-TYPE where there is one, else the label itself.

    An entity whose first word has three tokens is then still one entity.
    """
    places = {label: i for i, label in enumerate(labels)}
    return [places.get(f"I-{label[2:]}", i) if label.startswith("B-") else i for i, label in enumerate(labels)]
