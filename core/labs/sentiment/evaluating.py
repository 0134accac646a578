"""A model beside labels that are known: scores, curves, calibration, and the rows behind every count.

Promises: every number is of the rows that were read, and the run says how many; a row's number is its place among the
measured ones, whose places in the data are told where they are others (``place_of``); rows whose label the model does
not know are left out and counted; the first examples are wrong ones, the surest errors first, with some right ones of
each label. A run that is stopped measures what it has, and says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from core.errors import BadInput, NotFound, Stopped
from core.events import Done, Event, Metric, Step
from core.events import Warning as Notice
from core.labs.sentiment.labels import label_number, match_labels
from core.labs.sentiment.material import Labelled, read_labelled, reader_of, shown_text
from core.labs.sentiment.predicting import (
    Pace,
    about,
    cut,
    lease,
    long_texts,
    needs_labels,
    predictions,
    rounded,
    title_of,
)
from core.labs.sentiment.request import SentimentRequest
from core.measure.classification import calibration, confusion, precision_recall, report, roc
from core.runtime.pool import Pool
from core.runtime.run_context import RunContext
from core.runtime.run_log import RunLog
from core.text.classify import Prediction
from core.text.windows import limit_of

SCORES = 5000
EXAMPLES = 400
RIGHT_PER_LABEL = 20


@dataclass(frozen=True, slots=True)
class Known:
    """The rows whose labels a model knows: their places among all, and their labels' numbers."""

    places: tuple[int, ...]
    gold: tuple[int, ...]
    notes: tuple[str, ...]


def known_rows(labelled: Labelled, labels: Sequence[str], title: str) -> Known:
    """The rows of ``labelled`` in a model's words. Raises ``BadInput`` where it knows none of the labels."""
    matched = match_labels(labelled.gold, labels, title, labelled.classes)
    places = [place for place, name in enumerate(labelled.gold) if name in matched.numbers]
    counts = Counter(name for name in labelled.gold if name not in matched.numbers)
    notes = [
        f"{count:,} {'row' if count == 1 else 'rows'} labelled “{name[:40]}” "
        f"{'is' if count == 1 else 'are'} left out: {title} does not know this label."
        for name, count in counts.most_common(8)
    ]
    gold = tuple(matched.numbers[labelled.gold[place]] for place in places)
    return Known(tuple(places), gold, (*matched.notes, *notes))


def told_places(places: Sequence[int]) -> list[int] | None:
    """Which rows of the data were measured; None when it is all of them, or the first ones."""
    return None if list(places) == list(range(len(places))) else list(places)


def place_of(log: RunLog, row: int) -> int:
    """The place in the data of row ``row`` of an evaluation or a comparison. Raises ``NotFound``."""
    for record in log.read():
        if record["kind"] == "step" and record["name"] in ("evaluation", "comparison"):
            places, count = record["values"]["rows"], record["values"]["n"]
            if 0 <= row < count:
                return row if places is None else int(places[row])
            raise NotFound(f"The run has no row {row + 1:,}.", "Choose a row of its table.")
    raise NotFound("The run has not measured any rows.", "Evaluate the model first.")


