import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from core.errors import Stopped
from core.runtime.lanes import InlineLane, Lane, Lanes
from tests.fakes import PATIENCE


class Steps:
    """A work of ``count`` steps that writes its name down at each; it may raise at one of them."""

    def __init__(self, visitor: str, name: str, count: int, said: list[str], raises_at: int | None = None) -> None:
        self.visitor = visitor
        self.done = 0
        self.over = threading.Event()
        self.failed: BaseException | None = None
        self._name, self._count, self._said, self._raises_at = name, count, said, raises_at

    def step(self) -> bool:
        if self.done == self._raises_at:
            raise ValueError(f"{self._name} broke")
        self._said.append(self._name)
        self.done += 1
        if self.done == self._count:
            self.over.set()
        return self.done < self._count

    def fail(self, error: BaseException) -> None:
        self.failed = error
        self.over.set()


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test")
    yield lane
    lane.close()


@contextmanager
def held(lane: Lane) -> Iterator[None]:
    """Keep the lane in one slice meanwhile, so that what is submitted queues up."""
    inside, release = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert release.wait(PATIENCE)

    with ThreadPoolExecutor(1) as thread:
        outcome = thread.submit(lane.call, hold, visitor="holder")
        assert inside.wait(PATIENCE)
        try:
            yield
        finally:
            release.set()
            outcome.result(PATIENCE)


def finish(*works: Steps) -> None:
    for work in works:
        assert work.over.wait(PATIENCE)


def test_visitors_take_turns_however_much_one_of_them_brings(lane: Lane) -> None:
    said: list[str] = []
    crowd = [Steps("anna", f"a{i}", 2, said) for i in range(3)]
    single = Steps("bert", "b", 4, said)
    with held(lane):
        for work in [*crowd, single]:
            lane.submit(work)
        assert lane.depth() == 5
    finish(*crowd, single)
    assert said == ["a0", "b", "a1", "b", "a2", "b", "a0", "b", "a1", "a2"]


def test_one_visitors_works_take_turns(lane: Lane) -> None:
    said: list[str] = []
    works = [Steps("anna", name, 2, said) for name in "xyz"]
    with held(lane):
        for work in works:
            lane.submit(work)
    finish(*works)
    assert said == list("xyzxyz")


def test_who_comes_late_waits_for_one_slice_of_each(lane: Lane) -> None:
    said: list[str] = []
    late = Steps("late", "late", 1, said)

    class Long(Steps):
        def step(self) -> bool:
            if self.done == 3:
                lane.submit(late)
            return super().step()

    long, other = Long("anna", "a", 8, said), Steps("bert", "b", 8, said)
    with held(lane):
        lane.submit(long)
        lane.submit(other)
    finish(long, other, late)
    came = said.index("late")
    assert said[:came].count("a") == 4
    assert came <= said.index("a") + 2 * 4


