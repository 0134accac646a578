"""Models that label texts or tokens: which there are, how one is asked for, and what its labels are called.

A labelling model is a bundled head, a visitor's fine-tuned model, or a model of the catalog whose files have a head.
Promises: nothing is loaded and no torch is imported here; a name that is known to have no such head is refused with
one sentence before anything is downloaded.
"""

from __future__ import annotations

from core.catalog.catalog import Catalog, Choice
from core.catalog.facts import Head
from core.errors import BadInput, NotFound
from core.runtime.bundled_heads import bundled_head, bundled_heads
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.tuned import Tuned, TunedModels, is_tuned
from core.settings import Settings

_LABELS = {"classification": "labels whole texts", "tokens": "labels words"}


def label_spec(name: str, head: Head, settings: Settings) -> ModelSpec:
    """How ``name`` is leased as a model with ``head``.

    Raises ``BadInput`` where it is known to have no such head; of a fine-tuned model its lease says so.
    """
    bundled = None if is_tuned(name) else bundled_head(settings, name)
    if bundled is not None:
        has = bundled.head
    elif is_tuned(name):
        has = head
    else:
        has = _head_of(name, settings, head)
    if has != head:
        todo = f"Choose a model that {_LABELS[head]}, or fine-tune one for it in the Fine-tuning lab."
        raise BadInput(f"{name} {_LABELS[has] if has else 'has no head for labels'}.", todo)
    return ModelSpec(name, head=head)


def label_choices(catalog: Catalog, settings: Settings, head: Head, owner: str = "") -> list[Choice]:
    """What a picker offers: bundled heads, the owner's fine-tuned models, local folders, well-known ones of the Hub."""
    bundled = [tuned for tuned in bundled_heads(settings) if tuned.head == head]
    own = [tuned for tuned in TunedModels(settings).list(owner) if tuned.head == head] if owner else []
    titles = [tuned.title for tuned in own]
    return [
        *(_choice(tuned, tuned.title, "bundled") for tuned in bundled),
        *(_choice(tuned, _told_apart(tuned, titles), "yours") for tuned in own),
        *(choice for choice in catalog.choices(("encoder", "causal")) if choice.head == head),
    ]


def labels_of(loaded: LoadedModel) -> tuple[str, ...]:
    """The names of a labelling model's labels, each in the place that is its number."""
    names = loaded.model.config.id2label
    return tuple(str(names[number]) for number in range(len(names)))


def _told_apart(tuned: Tuned, titles: list[str]) -> str:
    return tuned.title if titles.count(tuned.title) == 1 else f"{tuned.title} ({tuned.run[:4]})"


def _choice(tuned: Tuned, title: str, whose: str) -> Choice:
    note = f"{len(tuned.card.labels)} labels on {tuned.base} · {whose}"
    return Choice(tuned.name, title, note, "encoder", tuned.head)


def _head_of(name: str, settings: Settings, unknown: Head) -> Head | None:
    """The head in a catalog model's files; ``unknown`` for one that has never been here."""
    try:
        return Catalog(settings).facts(name).head
    except NotFound:
        return unknown
