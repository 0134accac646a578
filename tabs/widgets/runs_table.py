"""The visitor's training runs in a card: tick some of them, see them side by side.

Its value is ``None`` or ``{"runs": [{"id", "title", "status", "age", "group"}], "chosen": [ids], "open": bool,
"compared": None | {"columns", "rows", "figures": {"score", "eval", "train"}}}`` (``core.labs.finetuning.compare``).
Events: ``refresh`` and ``compare`` ``{runs, axis}`` (``refresh`` also says whether a comparison is on show), ``open``
``{run}``.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from tabs.widgets.scripts import script, widget

SCRIPT = script("common", "runs_table")


def runs_table(value: dict[str, Any] | None = None, *, elem_id: str = "runs-table") -> gr.HTML:
    """The component."""
    return widget("runs", SCRIPT, value, elem_id)
