"""What the readings say of curves that show something, and that they are silent about those that do not."""

from __future__ import annotations

import math

import pytest

from core.training.readings import exploding, not_a_number, not_learning, one_class, overfitting

Points = list[tuple[int, float]]


def falling(count: int, start: float = 3.0, rate: float = 0.03) -> Points:
    return [(i + 1, start * math.exp(-rate * i)) for i in range(count)]


def flat(count: int, value: float = 2.0) -> Points:
    return [(i + 1, value + 0.01 * math.sin(i)) for i in range(count)]


def test_overfitting_is_an_evaluation_loss_that_rises_while_the_training_loss_falls() -> None:
    said = overfitting(falling(100), [(20, 2.5), (40, 2.0), (60, 2.2), (80, 2.4)])
    assert said is not None
    assert "since step 40" in said
    assert "2.000 to 2.400" in said


@pytest.mark.parametrize(
    ("train", "evaluations"),
    [
        (falling(100), [(20, 2.5), (40, 2.0), (60, 1.9), (80, 1.8)]),  # both fall
        (falling(100), [(20, 2.5), (40, 2.0), (60, 2.3)]),  # one worse evaluation is no trend
        (falling(100), [(20, 2.5), (40, 2.0), (60, 2.005), (80, 2.01)]),  # level
        (list(reversed(falling(100))), [(20, 2.0), (40, 2.2), (60, 2.4)]),  # no evaluation after the best but two
        ([(i + 1, 1 + i / 100) for i in range(100)], [(20, 2.5), (40, 2.0), (60, 2.2), (80, 2.4)]),  # both rise
        (falling(100), [(20, math.nan), (40, 2.0), (60, math.nan), (80, 2.4)]),
        (falling(5), []),
    ],
)
def test_overfitting_is_not_seen_in_other_curves(train: Points, evaluations: Points) -> None:
    if train[0][0] > train[-1][0]:
        train = [(i + 1, value) for i, (_, value) in enumerate(train)]  # a training loss that rises
    assert overfitting(train, evaluations) is None


def test_a_loss_that_does_not_move_is_said_after_twenty_steps() -> None:
    assert not_learning(flat(19)) is None
    said = not_learning(flat(20))
    assert said is not None
    assert "does not fall" in said
    assert not_learning([(i + 1, 2.0 + i / 10) for i in range(40)]) is not None


@pytest.mark.parametrize("train", [falling(20), falling(200, rate=0.002), falling(3), []])
def test_a_loss_that_falls_is_learning(train: Points) -> None:
    assert not_learning(train) is None


def test_losses_that_are_no_numbers_are_passed_over_but_by_their_own_reading() -> None:
    holes = [(step, math.nan if step % 3 == 0 else value) for step, value in falling(40)]
    assert not_learning(holes) is None
    assert not_a_number([*falling(3), (4, math.nan)]) == (
        "The loss is not a number at step 4. A lower learning rate or a longer warm-up helps."
    )
    assert not_a_number([(1, math.inf)]) is not None
    assert not_a_number(falling(3)) is None
    assert not_a_number([]) is None


def test_a_gradient_norm_far_above_its_median_explodes() -> None:
    calm = flat(30, 1.0)
    rising = [*falling(30), (31, 9.0), (32, 12.0)]
    said = exploding([*calm, (31, 14.0), (32, 20.0)], rising)
    assert said is not None
    assert "at step 32" in said
    assert "20, " in said
    assert exploding([*calm, (31, math.nan), (32, math.nan)], falling(32)) is not None
    assert exploding([*calm, (31, 14.0), (32, 20.0)], falling(32)) is None  # it learns: a sharp turn on the way down


@pytest.mark.parametrize(
    "norms",
    [
        flat(40, 1.0),
        [*flat(30, 1.0), (31, 40.0), (32, 1.0)],  # a single spike is cut by clipping
        [*flat(5, 1.0), (6, 40.0), (7, 40.0)],  # too early to know what is usual
        [(i + 1, 0.0) for i in range(40)],
        [],
    ],
)
def test_other_gradient_norms_do_not_explode(norms: Points) -> None:
    assert exploding(norms, flat(40, 3.0)) is None


def test_everything_predicted_as_one_class() -> None:
    assert one_class({"happy": 20, "sad": 0}, {"happy": 12, "sad": 8}) == (
        "Everything is predicted as “happy”, which 60% of the validation rows are."
    )
    assert one_class({"happy": 19, "sad": 1}, {"happy": 12, "sad": 8}) is None
    assert one_class({"happy": 20, "sad": 0}, {"happy": 20, "sad": 0}) is None
    assert one_class({}, {}) is None
