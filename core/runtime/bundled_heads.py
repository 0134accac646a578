"""Heads that come with Benchtop: adapters in ``assets/models/<name>``, for everybody by their plain names.

Such a folder holds what a fine-tuning leaves (``benchtop.json``, an adapter, a card) and no ``config.json``, so that it
is no model of the catalog's. Promises: nothing is loaded here, no torch is imported; a folder that cannot be read is
left out with a line in the log.
"""

from __future__ import annotations

import logging

from pydantic import ValidationError

from core.catalog.catalog import is_bundled_head
from core.runtime.tuned import CARD, Tuned, TunedCard
from core.settings import Settings

_LOG = logging.getLogger(__name__)


def bundled_heads(settings: Settings) -> list[Tuned]:
    """All of them, in the order of their names."""
    cards = sorted((settings.assets / "models").glob(f"*/{CARD}"))
    found = (bundled_head(settings, card.parent.name) for card in cards)
    return [head for head in found if head is not None]


def bundled_head(settings: Settings, name: str) -> Tuned | None:
    """The head called ``name``; None where there is no such one, and the name may be another model's."""
    if not is_bundled_head(settings, name):
        return None
    folder = settings.assets / "models" / name
    try:
        card = TunedCard.model_validate_json((folder / CARD).read_bytes())
    except (ValidationError, OSError) as error:
        _LOG.warning("%s is not offered: %s", name, type(error).__name__)
        return None
    return Tuned(name, "", folder, 0.0, card)
