"""Fine-tuned models: each finished fine-tuning is a model named ``tuned:<run id>``, for the visitor who made it.

What it is stands in ``model/benchtop.json`` of the run's folder, beside safetensors and the tokenizer; the file is
written last, so that a model that can be seen is whole. Promises: a stranger's model is answered in the words for one
that doesn't exist; what a folder says of itself is checked before it is used; nothing here is loaded, and no torch is
imported.

Loading is in ``attaching`` (what trains beside a base) and ``pool``. Heads that are everybody's: ``bundled_heads``.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.catalog.catalog import Located
from core.catalog.facts import facts_from_folder
from core.errors import NotFound
from core.runtime.run_log import META, RunMeta
from core.settings import Settings

PREFIX = "tuned:"
CARD = "benchtop.json"
MODEL_FOLDER = "model"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_RUN = re.compile(r"[0-9a-f]{16}")
_LOG = logging.getLogger(__name__)

Kind = Literal["adapter", "full", "prompt", "head"]


class TunedCard(BaseModel):
    """``benchtop.json``: what was trained on what. Fields that this version does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base: str
    method: str = ""
    task: Literal["language", "classification", "tokens"] = "language"
    labels: tuple[str, ...] = ()
    kind: Kind = "adapter"
    title: str = ""
    data: str = ""
    dtype: str = "float32"
    quantization: Literal["nf4"] | None = None
    seed: int = 0
    padding: Literal["left", "right"] | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fine-tuned model on disk. ``folder`` holds its safetensors and tokenizer; ``created`` is in unix seconds.

    ``run`` is empty for what is bundled.
    """

    name: str
    run: str
    folder: Path
    created: float
    card: TunedCard

    @property
    def base(self) -> str:
        return self.card.base

    @property
    def kind(self) -> Kind:
        return self.card.kind

    @property
    def title(self) -> str:
        return self.card.title or self.name

    @property
    def head(self) -> Literal["classification", "tokens"] | None:
        """The head it labels with; None for a model that writes."""
        return None if self.card.task == "language" else self.card.task

    @property
    def attaches(self) -> bool:
        """Whether its files are something beside a base, rather than a model of its own."""
        return (self.folder / ADAPTER_CONFIG).is_file()

    @property
    def shares(self) -> bool:
        """Whether it computes with its base's numbers: what attaches, and a probe, which was saved with its base."""
        return self.attaches or (self.kind == "head" and self.head is not None)

    def located(self) -> Located:
        """A whole model's files, for the loader."""
        facts = replace(facts_from_folder(self.folder, self.name, "local"), title=self.title)
        return Located(self.name, self.folder, facts, "local")


def is_tuned(name: str) -> bool:
    """Whether ``name`` can only be a fine-tuned model's."""
    return name.startswith(PREFIX)


class TunedModels:
    """The fine-tuned models below ``settings.home``. An owner is ``core.runtime.runs.owner_of(visitor token)``."""

    def __init__(self, settings: Settings) -> None:
        self._runs = settings.home / "runs"

    def list(self, owner: str) -> list[Tuned]:
        """The owner's models, the newest first."""
        found = [tuned for run in self._run_ids() if (tuned := self._read(run, owner)) is not None]
        return sorted(found, key=lambda tuned: (tuned.created, tuned.run), reverse=True)

    def open(self, name: str, owner: str) -> Tuned:
        """The owner's model ``name``. Raises ``NotFound``, in the same words for a missing one and a stranger's."""
        run = name.removeprefix(PREFIX)
        tuned = self._read(run, owner) if is_tuned(name) and _RUN.fullmatch(run) else None
        if tuned is None:
            raise NotFound(
                "There is no such fine-tuned model among yours.", "Choose one from the list, or train one first."
            )
        return tuned

    def _run_ids(self) -> Iterator[str]:
        names = (path.parent.parent.name for path in self._runs.glob(f"*/{MODEL_FOLDER}/{CARD}"))
        return (name for name in names if _RUN.fullmatch(name))

    def _read(self, run: str, owner: str) -> Tuned | None:
        folder = self._runs / run / MODEL_FOLDER
        try:
            meta = RunMeta.model_validate_json((self._runs / run / META).read_bytes())
            if not owner or not hmac.compare_digest(meta.owner, owner):
                return None
            card = TunedCard.model_validate_json((folder / CARD).read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            _LOG.warning("run %s: its model is not offered (%s)", run, type(error).__name__)
            return None
        return Tuned(f"{PREFIX}{run}", run, folder, meta.created, card)
