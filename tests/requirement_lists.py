"""The two requirement files as data: what is pinned, and to what."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
APP = REPOSITORY / "requirements.txt"
DEV = REPOSITORY / "requirements-dev.txt"


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """Canonical name -> version of the file's own lines. Raises ``ValueError`` on a line that is no exact pin."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith("-r "):
            continue
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", text)
        if pin is None:
            raise ValueError(f"{path.name}: {text!r} is no exact pin")
        found[canonical(pin[1])] = pin[2]
    return found
