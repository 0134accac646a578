"""The scores of an evaluation: whole entities for IOB2 tags, macro F1 for everything else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.training.batches import IGNORED, Scores
from core.training.parameters import Task, TrainingParameters

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def outcome(predicted: Any, actual: Any) -> Any:
    return SimpleNamespace(predictions=np.array(predicted), label_ids=np.array(actual))


def test_iob2_tags_are_scored_as_whole_entities() -> None:
    actual = [[IGNORED, 1, 2, IGNORED, 0, 3], [IGNORED, 3, 0, 1, 2, IGNORED]]
    predicted = [[0, 1, 2, 4, 0, 3], [1, 3, 0, 1, 0, 0]]
    scores = Scores(Task.TOKENS, LABELS)
    found = scores(outcome(predicted, actual))
    assert found["f1"] == pytest.approx(3 / 4)  # of four entities one is cut short
    assert found["accuracy"] == pytest.approx(7 / 8)
    assert scores.actual == {"O": 2, "B-PER": 2, "I-PER": 2, "B-LOC": 2, "I-LOC": 0}


def test_an_entity_that_begins_with_i_is_none() -> None:
    found = Scores(Task.TOKENS, LABELS)(outcome([[2, 2, 0]], [[1, 2, 0]]))
    assert found == {"accuracy": pytest.approx(2 / 3), "f1": 0.0}


def test_virtual_tokens_in_front_are_not_scored() -> None:
    assert Scores(Task.TOKENS, LABELS)(outcome([[3, 3, 1, 2]], [[1, 2]]))["f1"] == 1.0


@pytest.mark.parametrize("task", [Task.TOKENS, Task.CLASSIFICATION])
def test_other_labels_have_the_macro_f1(task: Task) -> None:
    rows = ([[0, 1, 1, IGNORED]], [[0, 1, 2, IGNORED]]) if task is Task.TOKENS else ([0, 1, 1], [0, 1, 2])
    found = Scores(task, ("O", "NOUN", "VERB"))(outcome(*rows))
    assert found["f1"] == pytest.approx((2 / 3 + 0) / 2 if task is Task.TOKENS else (1 + 2 / 3 + 0) / 3)


def test_nothing_to_score() -> None:
    assert Scores(Task.TOKENS, LABELS)(outcome([[1]], [[IGNORED]])) == {}


def test_a_request_of_before_the_choice_still_loads() -> None:
    values = TrainingParameters(task=Task.TOKENS).model_dump()
    del values["label_all_tokens"]
    assert TrainingParameters(**values) == TrainingParameters(task=Task.TOKENS)
