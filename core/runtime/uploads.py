"""Files that visitors brought: kept below the home, each for the visitor who brought it.

A file is named by its content, ``upload:<16 hex digits>``, and found only together with its owner; anybody else is told
the same as about a file that doesn't exist. Promises: a file is whole or absent; what a visitor calls a file never
becomes a path (only a plain ending like ``.csv`` is kept, for readers that go by it); nobody's uploads pass the limits,
since the longest unused of them go first. Says nothing about what is in a file.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput, NotFound
from core.settings import MIB, Settings

PREFIX = "upload:"
TITLE = "title.txt"
_NAME = re.compile(r"upload:([0-9a-f]{16})")
_OWNER = re.compile(r"[0-9a-f]{64}")
_ENDING = re.compile(r"\.[a-z0-9]{1,8}")
_TITLE_CHARACTERS = 120
_CHUNK = MIB
_HALF_MADE_SECONDS = 3600.0
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class _Kept:
    """An upload's folder, its bytes, and when it was last used (unix seconds)."""

    folder: Path
    bytes: int
    used: float


class Uploads:
    """The uploads below ``settings.home``. Safe from any thread; several processes may share the folder."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._root = settings.home / "uploads"
        self._now = now
        self._lock = threading.Lock()

    @property
    def settings(self) -> Settings:
        """Whose limits hold here."""
        return self._settings

    def add(self, path: Path, owner: str) -> str:
        """Keep a copy of the file for ``owner``; its name here. Raises ``BadInput`` for an empty or too large one.

        ``owner`` is ``runs.owner_of`` of the visitor's token.
        """
        if not _OWNER.fullmatch(owner):
            raise BadInput("A file needs an owner.", "Reload the page and try again.")
        home = self._root / owner
        home.mkdir(parents=True, exist_ok=True)
        draft = home / f"draft-{secrets.token_hex(8)}"
        draft.mkdir()
        try:
            digest = self._copy(path, draft / f"data{_ending(path)}")
            (draft / TITLE).write_text(_title(path), encoding="utf-8")
            kept = home / digest[:16]
            with self._lock:
                shutil.rmtree(kept, ignore_errors=True)
                try:
                    os.replace(draft, kept)
                except OSError:
                    if not kept.is_dir():  # else another process has just brought the same file
                        raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._touch(kept)
        self._make_room(owner, kept)
        return PREFIX + kept.name

    def path(self, name: str, owner: str) -> Path:
        """The file itself, and a note that it is in use. Raises ``NotFound`` unless ``owner`` brought it."""
        folder = self._find(name, owner)
        found = next((file for file in folder.iterdir() if file.stem == "data"), None)
        if found is None:
            raise _no_such_file()
        self._touch(folder)
        return found

    def title(self, name: str, owner: str) -> str:
        """What the visitor calls the file. Raises ``NotFound`` as ``path`` does."""
        try:
            return (self._find(name, owner) / TITLE).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise _no_such_file() from None

    def open(self, name: str, owner: str) -> tuple[Path, str]:
        """Both: the file, and what the visitor calls it. Raises ``NotFound`` as ``path`` does."""
        return self.path(name, owner), self.title(name, owner)

    def owned(self, owner: str) -> list[tuple[str, str]]:
        """The owner's files as (name here, what the visitor calls it), the last used first."""
        if not _OWNER.fullmatch(owner) or not (self._root / owner).is_dir():
            return []
        kept = [each for folder in (self._root / owner).iterdir() if (each := _kept(folder)) is not None]
        names = [PREFIX + each.folder.name for each in sorted(kept, key=lambda each: -each.used)]
        return [(name, self.title(name, owner)) for name in names if _NAME.fullmatch(name)]

    def prune(self) -> int:
        """Delete what is unused for ``settings.upload_days``, and what a crash left half made; how many it were."""
        gone = 0
        for folder in self._folders():
            limit = _HALF_MADE_SECONDS if folder.name.startswith("draft-") else self._settings.upload_days * _DAY
            kept = _kept(folder)
            if kept is not None and self._now() - kept.used > limit:
                shutil.rmtree(folder, ignore_errors=True)
                gone += 1
        return gone

    def _copy(self, path: Path, to: Path) -> str:
        """Copy with the limit in view, for a file may grow meanwhile; the SHA-256 of what was copied."""
        digest = hashlib.sha256()
        size = 0
        try:
            with path.open("rb") as source, to.open("xb") as target:
                while chunk := source.read(_CHUNK):
                    size += len(chunk)
                    if size > self._settings.upload_bytes:
                        limit = self._settings.upload_bytes / MIB
                        raise BadInput(f"The file is larger than {limit:.3g} MB.", "Bring a part of it.")
                    digest.update(chunk)
                    target.write(chunk)
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise BadInput("The file cannot be read.", "Upload it again.") from None
        if size == 0:
            raise BadInput("The file is empty.", "Choose another one.")
        return digest.hexdigest()

    def _make_room(self, owner: str, new: Path) -> None:
        """Delete the longest unused, first of this visitor and then of all, until the limits hold; ``new`` stays."""
        self.prune()
        every = [kept for folder in self._folders() if (kept := _kept(folder)) is not None]
        own = [kept for kept in every if kept.folder.parent.name == owner]
        gone = _too_many(own, self._settings.visitor_upload_bytes, new)
        left = [kept for kept in every if kept not in gone]
        for kept in (*gone, *_too_many(left, self._settings.uploads_bytes, new)):
            shutil.rmtree(kept.folder, ignore_errors=True)

    def _folders(self) -> Iterator[Path]:
        if self._root.is_dir():
            yield from (folder for home in self._root.iterdir() if home.is_dir() for folder in home.iterdir())

    def _find(self, name: str, owner: str) -> Path:
        match = _NAME.fullmatch(name)
        if match is None or not _OWNER.fullmatch(owner):
            raise _no_such_file()
        folder = self._root / owner / match[1]
        if not folder.is_dir():
            raise _no_such_file()
        return folder

    def _touch(self, folder: Path) -> None:
        moment = self._now()
        os.utime(folder, (moment, moment))


def _kept(folder: Path) -> _Kept | None:
    try:
        size = sum(file.stat().st_size for file in folder.iterdir())
        return _Kept(folder, size, folder.stat().st_mtime)
    except OSError:
        return None  # deleted just now


def _too_many(kept: list[_Kept], limit: int, stays: Path) -> list[_Kept]:
    """The longest unused that must go so that the others take no more than ``limit`` bytes."""
    total = sum(each.bytes for each in kept)
    gone = []
    for each in sorted(kept, key=lambda each: each.used):
        if total > limit and each.folder != stays:
            gone.append(each)
            total -= each.bytes
    return gone


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    return ending if _ENDING.fullmatch(ending) else ""


def _title(path: Path) -> str:
    text = "".join(character if character.isprintable() else " " for character in path.name)
    return " ".join(text.encode("utf-8", "replace").decode().split())[:_TITLE_CHARACTERS] or "file"


def _no_such_file() -> NotFound:
    return NotFound("There is no such file among yours.", "Upload it again.")