def test_a_call_returns_and_raises_to_its_caller(lane: Lane) -> None:
    assert lane.call(lambda: threading.current_thread().name) == "lane-test"
    with pytest.raises(ZeroDivisionError):
        lane.call(lambda: 1 // 0)
    assert lane.call(lambda: "still there") == "still there"


def test_a_call_from_the_lanes_own_thread_runs_inline(lane: Lane) -> None:
    assert lane.call(lambda: lane.call(lambda: lane.call(lambda: 3))) == 3


def test_slices_never_overlap(lane: Lane) -> None:
    inside = threading.Lock()

    def alone() -> bool:
        if not inside.acquire(blocking=False):
            return False
        inside.release()
        return True

    with ThreadPoolExecutor(8) as threads:
        outcomes = threads.map(lambda i: lane.call(alone, visitor=str(i % 3)), range(200))
        assert all(outcomes)


def test_a_work_that_raises_is_dropped_alone(lane: Lane) -> None:
    said: list[str] = []
    broken = Steps("anna", "broken", 5, said, raises_at=2)
    sound = Steps("bert", "sound", 5, said)
    with held(lane):
        lane.submit(broken)
        lane.submit(sound)
    finish(broken, sound)
    assert str(broken.failed) == "broken broke"
    assert sound.failed is None
    assert said.count("sound") == 5
    assert lane.call(lambda: True)
    assert lane.depth() == 0


class Mute:
    """A work that raises and has no ``fail``."""

    visitor = "anna"

    def step(self) -> bool:
        raise SystemExit(1)


class Rude(Mute):
    """A work whose ``fail`` raises, too."""

    def fail(self, error: BaseException) -> None:
        raise RuntimeError("and again")


@pytest.mark.parametrize("work", [Mute(), Rude()])
def test_the_lane_outlives_any_work(lane: Lane, work: Mute, caplog: pytest.LogCaptureFixture) -> None:
    lane.submit(work)
    assert lane.call(lambda: "alive") == "alive"
    assert caplog.records


def test_a_cancelled_call_gives_its_turn_away(lane: Lane) -> None:
    ran: list[bool] = []
    with pytest.raises(Stopped):
        lane.call(lambda: ran.append(True), cancelled=lambda: True)
    assert ran == []
    lane.call(lambda: ran.append(True), cancelled=lambda: False)
    assert ran == [True]


def test_discard_takes_out_only_what_waits(lane: Lane) -> None:
    said: list[str] = []
    kept, gone, alone = (
        Steps(visitor, name, 2, said) for visitor, name in (("a", "kept"), ("a", "gone"), ("b", "alone"))
    )
    with held(lane):
        for work in (kept, gone, alone):
            lane.submit(work)
        assert lane.discard(gone)
        assert lane.discard(alone)
        assert not lane.discard(alone)
        assert lane.depth() == 2
    finish(kept)
    assert said == ["kept", "kept"]
    assert not lane.discard(kept)


def test_close_fails_what_waits_and_refuses_what_comes(lane: Lane) -> None:
    said: list[str] = []
    waiting = Steps("anna", "a", 1, said)
    inside, release = threading.Event(), threading.Event()

    def hold() -> str:
        inside.set()
        assert release.wait(PATIENCE)
        return "done"

    with ThreadPoolExecutor(1) as thread:
        outcome = thread.submit(lane.call, hold)
        assert inside.wait(PATIENCE)
        lane.submit(waiting)
        lane.close(timeout=0)
        release.set()
        assert outcome.result(PATIENCE) == "done"
    finish(waiting)
    assert isinstance(waiting.failed, Stopped)
    assert said == []
    with pytest.raises(Stopped):
        lane.submit(waiting)
    with pytest.raises(Stopped):
        lane.call(lambda: 1)


def test_an_unused_lane_has_no_thread() -> None:
    before = threading.active_count()
    lane = Lane("unused")
    assert threading.active_count() == before
    lane.close()


def test_an_idle_lane_keeps_nothing_of_the_last_work_alive(lane: Lane) -> None:
    work: Steps | None = Steps("anna", "a", 1, [])
    assert work is not None
    remembered = weakref.ref(work)
    lane.submit(work)
    finish(work)
    work = None
    lane.call(lambda: None)
    gc.collect()
    assert remembered() is None


def test_inline_runs_on_the_callers_thread() -> None:
    lane = InlineLane()
    said: list[str] = []
    work, broken = Steps("anna", "a", 3, said), Steps("anna", "b", 3, said, raises_at=1)
    lane.submit(work)
    lane.submit(broken)
    assert said == ["a", "a", "a", "b"]
    assert isinstance(broken.failed, ValueError)
    assert lane.call(threading.current_thread) is threading.current_thread()
    assert lane.call(lambda: lane.call(lambda: lane.depth())) == 0
    with pytest.raises(ZeroDivisionError):
        lane.call(lambda: 1 // 0)
    with pytest.raises(Stopped):
        lane.call(lambda: 1, cancelled=lambda: True)
    lane.close()
    with pytest.raises(Stopped):
        lane.submit(work)
    with pytest.raises(Stopped):
        lane.call(lambda: 1)


@pytest.mark.parametrize(("inline", "kind"), [(False, Lane), (True, InlineLane)])
def test_a_device_has_one_lane(inline: bool, kind: Callable[[str], Lane]) -> None:
    lanes = Lanes(inline=inline)
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: lanes.for_device("cpu"), range(32)))
    assert len(found) == 1
    assert type(found.pop()) is kind
    assert lanes.for_device("cuda:0") is not lanes.for_device("cpu")
    assert lanes.depth() == 0
    lanes.close()
    with pytest.raises(Stopped):
        lanes.for_device("cpu").call(lambda: 1)
