"""What the lab's scripts have in common: functions as source, the text to score, and the passages it is cut into."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from core.labs.quantization.passages import CHARACTERS_EACH, STORIES, passages

_NOTE = re.compile(r"  # (type: ignore|fmt: skip|noqa)[^\n]*")
_STORIES = f"""rows = Path("assets/datasets/{STORIES}/data.jsonl").read_text(encoding="utf-8").splitlines()
TEXT = "\\n\\n".join(json.loads(row)["messages"][-1]["content"] for row in rows if row.strip())
"""


def source_of(one: Callable[..., Any]) -> str:
    """A function as it stands in our own source, without notes to our tools."""
    return _NOTE.sub("", inspect.getsource(one))


def text_to_score(text: str, tokens: int) -> str:
    """The line that sets ``TEXT``: what was typed, or the bundled stories."""
    return f"TEXT = {text[: CHARACTERS_EACH * tokens]!r}\n" if text.strip() else _STORIES


def passages_source() -> str:
    """``passages`` with what it names; a text that is too short ends the script."""
    refuses = 'class BadInput(Exception):\n    """The text cannot be scored."""\n'
    return f"CHARACTERS_EACH = {CHARACTERS_EACH}\n\n\n{refuses}\n\n{source_of(passages)}"
