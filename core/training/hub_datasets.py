"""A dataset of the Hub as rows, through ``datasets.load_dataset``.

Promises
- The visitor's token is used or none, never one saved on this machine; what another visitor's token has fetched is
  given out only after the Hub lets this one in as well.
- A dataset of more than ``MAX_BYTES`` is refused before its files travel.
- Nothing of the dataset's own code runs: the library knows data files only.
- Offline a private deployment uses what is in the library's cache; a public one refuses.

Does not unpack images or sounds: columns that hold neither text, numbers nor lists of them are left out.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from core.catalog.hub import REQUEST_SECONDS, check_name
from core.catalog.sizes import bytes_text
from core.catalog.transfer_errors import explain_transfer
from core.errors import BadInput, DoesNotFit, LabError, NotFound, Unreachable
from core.training.datafiles import MAX_CELL, MAX_ROWS, Table

MAX_BYTES = 2 * 10**9
TRAIN = ("train", "training")
VALIDATION = ("validation", "valid", "val", "dev", "eval", "test")
_NAME_MARK = "\x00"
"""Stands for the dataset's name while the sentences about models are turned into ones about datasets."""

_LOG = logging.getLogger(__name__)


def read_hub(name: str, token: str | None, seed: int, *, offline: bool = False, public: bool = False) -> Table:
    """The rows of ``owner/name`` or ``owner/name:config``, with its own validation (or test) split if it has one.

    Raises ``BadInput``, ``NotFound``, ``AccessDenied``, ``Unreachable`` and ``DoesNotFit``.
    """
    repository, _, config = name.partition(":")
    try:
        check_name(repository)
    except BadInput as error:
        raise BadInput(
            f"“{repository[:80]}” is no name of a dataset.", "Write it as owner/name, or owner/name:configuration."
        ) from error
    reached = _authorize(repository, token, offline=offline, public=public)
    try:
        loaded = _load(repository, config or None, token, online=reached)
    except Exception as error:
        raise _explained(error, repository) from error
    train = next((split for split in TRAIN if split in loaded), next(iter(loaded), ""))
    if not train:
        raise BadInput(f"{repository} has no rows.", "Choose another dataset.")
    validation = next((split for split in VALIDATION if split in loaded and split != train), "")
    table = Table([], classes=_classes(loaded[train]))
    table.rows = _rows(loaded[train], seed, table.notes)
    if validation:
        table.validation = _rows(loaded[validation], seed, [])
        table.notes.append(f"Validation rows are the dataset's own split “{validation}”.")
    return table


def _authorize(name: str, token: str | None, *, offline: bool, public: bool) -> bool:
    """Whether the Hub let this visitor in; False when it cannot be asked and the cache may be used."""
    from huggingface_hub import HfApi, get_session

    try:
        if offline:
            raise Unreachable(
                f"{name} would have to come from the Hub, which is switched off or out of reach.",
                "Choose a bundled set, upload a file, or start again with a network.",
            )
        get_session().timeout = REQUEST_SECONDS
        HfApi(token=token or False).auth_check(name, repo_type="dataset")
    except Exception as error:
        ours = _explained(error, name)
        if isinstance(ours, Unreachable) and not public and _is_cached(name):
            return False
        raise ours from error
    return True


def _is_cached(name: str) -> bool:
    """Whether the library has prepared this dataset before."""
    from datasets import config  # type: ignore[import-untyped]  # ships no types

    folder = name.replace("/", "___")
    return any((Path(config.HF_DATASETS_CACHE) / name).is_dir() for name in (folder, folder.lower()))


def _load(name: str, config: str | None, token: str | None, *, online: bool) -> Any:
    """The dataset's splits. The download happens here, after its size was looked up."""
    from datasets import disable_progress_bars, load_dataset, load_dataset_builder

    disable_progress_bars()
    if online:
        builder = load_dataset_builder(name, config, token=token or False)
        _check_size(name, builder, token)
        builder.download_and_prepare()
        return builder.as_dataset()
    return load_dataset(name, config, token=token or False)


def _check_size(name: str, builder: Any, token: str | None) -> None:
    """Refuse what is too large, by the sizes that the Hub lists for the files of this configuration."""
    from huggingface_hub import HfApi

    files = [file for files in (builder.config.data_files or {}).values() for file in files]
    inside = [file.split("@", 1)[1].split("/", 1)[1] for file in files if file.startswith("hf://") and "@" in file]
    revision = next((file.split("@", 1)[1].split("/", 1)[0] for file in files if "@" in file), None)
    if not inside:
        return
    listed = HfApi(token=token or False).get_paths_info(name, inside, repo_type="dataset", revision=revision)
    total = sum(getattr(info, "size", 0) for info in listed)
    if total > MAX_BYTES:
        raise DoesNotFit(
            f"{name} has {bytes_text(total)} of files; at most {bytes_text(MAX_BYTES)} are taken.",
            "Choose a smaller configuration (owner/name:configuration), or upload a part of it.",
        )


def _classes(rows: Any) -> dict[str, tuple[str, ...]]:
    """Names of labels that the dataset knows, by column; those of lists of labels too."""
    found = {}
    for column, feature in rows.features.items():
        names = getattr(getattr(feature, "feature", feature), "names", None)
        if names:
            found[column] = tuple(str(name) for name in names)
    return found


def _rows(split: Any, seed: int, notes: list[str]) -> list[dict[str, Any]]:
    from datasets import Audio, Image

    media = [column for column, feature in split.features.items() if isinstance(feature, (Audio, Image))]
    split = split.remove_columns(media)
    if len(split) > MAX_ROWS:
        notes.append(f"The dataset has {len(split):,} rows; {MAX_ROWS:,}, drawn by the seed, are used.")
        split = split.shuffle(seed=seed).select(range(MAX_ROWS))
    rows, cut = split.to_list(), 0
    for row in rows:
        for column, value in row.items():
            if isinstance(value, str) and len(value) > MAX_CELL:
                row[column] = value[:MAX_CELL]
                cut += 1
    if cut:
        notes.append(f"{cut:,} texts of more than {MAX_CELL:,} characters are cut there.")
    return list(rows)


def _explained(error: Exception, name: str) -> LabError:
    """Our error about a dataset for whatever the libraries raise."""
    if isinstance(error, LabError):
        return error
    kind = type(error).__name__
    message = str(error)
    if kind == "ValueError" and ("Config name is missing" in message or "BuilderConfig" in message):
        return BadInput(f"{name} has several configurations.", f"Name one: {name}:configuration.")
    if kind in ("DataFilesNotFoundError", "EmptyDatasetError", "DatasetNotFoundError"):
        return NotFound(f"The Hub shows no dataset {name} with files that can be read.", "Check the spelling.")
    if kind in ("DatasetGenerationError", "DatasetGenerationCastError", "ArrowInvalid", "UnexpectedSplitsError"):
        return BadInput(f"The files of {name} are damaged or do not fit together.", "Choose another dataset.")
    if kind == "RuntimeError" and "script" in message.lower():
        return BadInput(f"{name} needs code of its own to be read, which is never run.", "Choose another dataset.")
    ours = explain_transfer(error, _NAME_MARK)
    if ours is None and isinstance(error, (ValueError, OSError, RuntimeError)):
        _LOG.warning("A dataset could not be read: %s", kind)
        return BadInput(f"{name} cannot be read as a dataset.", "Choose another dataset, or upload a file.")
    if ours is None:
        raise error
    what, todo = (text.replace("model", "dataset").replace(_NAME_MARK, name) for text in (ours.what, ours.todo))
    return type(ours)(what, todo)
