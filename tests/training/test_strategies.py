"""The strategies' loops against plain references: gradients, noise, budgets, padding, memory."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.training.strategies import tables, texts
from core.training.strategies.batches import Examples, epoch_batches
from core.training.strategies.footprint import footprint
from core.training.strategies.loop import Plan, Training, gradients, rate_at
from core.training.strategies.models import build_model
from core.training.strategies.noise import flat_gradient, measure_noise, squared_norms
from core.training.strategies.pipeline import padding_waste, way_of_text
from core.training.strategies.scores import Point, boundary, confusion, diverged, macro_f1, overfitting, underfitting

KINDS = ("logistic", "mlp", "bag", "cnn")


def model_of(kind: str, **changes: Any) -> torch.nn.Module:
    sizes = {"hidden": 8, "layers": 2, "embedding": 6, "dropout": 0.0, "seed": 3} | changes
    return build_model(kind, 20, 4, **sizes)


def examples_of(kind: str, count: int = 24) -> Examples:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(4, (count,), generator=generator)
    if kind in ("bag", "cnn"):
        lengths = torch.randint(1, 9, (count,), generator=generator).tolist()
        return Examples([torch.randint(1, 20, (n,), generator=generator).tolist() for n in lengths], labels)
    return Examples(torch.randn(count, 20, generator=generator), labels)


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "batch_size": 4, "parts": 1, "budget_kind": "epochs", "budget": 2, "optimizer": "sgd", "learning_rate": 0.1,
        "momentum": 0.9, "schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "l1": 0.0, "patience": 0,
        "replacement": False, "padding": "dynamic", "seed": 3,
    }  # fmt: skip
    return Plan(**values | changes)


def trained(kind: str = "mlp", **changes: Any) -> Training:
    training = Training(model_of(kind), examples_of(kind), plan(**changes))
    while training.advance():
        pass
    return training


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def grads(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [2, 3, 5, 24])
def test_accumulated_micro_batches_are_the_large_batch(kind: str, parts: int) -> None:
    model, (inputs, labels) = model_of(kind), examples_of(kind).whole()
    loss = gradients(model, inputs, labels)
    whole = grads(model).clone()
    assert gradients(model, inputs, labels, parts) == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(grads(model), whole, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_full_gradient_is_the_mean_of_the_single_ones(kind: str) -> None:
    model, (inputs, labels) = model_of(kind), examples_of(kind).whole()
    gradients(model, inputs, labels)
    whole = grads(model).clone()
    singles = []
    for i in range(len(labels)):
        gradients(model, inputs[i : i + 1], labels[i : i + 1])
        singles.append(grads(model).clone())
    torch.testing.assert_close(torch.stack(singles).mean(0), whole, rtol=1e-4, atol=1e-6)
    expected = torch.stack(singles).double().square().sum(1)
    torch.testing.assert_close(squared_norms(model, inputs, labels), expected, rtol=1e-4, atol=1e-9)


def test_a_gradient_is_plain_autograd_and_l1_pulls_weights_to_zero() -> None:
    model, (inputs, labels) = model_of("mlp"), examples_of("mlp").whole()
    F.cross_entropy(model(inputs), labels).backward()
    plain = grads(model).clone()
    gradients(model, inputs, labels)
    torch.testing.assert_close(grads(model), plain)
    gradients(model, inputs, labels, l1=0.5)
    added = [(p.grad, torch.sign(p) * 0.5 if p.dim() > 1 else torch.zeros_like(p)) for p in model.parameters()]
    expected = plain + torch.cat([extra.flatten() for _, extra in added])
    torch.testing.assert_close(grads(model), expected)


def test_the_noise_is_what_enumerating_all_batches_gives() -> None:
    examples = examples_of("logistic", 8)
    model = model_of("logistic")
    inputs, labels = examples.whole()
    single = torch.stack([flat_gradient(model, inputs[i : i + 1], labels[i : i + 1]) for i in range(8)])
    whole = single.mean(0)
    trace = float((single - whole).square().sum() / 7)
    found = measure_noise(model, examples, 2, seed=0)
    assert found.squared_norm == pytest.approx(float(whole.square().sum()), rel=1e-5)
    assert found.trace == pytest.approx(trace, rel=1e-4)
    assert found.scale == pytest.approx(trace / float(whole.square().sum()), rel=1e-4)
    pairs = [float((single[list(pair)].mean(0) - whole).square().sum()) for pair in combinations(range(8), 2)]
    assert found.predicted == pytest.approx(np.mean(pairs), rel=1e-4)
    assert found.variance == pytest.approx(np.mean(pairs), rel=0.15)
    assert measure_noise(model, examples, 8, seed=0).variance == pytest.approx(0, abs=1e-10)
    again = measure_noise(model, examples, 2, seed=0, replacement=True)
    assert again.predicted == pytest.approx(trace / 2 * 7 / 8, rel=1e-4)
    assert again.variance == pytest.approx(again.predicted, rel=0.2)


def test_larger_batches_are_quieter_and_measuring_changes_nothing() -> None:
    training = trained()
    before = weights(training.model).clone()
    variances = [measure_noise(training.model, training.examples_of, size, 1).variance for size in (1, 4, 12)]
    assert variances[0] > variances[1] > variances[2] > 0
    torch.testing.assert_close(weights(training.model), before)


def test_an_epoch_holds_every_example_once() -> None:
    for lengths in (None, list(range(23))):
        batches = epoch_batches(23, 4, 0, 5, lengths=lengths)
        assert sorted(torch.cat(batches).tolist()) == list(range(23))
        assert [len(batch) for batch in batches].count(4) == 5
    assert not torch.equal(torch.cat(epoch_batches(23, 4, 0, 5)), torch.cat(epoch_batches(23, 4, 1, 5)))
    drawn = torch.cat(epoch_batches(200, 4, 0, 5, replacement=True))
    assert len(drawn) == 200
    assert len(set(drawn.tolist())) < 200


@pytest.mark.parametrize(
    ("kind", "budget", "steps", "examples"),
    [("epochs", 2, 12, 48), ("epochs", 0.5, 3, 12), ("examples", 30, 7, 28), ("steps", 9, 9, 36)],
)
def test_a_budget_is_never_overspent(kind: str, budget: float, steps: int, examples: int) -> None:
    training = trained(budget_kind=kind, budget=budget)
    assert (training.steps, training.examples) == (steps, examples)
    assert training.over


def test_a_budget_in_seconds_counts_the_steps_only() -> None:
    ticks = iter(range(10_000))
    training = Training(model_of("mlp"), examples_of("mlp"), plan(budget_kind="seconds", budget=5), lambda: next(ticks))
    while training.advance():
        for _ in range(7):
            next(ticks)  # time between the readings is nobody's
    assert training.seconds == training.steps == 5


def test_a_training_does_not_depend_on_what_runs_beside_it() -> None:
    alone = trained("mlp", optimizer="adam")
    one = Training(model_of("mlp", dropout=0.0), examples_of("mlp"), plan(optimizer="adam"))
    other = Training(model_of("cnn", dropout=0.5), examples_of("cnn"), plan(batch_size=1))
    while one.advance():
        other.advance()
        torch.rand(3)
    torch.testing.assert_close(weights(one.model), weights(alone.model), rtol=0, atol=0)


def test_the_first_weights_are_the_same_and_accumulation_ends_where_the_large_batch_does() -> None:
    torch.testing.assert_close(weights(model_of("mlp")), weights(model_of("mlp")), rtol=0, atol=0)
    assert not torch.equal(weights(model_of("mlp")), weights(model_of("mlp", seed=4)))
    torch.testing.assert_close(weights(trained(parts=2).model), weights(trained().model), rtol=1e-4, atol=1e-6)


def test_a_training_stops_at_the_next_step() -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    training = Training(model_of("mlp"), examples_of("mlp"), plan(budget=200, readings=2))
    assert training.advance(cancelled) is False
    assert training.steps == 3


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw"])
def test_every_optimizer_learns_in_its_own_way(name: str) -> None:
    training = trained(optimizer=name, learning_rate=0.02, weight_decay=0.1)
    assert not torch.equal(weights(training.model), weights(model_of("mlp")))
    names = [other for other in ("sgd", "adam", "adamw") if other != name]
    for other in (trained(optimizer=other, learning_rate=0.02, weight_decay=0.1) for other in names):
        assert not torch.equal(weights(training.model), weights(other.model))


def test_schedules() -> None:
    assert rate_at("constant", 2.0, 0.0, 0.7) == 2.0
    assert rate_at("linear", 2.0, 0.0, 0.5) == pytest.approx(1.0)
    assert rate_at("cosine", 2.0, 0.0, 0.5) == pytest.approx(1.0)
    assert [rate_at("step", 1.0, 0.0, s) for s in (0.1, 0.5, 0.9)] == pytest.approx([1.0, 0.1, 0.01])
    assert rate_at("constant", 1.0, 0.2, 0.0) == pytest.approx(0.1)
    assert rate_at("constant", 1.0, 0.2, 0.1) == pytest.approx(0.55)
    assert rate_at("linear", 1.0, 0.2, 0.2) == pytest.approx(1.0)
    assert all(rate_at(s, 1.0, 0.1, 1.0) > 0 for s in ("linear", "cosine", "step"))


@pytest.mark.parametrize("kind", ["bag", "cnn"])
def test_padding_does_not_change_what_a_model_says(kind: str) -> None:
    model, examples = model_of(kind), examples_of(kind)
    rows = torch.arange(6)
    tight, wide = examples.batch(rows)[0], examples.batch(rows, static=True)[0]
    wider = F.pad(wide, (0, 5))
    torch.testing.assert_close(model(tight), model(wide))
    torch.testing.assert_close(model(tight), model(wider))


def test_padding_waste_is_that_of_the_very_batches() -> None:
    examples = examples_of("bag", 64)
    waste = {entry["name"]: entry for entry in padding_waste(examples, 4, 3)}
    for padding, entry in waste.items():
        training = Training(model_of("bag"), examples, plan(padding=padding, budget=1))
        while training.advance():
            pass
        assert (training.tokens, training.padded) == (entry["tokens"], entry["cells"])
    assert waste["static"]["cells"] > waste["dynamic"]["cells"] > waste["grouped"]["cells"]


def test_memory_is_counted_from_the_tensors() -> None:
    plain, adam = footprint(trained()), footprint(trained(optimizer="adam"))
    count = sum(p.numel() for p in model_of("mlp").parameters())
    assert plain.parameters == plain.gradients == 4 * count
    assert plain.optimizer == 0
    assert 8 * count <= adam.optimizer <= 8 * count + 100
    assert footprint(trained(parts=4)).activations < plain.activations


def test_scores_agree_with_scikit_learn() -> None:
    from sklearn import metrics

    generator = torch.Generator().manual_seed(0)
    truth, predicted = (torch.randint(4, (60,), generator=generator) for _ in range(2))
    matrix = confusion(truth, predicted, 4)
    assert matrix == metrics.confusion_matrix(truth, predicted).tolist()
    assert macro_f1(matrix) == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))


def test_readings_say_what_the_curves_say() -> None:
    falling = [Point(1 / (i + 1), 0.5 + i / 40, 1 / (i + 1), 0.5) for i in range(20)]
    assert overfitting(falling) == ""
    rising = [Point(1 / (i + 1), 0.9, 0.5 + abs(i - 5) / 10, 0.7) for i in range(20)]
    assert overfitting(rising).startswith("Overfitting: the validation loss has risen from 0.50")
    flat = [Point(0.69 + 0.001 * (i % 2), 0.52, 0.7, 0.5) for i in range(20)]
    assert underfitting(flat).startswith("Underfitting")
    assert underfitting([Point(2 - i / 20, 0.5, 2, 0.5) for i in range(20)]).startswith("Not done")
    assert underfitting([Point(0.1, 0.97, 0.1, 0.96)] * 20) == ""
    assert diverged(Point(float("nan"), 0.1, 1, 0.1), falling[0])
    assert diverged(Point(50.0, 0.1, 1, 0.1), falling[0])
    assert not diverged(falling[1], falling[0])


def test_the_boundary_is_the_models_own_probability_row_by_row_from_the_top() -> None:
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 100.0]]))
        model.bias.zero_()
    assert boundary(model, (-1.0, -1.0, 1.0, 1.0), 4) == "z" * 8 + "0" * 8


def test_rows_are_split_without_overlap_and_labels_disturbed_as_asked() -> None:
    rows, labels = tables.digits()
    parts = tables.split(labels, 200, 300, 400, 5)
    assert [len(part) for part in parts] == [200, 300, 400]
    assert len(np.unique(np.concatenate(parts))) == 900
    assert rows.min() >= 0
    assert rows.max() == 1
    changed = tables.disturbed(labels[parts[0]], 0.25, 10, 5)
    assert (changed != labels[parts[0]]).sum() == 50
    for name in ("moons", "circles", "blobs", "xor"):
        points, classes = tables.toy(name, 100, 0.1, 5)
        assert points.shape == (100, 2)
        assert set(classes.tolist()) == {0, 1}
        assert not np.allclose(points, tables.toy(name, 100, 0.3, 5)[0])


def test_a_text_on_its_way() -> None:
    assert texts.clean("  Ｈello\tWORLD  ") == "hello world"
    numbers = texts.vocabulary([["b", "a"], ["a"]])
    assert numbers == {"a": 2, "b": 3}
    assert texts.numbered(["a", "c", "b"], numbers) == [2, 1, 3]
    assert texts.numbered([], numbers) == [1]
    assert texts.pad([[5], [6, 7]]).tolist() == [[5, 0], [6, 7]]
    examples = Examples([[2], [2, 3], [2, 2, 3, 3]], torch.tensor([0, 1, 0]))
    shown = way_of_text(["A", "B a", "C"], [["a"], ["a", "b"], ["a"] * 4], ["x", "y", "x"], examples, 2, 0)
    assert shown["longest"] == 4
    assert shown["vocabulary"] == 4
    assert {batch["width"] for batch in shown["batches"] if batch["name"] == "static"} == {4}
    assert all(example["clean"] == example["raw"].lower() for example in shown["examples"])
