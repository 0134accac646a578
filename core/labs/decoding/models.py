"""What the decoding lab's model picker offers beside the catalog: the language models that its visitor has tuned."""

from __future__ import annotations

from core.catalog.catalog import Choice
from core.runtime.tuned import TunedModels
from core.settings import Settings
from core.training.parameters import METHOD_TITLES


def tuned_choices(settings: Settings, owner: str) -> list[Choice]:
    """The owner's fine-tuned language models, the newest first; two of one title are told apart by their runs."""
    titles = {method.value: title for method, title in METHOD_TITLES.items()}
    writing = [tuned for tuned in TunedModels(settings).list(owner) if tuned.head is None]
    shared = [tuned.title for tuned in writing]
    return [
        Choice(
            name=tuned.name,
            title=tuned.title if shared.count(tuned.title) == 1 else f"{tuned.title} ({tuned.run[:4]})",
            note=f"{titles.get(tuned.card.method, tuned.card.method)} on {tuned.base} · yours",
            kind="causal",
        )
        for tuned in writing
    ]
