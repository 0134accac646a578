"""A small table of text that refreshes in place: for readings, lists of runs, settings.

Its value is ``table(...)``: column names and rows of scalars, drawn as text and nothing else. Rows may carry a key and
actions; a click on one triggers the event ``act`` with ``{"act": …, "key": …}``. Not for large data: no paging.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

TEMPLATE = "<div class='bt-table' tabindex='0' role='region' aria-label='table'></div><p class='bt-empty'></p>"
JS = (Path(__file__).parent / "js" / "plain_table.js").read_text(encoding="utf-8")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    empty: str = "Nothing here yet.",
    numbers: Sequence[int] = (),
    keys: Sequence[str] | None = None,
    actions: Sequence[Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The value of a ``plain_table``. ``numbers``: columns set to the right; ``actions``: buttons of each row."""
    return {
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "empty": empty,
        "numbers": list(numbers),
        "keys": list(keys) if keys is not None else None,
        "actions": [list(names) for names in actions] if actions is not None else None,
    }


def plain_table(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Build the widget; ``options`` are ``gr.HTML``'s."""
    classes = ["bt-plain-table", *options.pop("elem_classes", [])]
    return gr.HTML(
        value,
        html_template=TEMPLATE,
        js_on_load=JS,
        elem_classes=classes,
        apply_default_css=False,
        **options,
    )
