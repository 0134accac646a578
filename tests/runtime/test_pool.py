"""Borrowing models: once for all, within a budget, and never pulled from under a borrower."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.catalog.catalog import Catalog
from core.catalog.facts import facts_from_config
from core.errors import AccessDenied, BadInput, BadModel, Busy, DoesNotFit, Internal, OutOfMemory, Stopped
from core.runtime.devices import Device
from core.runtime.lanes import Lanes
from core.runtime.ledger import Ledger
from core.runtime.placement import Policy, place
from core.runtime.pool import ModelSpec, Pool
from core.runtime.pool_entries import PLANNED_ROWS
from core.settings import Settings
from tests.fakes_models import GB, TINY_LLAMA, FakeCatalog, FakeClock, FakeLoader, cpu, cuda, named, write_model

FACTS = facts_from_config("tiny", TINY_LLAMA, has_chat_template=False, licence=None)
ONE = place(FACTS, (cpu(),), Policy(batch=PLANNED_ROWS)).total_bytes
A, B, C = (ModelSpec(name, dtype="float32") for name in "abc")


@dataclass
class Bench:
    pool: Pool
    loader: FakeLoader
    ledger: Ledger
    clock: FakeClock
    catalog: FakeCatalog


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Bench]:
    def make(budget: int | None = None, devices: tuple[Device, ...] = (cpu(),)) -> Bench:
        settings = Settings(home=tmp_path, memory_budget=budget)
        catalog: Any = FakeCatalog(named(FACTS, "a", "b", "c"), refusal=AccessDenied("Gated.", "Ask."))
        loader, ledger, clock = FakeLoader(), Ledger(settings), FakeClock()
        pool = Pool(settings, catalog, ledger, Lanes(inline=True), loader, devices=lambda: devices, clock=clock)
        return Bench(pool, loader, ledger, clock, catalog)

    return make


def _borrow(bench: Bench, *specs: ModelSpec) -> None:
    """Borrow each and give it back, one second apart."""
    for spec in specs:
        bench.clock.advance(1)
        with bench.pool.lease(spec):
            pass


def _names(bench: Bench) -> list[str]:
    return [entry.spec.base for entry in bench.pool.snapshot()]


def test_sixteen_threads_load_once(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.loader.gate = threading.Event()
    together = threading.Barrier(17)

    def ask() -> int:
        together.wait(30)
        with bench.pool.lease(A) as loaded:
            return id(loaded)

    with ThreadPoolExecutor(16) as threads:
        asked = [threads.submit(ask) for _ in range(16)]
        together.wait(30)
        assert bench.loader.started.wait(30)
        _until(lambda: bench.pool.snapshot()[0].borrowers == 16)
        assert bench.pool.snapshot()[0].state == "loading"
        bench.loader.gate.set()
        assert len({future.result(30) for future in asked}) == 1
    assert len(bench.loader.loads) == 1
    assert bench.pool.snapshot()[0].borrowers == 0


def _until(holds: Callable[[], bool]) -> None:
    """Wait for another thread to get where ``holds``; fails after ten seconds."""
    pause = threading.Event()
    for _ in range(2000):
        if holds():
            return
        pause.wait(0.005)
    pytest.fail("never came to hold")


def test_a_third_model_evicts_the_one_idle_longest(build: Callable[..., Bench]) -> None:
    bench = build(budget=2 * ONE)
    _borrow(bench, A, B, A, C)
    assert sorted(_names(bench)) == ["a", "c"]
    assert bench.ledger.reserved_here("cpu") == 2 * ONE
    _borrow(bench, A, B)
    assert [spec.base for spec in bench.loader.loads] == ["a", "b", "c", "b"]
    assert sorted(_names(bench)) == ["a", "b"]


def test_a_borrowed_model_is_never_evicted(build: Callable[..., Bench]) -> None:
    bench = build(budget=2 * ONE)
    with bench.pool.lease(A) as first:
        _borrow(bench, B, C)
        assert sorted(_names(bench)) == ["a", "c"]
        with bench.pool.lease(A) as again:
            assert again is first
    assert [spec.base for spec in bench.loader.loads] == ["a", "b", "c"]


def test_room_that_borrowers_hold_is_refused_at_once(build: Callable[..., Bench]) -> None:
    bench = build(budget=2 * ONE)
    with bench.pool.lease(A), bench.pool.lease(B):
        with pytest.raises(Busy, match="no room for c while 2 other models are in use"), bench.pool.lease(C):
            pytest.fail("lent")
        assert sorted(_names(bench)) == ["a", "b"]
    _borrow(bench, C)
    assert "c" in _names(bench)


def test_copies_of_a_borrowed_model_have_their_room_reserved(build: Callable[..., Bench]) -> None:
    bench = build(budget=3 * ONE)
    _borrow(bench, B, C)
    with bench.pool.lease(A) as loaded:
        with bench.pool.room_for_copies(loaded, loaded.bytes, "the merge of a"):
            assert "b" not in _names(bench), "idle models make room"
            assert bench.ledger.reserved_here("cpu") > 2 * ONE - loaded.bytes
            with pytest.raises(Busy, match="no room for the graph of a while"):
                bench.pool.room_for_copies(loaded, ONE, "the graph of a").__enter__()
            bench.pool.drop_idle()
            assert "a" in _names(bench)
        with (
            pytest.raises(DoesNotFit, match="the merge of a needs"),
            bench.pool.room_for_copies(loaded, 3 * ONE, "the merge of a"),
        ):
            pytest.fail("there is no such room")
    assert bench.pool.snapshot()[0].borrowers == 0
    bench.pool.drop_idle()
    assert bench.ledger.reserved_here("cpu") == 0


def test_what_never_fits_says_so(build: Callable[..., Bench]) -> None:
    bench = build(budget=ONE - 1)
    with pytest.raises(DoesNotFit, match="needs"), bench.pool.lease(A):
        pytest.fail("lent")
    assert bench.pool.snapshot() == ()
    assert bench.loader.loads == []


def test_another_process_has_the_memory(build: Callable[..., Bench], tmp_path: Path) -> None:
    small = cpu(free=16 * GB, total=ONE + 1)
    bench = build(devices=(small,))
    other = Ledger(Settings(home=tmp_path), pid=os.getppid())
    other.reserve("cpu", 10)
    with pytest.raises(DoesNotFit), bench.pool.lease(A):
        pytest.fail("lent")
    other.release("cpu")
    _borrow(bench, A)


def test_a_full_card_sends_the_next_model_to_the_cpu_only_when_nothing_is_idle(build: Callable[..., Bench]) -> None:
    bench = build(devices=(cuda(0, total=1.2 * ONE, free=1.2 * ONE), cpu()))
    with bench.pool.lease(A) as on_card, bench.pool.lease(B) as on_cpu:
        assert (on_card.placement.device, on_cpu.placement.device) == ("cuda:0", "cpu")
    with bench.pool.lease(C) as third:
        assert third.placement.device == "cuda:0"
    assert sorted(_names(bench)) == ["b", "c"]


def test_a_failed_load_reaches_every_waiter_and_leaves_nothing(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.loader.gate = threading.Event()
    bench.loader.errors = [BadModel("Damaged.", "Download it again.")]

    def ask() -> None:
        with bench.pool.lease(A):
            pytest.fail("lent")

    with ThreadPoolExecutor(8) as threads:
        asked: list[Future[None]] = [threads.submit(ask) for _ in range(8)]
        _until(lambda: bool(bench.pool.snapshot()) and bench.pool.snapshot()[0].borrowers == 8)
        bench.loader.gate.set()
        errors = [future.exception(30) for future in asked]
    assert [type(error) for error in errors] == [BadModel] * 8
    assert len({id(error) for error in errors}) == 8
    assert bench.pool.snapshot() == ()
    assert bench.ledger.reserved_here("cpu") == 0
    _borrow(bench, A)
    assert len(bench.loader.loads) == 2


def test_a_foreign_error_is_translated(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.loader.errors = [ZeroDivisionError("secret")]
    with pytest.raises(Internal) as caught, bench.pool.lease(A):
        pytest.fail("lent")
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_out_of_memory_while_loading_drops_what_is_idle_and_the_pool_works_on(build: Callable[..., Bench]) -> None:
    bench = build()
    _borrow(bench, A)
    bench.loader.errors = [MemoryError()]
    with pytest.raises(OutOfMemory), bench.pool.lease(B):
        pytest.fail("lent")
    assert bench.pool.snapshot() == ()
    assert bench.ledger.reserved_here("cpu") == 0
    _borrow(bench, B, A)


def test_out_of_memory_while_working_keeps_what_is_borrowed(build: Callable[..., Bench]) -> None:
    bench = build()
    _borrow(bench, A)
    with bench.pool.lease(C), pytest.raises(OutOfMemory) as caught, bench.pool.lease(B):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert sorted(_names(bench)) == ["b", "c"]


def test_an_error_of_the_borrower_is_the_borrowers(build: Callable[..., Bench]) -> None:
    bench = build()
    with pytest.raises(KeyError), bench.pool.lease(A):
        raise KeyError("mine")
    assert bench.pool.snapshot()[0].borrowers == 0


def test_a_waiting_lease_can_be_cancelled(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.loader.gate = threading.Event()
    cancelled = threading.Event()

    def ask(is_cancelled: Callable[[], bool]) -> str:
        with bench.pool.lease(A, cancelled=is_cancelled):
            return "lent"

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask, lambda: False)
        assert bench.loader.started.wait(30)
        second = threads.submit(ask, cancelled.is_set)
        _until(lambda: bench.pool.snapshot()[0].borrowers == 2)
        cancelled.set()
        assert isinstance(second.exception(30), Stopped)
        bench.loader.gate.set()
        assert first.result(30) == "lent"
    assert bench.pool.snapshot()[0].borrowers == 0
    with pytest.raises(Stopped), bench.pool.lease(B, cancelled=lambda: True):
        pytest.fail("lent")
    assert len(bench.loader.loads) == 1


def test_nobody_gets_a_model_that_another_visitors_token_loaded(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.catalog.readers = {"a": {"hf_one"}}
    with bench.pool.lease(A, token="hf_one"):
        for token in (None, "hf_two"):
            with pytest.raises(AccessDenied), bench.pool.lease(A, token=token):
                pytest.fail("lent")


def test_the_snapshot_says_who_borrows_what(build: Callable[..., Bench]) -> None:
    bench = build()
    _borrow(bench, A)
    bench.clock.advance(5)
    with bench.pool.lease(B), bench.pool.lease(B):
        b, a = bench.pool.snapshot()
    assert (b.title, b.borrowers, b.idle_seconds, b.state, b.device) == ("b", 2, 0.0, "ready", "cpu")
    assert (a.borrowers, a.idle_seconds, a.bytes, a.reserved) == (0, 5.0, 4 * FACTS.parameters, ONE)


def test_idle_models_can_be_dropped(build: Callable[..., Bench]) -> None:
    bench = build()
    _borrow(bench, A)
    with bench.pool.lease(B):
        assert bench.pool.drop_idle() == 1
    assert _names(bench) == ["b"]
    assert bench.ledger.reserved_here("cpu") == ONE


def test_a_plan_loads_nothing(build: Callable[..., Bench]) -> None:
    bench = build()
    assert bench.pool.plan(ModelSpec("a", dtype="bfloat16")).dtype == "bfloat16"
    assert bench.pool.plan(A).why.startswith("float32 on CPU")
    assert bench.loader.loads == []


def test_adapters_are_refused_until_they_can_be_attached(build: Callable[..., Bench]) -> None:
    with pytest.raises(BadInput, match="adapters"), build().pool.lease(ModelSpec("a", adapter="x")):
        pytest.fail("lent")


def test_one_spec_for_each_dtype(build: Callable[..., Bench]) -> None:
    bench = build()
    with ExitStack() as leases:
        loaded = [leases.enter_context(bench.pool.lease(ModelSpec("a", dtype=d))) for d in ("float32", "bfloat16")]
        assert [model.placement.dtype for model in loaded] == ["float32", "bfloat16"]


def test_a_real_model_from_a_real_catalog(tmp_path: Path) -> None:
    write_model(tmp_path / "assets" / "models" / "tiny")
    settings = Settings(home=tmp_path / "home", assets=tmp_path / "assets", offline=True)
    pool = Pool(settings, Catalog(settings), Ledger(settings), Lanes(inline=True))
    with pool.lease(ModelSpec("tiny", device="cpu")) as loaded:
        assert loaded.facts.source == "bundled"
        assert loaded.lane.call(lambda: sum(p.numel() for p in loaded.model.parameters())) == loaded.facts.parameters
        assert pool.snapshot()[0].bytes == loaded.bytes
