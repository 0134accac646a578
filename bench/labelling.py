"""What the benches of the labelling labs share: texts of very mixed length, and a bundled head as the pool lends it.

The texts are put together from bundled ones by a seed: most are a sentence or two, some a page, a few longer than the
model reads at once.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.runtime.loading import LoadedModel
from core.runtime.pool import ModelSpec
from core.services import Services
from core.settings import Settings, prepare_process

REPOSITORY = Path(__file__).resolve().parent.parent
TEXTS = 2000
LENGTHS = ((0.55, 8, 40), (0.3, 40, 150), (0.15, 150, 520))
"""(share of the texts, fewest and most words)."""


def mixed_texts(count: int = TEXTS, seed: int = 7) -> list[str]:
    """The texts, in no order."""
    chance = random.Random(seed)
    words = _words()
    texts = []
    for share, least, most in LENGTHS:
        for _ in range(round(share * count)):
            length = chance.randint(least, most)
            begin = chance.randrange(len(words) - length)
            texts.append(" ".join(words[begin : begin + length]))
    chance.shuffle(texts)
    return texts


def _words() -> list[str]:
    found: list[str] = []
    for path in sorted((REPOSITORY / "assets" / "datasets").glob("*/data.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found += " ".join(value for value in row.values() if isinstance(value, str)).split()
    return found


@contextmanager
def bundled_head(name: str) -> Iterator[LoadedModel]:
    """The head beside its base, lent by a pool with a home of its own."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.from_environment({**os.environ, "BENCHTOP_HOME": home, "BENCHTOP_OFFLINE": "true"})
        services = Services(prepare_process(settings))
        try:
            with services.pool.lease(ModelSpec(name)) as loaded:
                yield loaded
        finally:
            services.close()
