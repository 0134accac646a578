"""What if: the same text with words changed, and the same sentences said of different people.

Promises: the original is variant 0 and every change is measured against it; a kind of edit that finds no word to change
is named in a note; the groups of a bias probe read the same templates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from core.errors import Stopped
from core.events import Done, Event, Step
from core.events import Warning as Notice
from core.labs.sentiment.choices import AXIS_TITLES, SWAP_TITLES, Swap
from core.labs.sentiment.labels import label_number
from core.labs.sentiment.material import Item
from core.labs.sentiment.predicting import Pace, about, lease, needs_labels, predictions, rounded
from core.labs.sentiment.request import SentimentRequest
from core.runtime.labelling import labels_of
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.text.bias import Probe, by_word, permutation_p_value, probes, spread
from core.text.classify import Prediction
from core.text.counterfactuals import Change, diff, variants

MOST_PROBES = 5000
EXAMPLES = 3
Edited = tuple[str, str, str, list[Change]]
"""Its kind, its title, its text and what was changed."""


def what_if(request: SentimentRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    edits, notes = edits_of(request)
    pair = request.pair.strip()
    items: list[Item] = [(text, pair) if pair else text for _, _, text, _ in edits]
    with lease(request.model, pool, context) as loaded:
        labels = labels_of(loaded)
        start = {"mode": request.mode.value, "model": about(request.model, loaded, pool, context.owner)}
        values = {**start, "labels": list(labels), "total": len(items), "source": "your text"}
        yield Step(name="start", index=0, values=values)
        yield from (Notice(text=note) for note in notes)
        found: list[Prediction] = []
        with suppress(Stopped):
            found = [one for batch in predictions(loaded, items, request.long, context) for one in batch]
    found.sort(key=lambda one: one.index)
    told = [_variant(one, edits[one.index], found[0]) for one in found]
    for index, one in enumerate(told):
        yield Step(name="variant", index=index, values=one)
    result = {"labels": list(labels), "variants": told}
    yield Done(reason="stopped" if context.cancelled() else "finished", result=result)


def edits_of(request: SentimentRequest) -> tuple[list[Edited], list[str]]:
    """The original and its versions, and what the visitor should know of them."""
    original = request.text.strip()
    edits: list[Edited] = [("original", "Original", original, [])]
    notes = []
    edited = request.edited.strip()
    if edited and edited != original:
        edits.append(("edited", "Your version", edited, list(diff(original, edited))))
    for swap in Swap:
        if swap not in request.swaps:
            continue
        made = list(variants(original, (swap.value,)))
        for number, one in enumerate(made, start=1):
            title = f"{SWAP_TITLES[swap]} {number} of {len(made)}" if len(made) > 1 else SWAP_TITLES[swap]
            edits.append((swap.value, title, one.text, list(one.changes)))
        if not made:
            notes.append(f"{SWAP_TITLES[swap]}: the text has no word that could be swapped.")
    return edits, notes


def _variant(one: Prediction, edited: Edited, original: Prediction) -> dict[str, Any]:
    kind, title, text, changes = edited
    pairs = zip(one.probabilities, original.probabilities, strict=True)
    return {
        "kind": kind,
        "title": title,
        "text": text,
        "changes": [list(change) for change in changes],
        "label": one.label,
        "p": rounded(one.probabilities),
        "delta": rounded([now - before for now, before in pairs]),
        "flips": one.label != original.label,
    }


def bias_probe(request: SentimentRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    made = list(probes(request.templates, request.axis.value))
    with lease(request.model, pool, context) as loaded:
        labels = needs_labels(loaded)
        positive = label_number(request.positive, labels, "to measure") if request.positive.strip() else len(labels) - 1
        start = {"mode": request.mode.value, "model": about(request.model, loaded, pool, context.owner)}
        source = f"{len(request.templates)} templates"
        values = {**start, "labels": list(labels), "total": len(made), "source": source}
        yield Step(name="start", index=0, values=values)
        if len(made) > MOST_PROBES:
            yield Notice(text=f"The first {MOST_PROBES:,} of {len(made):,} sentences are read.")
            made = made[:MOST_PROBES]
        scores: dict[int, float] = {}
        pace = Pace(len(made), "sentences", "Probing")
        with suppress(Stopped):
            for batch in predictions(loaded, [probe.filled for probe in made], request.long, context):
                scores |= {one.index: one.probabilities[positive] for one in batch}
                yield from pace.add(len(batch))
    if context.cancelled() or not scores:
        yield Done(reason="stopped")
        return
    yield from _groups(request, made, scores, labels[positive], positive)


def _groups(
    request: SentimentRequest, made: list[Probe], scores: dict[int, float], label: str, positive: int
) -> Iterator[Event]:
    by_group: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for index, probe in enumerate(made):
        by_group[probe.group].append((scores[index], probe.filled))
    plain = {group: [score for score, _ in some] for group, some in by_group.items()}
    told: list[dict[str, Any]] = []
    for index, group in enumerate(spread(plain)):
        numbers = {
            "mean": group.mean, "sd": group.sd, "min": group.minimum, "q1": group.q1, "median": group.median,
            "q3": group.q3, "max": group.maximum,
        }  # fmt: skip
        values = {"group": group.group, "n": group.n} | {name: round(number, 6) for name, number in numbers.items()}
        values["examples"] = _examples(by_group[group.group])
        told.append(values)
        yield Step(name="group", index=index, values=values)
    gap = max(one["mean"] for one in told) - min(one["mean"] for one in told)
    names = by_word(made, [scores[index] for index in range(len(made))])  # sentences of one name are alike
    p_value = float(permutation_p_value(names, seed=request.seed))
    summary = {
        "axis": request.axis.value,
        "positive": positive,
        "gap": round(gap, 6),
        "p_value": round(p_value, 6),
        "sentence": _sentence(request, told, gap, p_value, label),
    }
    yield Step(name="bias", index=0, values=summary)
    yield Done(result={**summary, "groups": told})


def _examples(scored: list[tuple[float, str]]) -> list[dict[str, Any]]:
    """The lowest, the middle and the highest."""
    ordered = sorted(scored)
    places = sorted({0, len(ordered) // 2, len(ordered) - 1})[:EXAMPLES]
    return [{"text": ordered[place][1], "p": round(ordered[place][0], 6)} for place in places]


def _sentence(request: SentimentRequest, told: list[dict[str, Any]], gap: float, p_value: float, label: str) -> str:
    low, high = min(told, key=lambda one: one["mean"]), max(told, key=lambda one: one["mean"])
    if len(told) < 2:
        return f"There is one group only, so nothing is compared ({AXIS_TITLES[request.axis].lower()})."
    said = (
        f"“{label}” is most probable for the group “{high['group']}” (mean {high['mean']:.3f}) and least for "
        f"“{low['group']}” (mean {low['mean']:.3f})."
    )
    ending = "could be chance" if p_value >= 0.05 else "is hardly chance"
    return f"{said} With these sentences the difference {ending}."
