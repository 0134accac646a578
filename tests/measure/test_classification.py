"""Scores of labels against scikit-learn and against figures worked out by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput
from core.measure.classification import POINTS, calibration, confusion, precision_recall, report, roc

GOLD, PREDICTED, LABELS = [0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 0, 1], ("bad", "good", "mixed", "other")


def test_a_report_by_hand() -> None:
    found = report(GOLD, PREDICTED, LABELS)
    assert found.accuracy == pytest.approx(3 / 6)
    bad, good, mixed, other = found.classes
    assert (bad.precision, bad.recall, bad.n, bad.predicted) == (1 / 2, 1 / 2, 2, 2)
    assert (good.precision, good.recall) == (pytest.approx(2 / 4), pytest.approx(2 / 3))
    assert (mixed.precision, mixed.recall, mixed.f1, mixed.n, mixed.predicted) == (0, 0, 0, 1, 0)
    assert (other.n, other.predicted) == (0, 0)
    assert found.f1 == pytest.approx((1 / 2 + 4 / 7 + 0) / 3)  # a label that nothing has counts for no mean
    assert json.loads(json.dumps(found.plain()))["per_class"][1]["label"] == "good"


def test_a_report_of_nothing() -> None:
    found = report([], [], ("a", "b"))
    assert (found.n, found.accuracy, found.f1) == (0, 0.0, 0.0)
    assert [one.n for one in found.classes] == [0, 0]


def test_confusion_counts_gold_in_rows() -> None:
    assert confusion(GOLD, PREDICTED, 3) == [[1, 1, 0], [1, 2, 0], [0, 1, 0]]
    assert confusion([], [], 2) == [[0, 0], [0, 0]]


def test_curves_of_a_perfect_and_a_useless_model() -> None:
    perfect = roc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert perfect.area == 1.0
    assert (perfect.x[0], perfect.y[0], perfect.x[-1], perfect.y[-1]) == (0, 0, 1, 1)
    assert roc([0, 1, 0, 1], [0.5] * 4).area == 0.5
    pr = precision_recall([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert pr.area == 1.0
    assert (pr.x[0], pr.y[0], pr.x[-1]) == (0, 1, 1)
    assert list(pr.thresholds) == sorted(pr.thresholds, reverse=True)
    assert json.dumps(perfect.plain(), allow_nan=False)


def test_a_point_of_a_curve_is_what_its_threshold_gives() -> None:
    generator = np.random.default_rng(0)
    gold = generator.integers(0, 2, 3000)
    scores = np.clip(0.5 * gold + generator.normal(0.3, 0.4, 3000), 0, 1)
    curve, pr = roc(gold, scores), precision_recall(gold, scores)
    assert 100 < len(curve.x) <= POINTS
    assert 100 < len(pr.x) <= POINTS
    assert abs(np.trapezoid(curve.y, curve.x) - curve.area) < 2e-3  # thinned, the curve keeps its shape
    for at in (1, 40, 120):
        called = scores >= curve.thresholds[at]
        assert curve.y[at] == pytest.approx((called & (gold == 1)).sum() / (gold == 1).sum())
        assert curve.x[at] == pytest.approx((called & (gold == 0)).sum() / (gold == 0).sum())
        called = scores >= pr.thresholds[at]
        assert pr.x[at] == pytest.approx((called & (gold == 1)).sum() / (gold == 1).sum())
        assert pr.y[at] == pytest.approx(gold[called].mean())


def test_one_class_alone_has_no_curve() -> None:
    assert roc([1, 1], [0.2, 0.9]).area is None
    assert precision_recall([0, 0], [0.2, 0.9]).x == ()


def test_calibration_by_hand() -> None:
    probabilities = [[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.3, 0.7]]
    found = calibration([0, 1, 1, 1], probabilities)
    last, seventh = found.bins[9], found.bins[6]
    assert (last.n, last.confidence, last.accuracy) == (2, pytest.approx(0.95), 0.5)
    assert (seventh.n, seventh.accuracy) == (2, 1.0)  # 0.65 and 0.7: a bin holds its upper end
    assert sum(one.n for one in found.bins) == 4
    assert found.ece == pytest.approx((abs(1.9 - 1) + abs(1.35 - 2)) / 4)
    assert found.brier == pytest.approx((2 * 0.05**2 + 2 * 0.95**2 + 2 * 0.35**2 + 2 * 0.3**2) / 4)
    positive = calibration([0, 1, 1, 1], [row[1] for row in probabilities])
    assert positive.brier == pytest.approx(found.brier / 2)
    assert calibration([], []).ece is None


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="2 gold labels and 1 predicted"):
        report([0, 1], [0], ("a", "b"))
    with pytest.raises(BadInput, match="no number"):
        roc([0, 1], [0.2, float("nan")])


def test_metric_objects_combine_and_leave_nothing_on_disk(tmp_path: Path) -> None:
    """In a process of its own: the cache's place is read at import."""
    code = (
        "import evaluate\n"
        "from core.measure.metrics import AccuracyMetric, EntityMetric, PrecisionRecallF1Metric\n"
        "both = evaluate.combine([AccuracyMetric(), PrecisionRecallF1Metric()])\n"
        "both.add_batch(predictions=[0, 1], references=[0, 0])\n"
        "both.add_batch(predictions=[1], references=[1])\n"
        "found = both.compute()\n"
        "assert abs(found['accuracy'] - 2 / 3) < 1e-9 and abs(found['f1'] - 2 / 3) < 1e-9, found\n"
        "rows = [['B-PER', 'I-PER', 'O']]\n"
        "assert EntityMetric().compute(predictions=rows, references=rows)['micro']['f1'] == 1\n"
    )
    places = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "", "HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=places, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"] == []


def test_importing_is_cheap() -> None:
    code = (
        "import sys\n"
        "import core.measure.classification, core.measure.entities, core.measure.significance, core.measure.words\n"
        "import core.text.alignment, core.text.cooccurrence\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'evaluate', 'seqeval', 'networkx', 'transformers', 'tokenizers'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
