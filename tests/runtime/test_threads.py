"""How many CPU threads a pass computes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from core.runtime import threads
from core.runtime.threads import LITTLE_WORK, MeasuredThreads, StepThreads, suitable_threads


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch would take three threads, whatever this machine has."""
    monkeypatch.setattr(threads, "_usual", lambda: 3)
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


def test_little_work_takes_one_thread_and_leaves_torch_as_it_was() -> None:
    before = torch.get_num_threads()
    with suitable_threads("cpu", 1):
        assert torch.get_num_threads() == 1
        with suitable_threads("cpu", LITTLE_WORK + 1):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


class Machine:
    """Passes that take as long as the test says, by a clock of their own."""

    def __init__(self, one: float, three: float) -> None:
        self.seconds = {1: one, 3: three}
        self.now = 0.0
        self.used: list[int] = []

    def passes(self, chooser: MeasuredThreads, count: int, tokens: int) -> list[int]:
        """The threads that each of the next passes computed on."""
        self.used = []
        for _ in range(count):
            with chooser.suitable(tokens):
                self.used.append(torch.get_num_threads())
                self.now += self.seconds[torch.get_num_threads()]
        return self.used


@pytest.mark.parametrize(("one", "three", "faster"), [(2.0, 1.0, 3), (1.0, 4.0, 1)])
def test_passes_run_as_the_faster_kind_did(one: float, three: float, faster: int) -> None:
    machine = Machine(one, three)
    chooser = MeasuredThreads("cpu", 4_000_000, lambda: machine.now)
    assert machine.passes(chooser, 20, tokens=24) == [1, 1, 3, 3] + [faster] * 16


def test_a_core_that_becomes_busy_is_noticed() -> None:
    machine = Machine(2.0, 1.0)
    chooser = MeasuredThreads("cpu", 4_000_000, lambda: machine.now)
    machine.passes(chooser, 10, tokens=24)
    machine.seconds[3] = 8.0
    machine.passes(chooser, 100, tokens=24)
    assert machine.passes(chooser, 20, tokens=24) == [1] * 20


def test_comparisons_become_rare() -> None:
    machine = Machine(1.0, 2.0)
    chooser = MeasuredThreads("cpu", 4_000_000, lambda: machine.now)
    machine.passes(chooser, 2000, tokens=24)
    used = machine.passes(chooser, 1000, tokens=24)
    assert 6 <= used.count(3) <= 8


@pytest.mark.parametrize(("parameters", "tokens", "wanted"), [(4_000_000, 1, 1), (124_000_000, 1, 3)])
def test_where_the_amount_of_work_decides_nothing_is_compared(parameters: int, tokens: int, wanted: int) -> None:
    machine = Machine(1.0, 1.0)
    chooser = MeasuredThreads("cpu", parameters, lambda: machine.now)
    assert set(machine.passes(chooser, 10, tokens)) == {wanted}


class Desk:
    """A machine with three cores, of which something else may take some while a training steps."""

    def __init__(self) -> None:
        self.now = self.worked = 0.0
        self.taken = False

    def steps(self, chooser: StepThreads, count: int) -> list[int]:
        used = []
        for _ in range(count):
            chooser.begin()
            used.append(torch.get_num_threads())
            seconds = (9.0 if self.taken else 1.0) if used[-1] == 3 else 2.5
            self.now += seconds
            self.worked += seconds * used[-1] * (0.5 if self.taken and used[-1] == 3 else 1.0)
            chooser.end()
        return used


@pytest.fixture
def torch_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("torch_as_before")
def test_a_training_leaves_cores_that_something_else_uses_and_comes_back() -> None:
    desk = Desk()
    chooser = StepThreads("cpu", lambda: desk.now, lambda: desk.worked)
    assert desk.steps(chooser, 50) == [3] * 50
    desk.taken = True
    assert desk.steps(chooser, 20) == [3] + [1] * 19
    desk.taken = False
    desk.steps(chooser, 40)
    assert desk.steps(chooser, 20) == [3] * 20


@pytest.mark.usefixtures("torch_as_before")
def test_a_slow_step_that_has_all_cores_is_no_reason_to_leave_them() -> None:
    desk = Desk()
    chooser = StepThreads("cpu", lambda: desk.now, lambda: desk.worked)
    desk.steps(chooser, 5)
    desk.now += 100.0
    desk.worked += 300.0
    assert desk.steps(chooser, 5) == [3] * 5
