"""A linear probe: logistic regression on MiniLM's sentence embeddings, the simplest classifier that a model must beat.

Promises: it learns from rows that are not among those it is compared on, and says which; the encoder is not trained;
the same rows and seed give the same probe.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.catalog.catalog import ENCODER
from core.errors import BadInput
from core.labs.sentiment.material import Item
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext

if TYPE_CHECKING:
    from numpy.typing import NDArray

TAUGHT = 2000
"""Rows that a probe learns from at most."""
AT_ONCE = 32
TITLE = "Linear probe"
C = 1.0
"""Inverse strength of the L2 penalty."""


@dataclass(frozen=True, slots=True)
class Parted:
    """Which rows a probe learns from, and which are left to compare on: places, or rows of the data's other split."""

    taught: tuple[tuple[Item, int], ...]
    compared: tuple[int, ...]
    said: str


def part(
    items: Sequence[Item], gold: Sequence[int], spare: Sequence[tuple[Item, int]], seed: int, spare_name: str
) -> Parted:
    """The rows to learn from: the data's own training split where there is one, else half of the rows of each label.

    Raises ``BadInput`` for rows that cannot be parted.
    """
    if len({label for _, label in spare}) > 1:
        chosen = sorted(random.Random(seed).sample(range(len(spare)), min(TAUGHT, len(spare))))
        said = f"{len(chosen):,} rows of {spare_name}'s own training split, drawn by the seed"
        return Parted(tuple(spare[i] for i in chosen), tuple(range(len(items))), said)
    by_label: dict[int, list[int]] = defaultdict(list)
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    for place in order:
        by_label[gold[place]].append(place)
    taught = sorted(place for places in by_label.values() for place in places[: len(places) // 2])
    if len({gold[place] for place in taught}) < 2:
        counts = ", ".join(str(count) for count in Counter(gold).values())
        raise BadInput(
            f"A linear probe needs two rows of each of two labels to learn from half of them; there are {counts}.",
            "Choose data with more rows, or compare without the probe.",
        )
    left = set(taught[:TAUGHT])
    compared = tuple(place for place in range(len(items)) if place not in set(taught))
    said = f"{len(left):,} of the {len(items):,} rows, half of each label, drawn by the seed"
    return Parted(tuple((items[place], gold[place]) for place in sorted(left)), compared, said)


def probe(
    parted: Parted, items: Sequence[Item], pool: Pool, context: RunContext, seed: int
) -> Iterator[tuple[int, list[int]]]:
    """The labels that the probe gives to ``items``, some at a time, with the number of texts embedded since the last.

    Raises ``Stopped``.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # ships no types

    spec = ModelSpec(base=ENCODER, dtype="float32")
    with pool.lease(spec, token=context.secret, cancelled=context.cancelled) as loaded:
        vectors = []
        for begin in range(0, len(parted.taught), AT_ONCE):
            some = [item for item, _ in parted.taught[begin : begin + AT_ONCE]]
            vectors.append(_embedded(loaded, some, context))
            yield len(some), []
        import numpy as np

        model = LogisticRegression(C=C, max_iter=1000, random_state=seed)
        model.fit(np.concatenate(vectors), [label for _, label in parted.taught])
        for begin in range(0, len(items), AT_ONCE):
            some = list(items[begin : begin + AT_ONCE])
            yield len(some), [int(label) for label in model.predict(_embedded(loaded, some, context))]


def _embedded(loaded: LoadedModel, items: Sequence[Item], context: RunContext) -> NDArray[Any]:
    found: NDArray[Any] = loaded.lane.call(
        lambda: embed(items, loaded.tokenizer, loaded.model), visitor=context.visitor, cancelled=context.cancelled
    )
    context.check()
    return found


def embed(items: Sequence[Any], tokenizer: Any, encoder: Any) -> Any:
    """(texts, size) sentence embeddings: the mean over real tokens, to a length of 1. Pairs are read together."""
    import torch

    given = list(zip(*items, strict=True)) if isinstance(items[0], tuple) else [items]
    batch = tokenizer(
        *(list(texts) for texts in given), truncation=True, max_length=256, padding=True, return_tensors="pt"
    ).to(encoder.device)
    with torch.inference_mode():
        hidden = encoder(**batch).last_hidden_state
    weights = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(mean.float(), dim=-1).cpu().numpy()
