"""Models of the Hugging Face Hub: who may read one, and its files in the Hub's own cache.

Promises
- A visitor's request carries that visitor's token or none; the token saved on this machine is never used.
- What one visitor's token has fetched is handed to another only after the Hub lets the other in as well.
- Only configs, tokenizers and safetensors weights are fetched: no pickle, no code.
- With ``offline`` nobody is asked: a model is in the cache, or the refusal is immediate.

Does not say how far a transfer is, and never deletes from the cache.
"""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from core.catalog.headers import INDEX, WEIGHTS, TensorInfo, indexed_files, without_safetensors
from core.catalog.sizes import bytes_text
from core.catalog.transfer_errors import explain_transfer
from core.errors import BadInput, BadModel, Busy, DoesNotFit, LabError, NotFound, Unreachable

SMALL_FILES = [
    *("config.json", "generation_config.json", "README.md", INDEX, "chat_template*", "tokenizer*"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt"),
    *("spiece.model", "sentencepiece.bpe.model", "*.jinja"),
]
WEIGHT_FILES = [WEIGHTS, "model-*.safetensors"]
NEVER = ["*.py", "*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.msgpack", "*.h5", "*.onnx", "*.gguf", "*/*"]

ACCESS_SECONDS = 600.0
"""How long the Hub's word on who may read a model is believed."""
REQUEST_SECONDS = 15.0

_NAME = re.compile(r"^(?!.*(\.\.|--))[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?$", re.ASCII)
_TOKEN = re.compile(r"^[\w.~+/=-]{1,400}$", re.ASCII)


class Hub:
    """One Hub (by default the one that the library is set to), seen through its cache on this machine."""

    def __init__(
        self,
        *,
        offline: bool = False,
        public: bool = False,
        endpoint: str | None = None,
        cache: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._offline = offline
        self._public = public
        self._endpoint = endpoint
        self._cache = cache
        self._clock = clock
        self._admitted: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def authorize(self, name: str, token: str | None = None) -> bool:
        """Return if the bearer of ``token`` may read ``name``; else raise what the Hub answers.

        When the Hub cannot be asked, a private deployment trusts its own cache (the result is then False); a public
        one refuses, since the cache may hold what another visitor's token fetched.
        """
        check_name(name)
        if token is not None and not _TOKEN.match(token):
            raise BadInput("The Hub token holds characters that no token has.", "Copy it again.")
        key = (name, hashlib.sha256((token or "").encode()).hexdigest())
        with self._lock:
            if self._admitted.get(key, -math.inf) + ACCESS_SECONDS > self._clock():
                return True
        try:
            self._ask(name, token)
        except Unreachable:
            if self._public or self.cached(name) is None:
                raise
            return False
        with self._lock:
            self._admitted[key] = self._clock()
        return True

    def fetch(self, name: str, token: str | None = None, largest: int | None = None) -> Path:
        """The folder of ``name``, complete. Weights of more than ``largest`` bytes are refused before they travel."""
        confirmed = self.authorize(name, token)
        here = self.cached(name)
        if here is not None and not confirmed:
            return here
        try:
            folder = self._snapshot(name, token, SMALL_FILES)
            self._check_size(name, folder, largest)
            return self._snapshot(name, token, [*SMALL_FILES, *WEIGHT_FILES])
        except Unreachable:
            if here is None:
                raise
            return here

    def shape(self, name: str, token: str | None = None) -> tuple[Path, tuple[TensorInfo, ...]]:
        """The small files of ``name`` and its tensors, from the headers of its weights: no weight travels."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import EntryNotFoundError

        self.authorize(name, token)
        folder = self._snapshot(name, token, SMALL_FILES)
        files = indexed_files(folder) if (folder / INDEX).is_file() else (WEIGHTS,)
        api = HfApi(endpoint=self._endpoint, token=token or False)
        try:
            headers = [api.parse_safetensors_file_metadata(name, file, timeout=REQUEST_SECONDS) for file in files]
        except EntryNotFoundError as error:
            raise without_safetensors(name, []) from error
        except Exception as error:
            raise _explained(error, name) from error
        found = [
            TensorInfo(tensor, tuple(info.shape), info.dtype, info.data_offsets[1] - info.data_offsets[0])
            for header in headers
            for tensor, info in header.tensors.items()
        ]
        return folder, tuple(tensor for tensor in found if not tensor.is_buffer)

    def cached(self, name: str) -> Path | None:
        """The folder of ``name`` if all of it is on this machine; asks nobody."""
        from huggingface_hub import constants

        kept = Path(self._cache or constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
        if not kept.is_dir():  # a look that costs nothing, where the library's own would be imported first
            return None
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = Path(self._download(name, None, [*SMALL_FILES, *WEIGHT_FILES], local_files_only=True))
        except LocalEntryNotFoundError:
            return None
        return folder if (folder / WEIGHTS).is_file() or (folder / INDEX).is_file() else None

    def _ask(self, name: str, token: str | None) -> None:
        from huggingface_hub import HfApi, get_session

        if self._offline:
            raise Unreachable(
                f"{name} would have to come from the Hub, which is switched off or out of reach.",
                "Choose a bundled model, or start again with a network.",
            )
        get_session().timeout = REQUEST_SECONDS  # the library's own default waits for ever
        try:
            HfApi(endpoint=self._endpoint, token=token or False).auth_check(name)
        except Exception as error:
            raise _explained(error, name) from error

    def _snapshot(self, name: str, token: str | None, patterns: list[str]) -> Path:
        try:
            return Path(self._download(name, token, patterns, local_files_only=self._offline))
        except Exception as error:
            raise _explained(error, name) from error

    def _download(self, name: str, token: str | None, patterns: list[str], *, local_files_only: bool) -> str:
        from huggingface_hub import snapshot_download

        return snapshot_download(
            name,
            token=token or False,
            endpoint=self._endpoint,
            cache_dir=self._cache,
            allow_patterns=patterns,
            ignore_patterns=NEVER,
            local_files_only=local_files_only,
        )

    def _check_size(self, name: str, folder: Path, largest: int | None) -> None:
        """Refuse, from the Hub's own listing, what is no model, too large to use, or too large for the disk."""
        from huggingface_hub import get_cached_repo_tree

        try:
            listing = get_cached_repo_tree(name, cache_dir=self._cache)
        except Exception as error:
            raise _explained(error, name) from error
        files = {file.path: file.size for file in listing if "/" not in file.path}
        weights = {path: size for path, size in files.items() if _is_weights(path)}
        if "config.json" not in files:
            raise BadModel(f"{name} has no config.json.", "Choose a model made for transformers.")
        if not weights:
            raise without_safetensors(name, [path for path in files if path.endswith((".bin", ".pt", ".pth", ".ckpt"))])
        total = sum(weights.values())
        if largest is not None and total > largest:
            raise DoesNotFit(
                f"{name} has {bytes_text(total)} of weights; this machine takes at most {bytes_text(largest)}.",
                "Choose a smaller model.",
            )
        missing = sum(size for path, size in weights.items() if not (folder / path).is_file())
        if missing > shutil.disk_usage(folder).free:
            raise Busy(
                f"{name} needs {bytes_text(missing)} of disk space, and less than that is free.",
                "Free some space first.",
            )


def check_name(name: str) -> None:
    """Raise ``BadInput`` unless ``name`` could be a model's name on the Hub."""
    if not _NAME.match(name) or name.endswith((".git", ".", "-")):
        shown = name[:80].encode("unicode_escape").decode("ascii")
        raise BadInput(
            f"“{shown}” is no name of a model.", "Write a bundled model's name, or owner/model as on the Hub."
        )


def _is_weights(path: str) -> bool:
    return any(PurePosixPath(path).match(pattern) for pattern in WEIGHT_FILES)


def _explained(error: Exception, name: str) -> LabError:
    if isinstance(error, LabError):
        return error
    explained = explain_transfer(error, name)
    return explained or NotFound(f"{name} could not be fetched from the Hub.", "The log has the cause.")
