"""Figures of the page: what a figure is, and where its library is. The browser's half is ``js/figures.js``.

``window.benchtop.figures.mount(element, spec)`` puts a figure into an element and gives ``{update(spec), destroy()}``;
a spec is plain JSON:

    {"title": "Loss", "unit": "nats per token",
     "x": {"title": "step", "log": false}, "y": {"title": "loss", "log": false, "zero": true}, "y2": {...},
     "traces": [{"name", "x": [...], "y": [...], "mode": "lines" | "markers" | "lines+markers", "dash": "dot",
                 "axis2": false, "color": 0}],
     "shapes": [{"x": 40, "text": "resumed"}], "height": 220, "empty": "what will be here"}

``color`` is a place in the page's colour-blind-safe cycle (``--bt-c0`` to ``--bt-c7``) or the name of one of the page's
colours ("muted"). Beyond lines a trace's ``kind`` may be "bar", "heatmap" or "contour" (with ``z``); ``text`` gives
words on hover, ``quiet`` none, ``unlisted`` keeps it out of the key, ``opacity`` and ``width`` are as they say,
``fill`` is Plotly's. An axis may have ``range``, ``ticks`` ({"at", "text"}), ``reversed``, ``square`` (as the other).

Promises: one look for both themes, text that stays text, one fetch of the library per page from this very server, a
zoom that outlasts an update, figures that are drawn only when they can be seen. Nothing here computes a figure.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from math import isfinite
from pathlib import Path

FIGURES_JS = (Path(__file__).parent / "js" / "figures.js").read_text(encoding="utf-8")
CYCLE = 8
"""Colours of the cycle: ``--bt-c0`` and on, in ``assets/training.css``."""


def head_script() -> str:
    """What the page's head needs, after ``page.js``: figures, and the version that names the library's address."""
    return f"window.benchtop.plotly = {json.dumps(version('plotly'))};\n{FIGURES_JS}"


def library() -> Path:
    """The plotly package's own plotly.min.js; the package itself is not imported."""
    found = find_spec("plotly")
    if found is None or found.origin is None:
        raise RuntimeError("plotly is not installed: requirements.txt has it")
    return Path(found.origin).parent / "package_data" / "plotly.min.js"


@cache
def packed_library() -> bytes:
    """The library as gzip, made once per process: five megabytes are one and a half."""
    return gzip.compress(library().read_bytes(), 6)


def smoothed(values: Iterable[float | None], weight: float) -> list[float | None]:
    """An exponential mean (``weight`` 0 to below 1 for the past) that starts unbiased; what is missing stays missing.

    The same as the page's smoothing, for whoever needs its numbers here.
    """
    if weight <= 0:
        return list(values)
    mean = scale = 0.0
    result: list[float | None] = []
    for value in values:
        if value is None or not isfinite(value):
            result.append(None)
            continue
        mean = weight * mean + (1 - weight) * value
        scale = weight * scale + (1 - weight)
        result.append(mean / scale)
    return result
