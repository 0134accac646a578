"""Bytes promised across processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.errors import DoesNotFit
from core.runtime.ledger import Ledger, process_started
from core.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_shares_add_up_and_go(settings: Settings) -> None:
    alive = {10: 1.0, 11: 1.0}
    app, worker = (Ledger(settings, pid=pid, started=alive.get) for pid in (10, 11))
    app.reserve("cpu", 100)
    app.reserve("cpu", 50)
    app.reserve("cuda:0", 7)
    assert (worker.reserved_by_others("cpu"), worker.reserved_by_others("cuda:0")) == (150, 7)
    assert (app.reserved_by_others("cpu"), app.reserved_here("cpu")) == (0, 150)
    app.release("cpu", 100)
    assert worker.reserved_by_others("cpu") == 50
    app.release("cpu")
    assert worker.reserved_by_others("cpu") == 0


def test_a_share_over_the_capacity_is_refused_whole(settings: Settings) -> None:
    alive = {10: 1.0, 11: 1.0}
    app, worker = (Ledger(settings, pid=pid, started=alive.get) for pid in (10, 11))
    app.reserve("cpu", 60, capacity=100)
    with pytest.raises(DoesNotFit, match="Other processes hold 60 B on cpu"):
        worker.reserve("cpu", 41, capacity=100)
    assert worker.reserved_here("cpu") == 0
    worker.reserve("cpu", 40, capacity=100)


def test_the_dead_free_their_share_even_when_their_number_lives_on(settings: Settings) -> None:
    alive: dict[int, float] = {10: 1.0, 11: 1.0, 12: 1.0}
    ledgers = [Ledger(settings, pid=pid, started=alive.get) for pid in (10, 11, 12)]
    for ledger in ledgers:
        ledger.reserve("cpu", 100)
    del alive[11]
    alive[12] = 500.0  # another process, with the number of a dead one
    assert ledgers[0].reserved_by_others("cpu") == 0


def test_a_damaged_file_starts_a_new_page(settings: Settings) -> None:
    ledger = Ledger(settings)
    ledger.reserve("cpu", 5)
    (settings.home / "ledger" / "reserved.json").write_text('[{"pid": ')
    assert ledger.reserved_here("cpu") == 0
    ledger.reserve("cpu", 6)
    assert ledger.reserved_here("cpu") == 6


def test_threads_lose_nothing(settings: Settings) -> None:
    ledger = Ledger(settings)
    threads = [threading.Thread(target=ledger.reserve, args=("cpu", 1)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.reserved_here("cpu") == 8


def test_another_process_reserves_and_dies(settings: Settings, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from core.settings import Settings; from core.runtime.ledger import Ledger\n"
        "Ledger(Settings(home=pathlib.Path(sys.argv[1]))).reserve('cpu', 77)\n"
        "print('reserved', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "reserved\n"
        ledger = Ledger(settings)
        assert ledger.reserved_by_others("cpu") == 77
        other.communicate()
    assert ledger.reserved_by_others("cpu") == 0


def test_this_process_began_and_no_other_has_a_negative_number() -> None:
    assert process_started(os.getpid()) is not None
    assert process_started(2**22 + 1) is None


def test_a_process_that_sees_one_card_calls_it_as_everybody_does(settings: Settings) -> None:
    app, job = Ledger(settings), Ledger(settings, pid=2, started=lambda pid: 1.0, names={"cuda:0": "cuda:1"})
    alive = Ledger(settings, started=lambda pid: 1.0)
    job.reserve("cuda:0", 70, 100)
    assert job.reserved_here("cuda:0") == alive.reserved_by_others("cuda:1") == 70
    assert alive.reserved_by_others("cuda:0") == 0
    alive.reserve("cuda:1", 20, 100)
    assert job.reserved_by_others("cuda:0") == 20
    with pytest.raises(DoesNotFit):
        job.reserve("cuda:0", 20, 100)
    job.release("cuda:0")
    assert alive.reserved_by_others("cuda:1") == 0
    assert app.reserved_here("cuda:0") == 0