def evaluate(request: SentimentRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """From ``Step("start")`` to ``Done``. Raises ``LabError``."""
    labelled = read_labelled(request, reader_of(pool.settings, context))
    with lease(request.model, pool, context) as loaded:
        labels = needs_labels(loaded)
        positive = label_number(request.positive, labels, "to measure") if request.positive.strip() else len(labels) - 1
        known = known_rows(labelled, labels, title_of(request.model, loaded, pool, context.owner))
        start = {"mode": request.mode.value, "model": about(request.model, loaded, pool, context.owner)}
        more = {"labels": list(labels), "total": len(known.places), "source": labelled.source}
        yield Step(name="start", index=0, values={**start, **more})
        yield from (Notice(text=note) for note in (*labelled.notes, *known.notes))
        found: dict[int, Prediction] = {}
        pace = Pace(len(known.places), "rows", "Evaluating")
        with suppress(Stopped):
            items = [labelled.items[place] for place in known.places]
            for batch in predictions(loaded, items, request.long, context):
                found |= {one.index: one for one in batch}
                yield from pace.add(len(batch))
        seconds, long = pace.seconds, long_texts(found.values(), limit_of(loaded))
    if not found:
        yield Done(reason="stopped")
        return
    if len(found) < len(known.places):
        yield Notice(text=f"Stopped: the scores are of {len(found):,} of {len(known.places):,} rows.")
    if long["n"]:
        yield Notice(text=f"Longer than the model reads at once: {long['how']}.")
    measured = _Measured(labelled, known, labels, positive, [found[i] for i in sorted(found)], sorted(found))
    values = measured.values()
    yield Step(name="evaluation", index=0, values=values)
    yield Step(name="examples", index=0, values={"rows": measured.examples()})
    speed = round(len(found) / seconds, 2) if seconds else 0.0
    yield Metric(name="texts per second", value=speed, unit="1/s")
    result = {name: values[name] for name in ("n", "report", "confusion", "positive", "baseline")}
    result |= {"labels": list(labels), "roc_auc": values["roc"]["area"], "average_precision": values["pr"]["area"]}
    result |= {"ece": values["calibration"]["ece"], "seconds": round(seconds, 4)}
    yield Done(reason="stopped" if context.cancelled() else "finished", result=result)


@dataclass(slots=True)
class _Measured:
    """Predictions beside gold; ``kept`` are the places of ``found`` among the known rows."""

    labelled: Labelled
    known: Known
    labels: Sequence[str]
    positive: int
    found: list[Prediction]
    kept: list[int]

    @property
    def gold(self) -> list[int]:
        return [self.known.gold[place] for place in self.kept]

    def values(self) -> dict[str, Any]:
        """What ``Step("evaluation")`` says."""
        gold, predicted = self.gold, [one.label for one in self.found]
        probabilities = [one.probabilities for one in self.found]
        scores = [p[self.positive] for p in probabilities]
        if any(score != score for score in scores):
            raise BadInput("The model's scores are no numbers.", "Choose another model: its weights are broken.")
        is_positive = [label == self.positive for label in gold]
        most, count = Counter(gold).most_common(1)[0]
        return {
            "n": len(gold),
            "report": report(gold, predicted, self.labels).plain(),
            "confusion": confusion(gold, predicted, len(self.labels)),
            "roc": roc(is_positive, scores).plain(),
            "pr": precision_recall(is_positive, scores).plain(),
            "calibration": calibration(gold, probabilities).plain(),
            "positive": self.positive,
            "scores": rounded(scores[:SCORES]),
            "gold": gold[:SCORES],
            "rows": told_places([self.known.places[place] for place in self.kept]),
            "baseline": {"label": most, "accuracy": count / len(gold)},
        }

    def examples(self) -> list[dict[str, Any]]:
        """Wrong rows, the surest first, then right ones of each label, the least sure first."""
        rows = [self._row(at) for at in range(len(self.found))]
        wrong = sorted((row for row in rows if row["gold"] != row["predicted"]), key=lambda row: -row["margin"])
        by_label: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            if row["gold"] == row["predicted"]:
                by_label[row["gold"]].append(row)
        each = max(1, min(RIGHT_PER_LABEL, EXAMPLES // (2 * max(1, len(by_label)))))
        right = []
        for label in sorted(by_label):
            right += sorted(by_label[label], key=lambda row: row["margin"])[:each]
        return [*self._balanced(wrong, EXAMPLES - len(right)), *right]

    def _balanced(self, wrong: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
        """At most so many wrong rows, every cell of the matrix with its share, in their order."""
        if len(wrong) <= most:
            return wrong
        seen: Counter[tuple[int, int]] = Counter()
        ranked = []
        for place, row in enumerate(wrong):
            cell = (row["gold"], row["predicted"])
            ranked.append((seen[cell], place))
            seen[cell] += 1
        kept = sorted(place for _, place in sorted(ranked)[:most])
        return [wrong[place] for place in kept]

    def _row(self, at: int) -> dict[str, Any]:
        one, place = self.found[at], self.kept[at]
        ordered = sorted(one.probabilities, reverse=True)
        text, shortened = cut(shown_text(self.labelled.items[self.known.places[place]]))
        return {
            "i": at,
            "text": text,
            "cut": shortened,
            "gold": self.known.gold[place],
            "predicted": one.label,
            "p": round(one.probabilities[one.label], 6),
            "margin": round(ordered[0] - ordered[1], 6),
        }
