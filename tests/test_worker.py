import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import NotFound
from core.events import Done, Event
from core.labs.table import LABS, LabEntry, load_lab, request_of
from core.runtime.job_process import frames
from core.runtime.job_queue import Worker
from core.runtime.run_context import JobLimits, RunContext
from core.runtime.run_folder import QUEUED, STOP, WORKER
from core.runtime.run_writer import RunWriter
from core.runtime.runs import RunStore, owner_of
from core.runtime.uploads import Uploads
from core.services import Services
from core.settings import REPOSITORY, Settings
from core.worker import SIZE_SECONDS, Watch, work
from tests.fakes import PATIENCE, FakeClock
from tests.fakes_jobs import MODULE, FakeRequest, allow

SECRET = "hf_averysecrettoken"


@pytest.fixture
def store(settings: Settings) -> Iterator[RunStore]:
    store = RunStore(settings)
    yield store
    store.close()


@pytest.fixture(autouse=True)
def in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LABS, "fake", LabEntry(MODULE, "job"))


def queued(store: RunStore, visitor: str = "anna", **request: Any) -> RunWriter:
    """A job as the app leaves it to a worker."""
    run = store.create("fake", visitor, FakeRequest(**request).model_dump(), kind="job")
    (run.folder / QUEUED).touch()
    run.close()
    return run


def start_of(run: RunWriter) -> dict[str, Any]:
    values: dict[str, Any] = run.read()[0]["values"]
    return values


# --- in this process --------------------------------------------------------------------------------------------------


def test_a_job_is_carried_to_its_end(store: RunStore, settings: Settings) -> None:
    run = queued(store, steps=2, free=True)
    work(settings.model_copy(update={"job_minutes": 2.0, "job_steps": 9, "job_bytes": 10**6}), run.id, device="cpu")
    assert [r["kind"] for r in run.read()] == ["step", "step", "step", "done"]
    assert start_of(run)["limits"] == [120.0, 9, 10**6]
    assert not (run.folder / QUEUED).exists()
    worker = Worker.model_validate_json((run.folder / WORKER).read_bytes())
    assert (worker.pid, worker.device) == (os.getpid(), "cpu")
    assert store.prune() == 0
    store.delete(run.id, "anna")


def test_the_table_of_labs_says_where_the_run_is(store: RunStore, settings: Settings) -> None:
    run = queued(store, free=True)
    work(settings, run.id)
    assert run.read()[-1]["result"] == {"steps": 3}


@pytest.mark.parametrize(
    ("fail", "error", "words"), [("input", "BadInput", "The rows are bad."), ("foreign", "Internal", "went wrong")]
)
def test_a_failure_ends_the_log_as_on_the_page(
    fail: str, error: str, words: str, store: RunStore, settings: Settings
) -> None:
    run = queued(store, free=True, fail=fail)
    work(settings, run.id, secret=SECRET)
    last = run.read()[-1]
    assert (last["kind"], last["error"]) == ("failed", error)
    assert words in last["what"]
    assert all(SECRET.encode() not in path.read_bytes() for path in run.folder.iterdir())
    assert (run.folder / "error.log").exists() is (fail == "foreign")


def test_a_request_that_no_longer_fits_is_a_failure_too(store: RunStore, settings: Settings) -> None:
    run = store.create("fake", "anna", {"steps": "many"}, kind="job")
    run.close()
    work(settings, run.id)
    assert run.read()[-1]["error"] == "BadInput"


def test_a_job_stopped_before_its_process_is_up_does_nothing(store: RunStore, settings: Settings) -> None:
    run = queued(store)
    (run.folder / STOP).touch()
    work(settings, run.id)
    assert [(r["kind"], r["reason"]) for r in run.read()] == [("done", "stopped")]


def test_a_run_that_another_process_has_is_left_alone(store: RunStore, settings: Settings) -> None:
    run = store.create("fake", "anna", FakeRequest(free=True).model_dump(), kind="job")
    work(settings, run.id)
    assert run.read() == []
    assert not (run.folder / WORKER).exists()
    run.append(Done())
    work(settings, run.id)
    assert len(run.read()) == 1


def test_only_the_first_of_several_processes_speaks(
    store: RunStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queued(store, free=True)
    monkeypatch.setenv("RANK", "1")
    work(settings, run.id)
    assert run.read() == []
    assert (run.folder / QUEUED).exists()
    monkeypatch.setenv("RANK", "0")
    work(settings, run.id)
    assert run.read()[-1]["kind"] == "done"


def test_a_job_opens_its_owners_upload_and_earlier_run_and_nobody_elses(
    store: RunStore, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\nfine,good\n")
    name = Uploads(settings).add(file, owner_of("anna"))
    earlier = queued(store)
    mine = queued(store, upload=name, other_run=earlier.id, free=True)
    work(settings, mine.id)
    assert start_of(mine)["upload"] == file.read_text()
    assert start_of(mine)["other_run"] == earlier.id
    for asked in ({"upload": name}, {"other_run": earlier.id}, {"other_run": "../../x"}):
        other = queued(store, "bert", free=True, **asked)
        work(settings, other.id)
        assert other.read()[-1]["error"] == "NotFound"


def test_the_watch_stops_what_takes_too_long_and_says_so_once(tmp_path: Path) -> None:
    said: list[Event] = []
    clock = FakeClock()
    context = RunContext("run", "anna", tmp_path, limits=JobLimits(seconds=60.0, bytes=1000))
    watch = Watch(context, tmp_path, said.append, clock)
    clock.advance(60)
    watch.look()
    assert not context.cancelled()
    clock.advance(1)
    watch.look()
    watch.look()
    assert context.cancelled()
    assert [event.model_dump()["text"] for event in said] == ["Stopped: it reached the limit of 1 minutes."]


def test_the_watch_sees_a_folder_that_grows_too_large(tmp_path: Path) -> None:
    said: list[Event] = []
    clock = FakeClock()
    context = RunContext("run", "anna", tmp_path, limits=JobLimits(bytes=1000))
    watch = Watch(context, tmp_path, said.append, clock)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "model").write_bytes(b"x" * 1001)
    watch.look()
    assert not context.cancelled()
    clock.advance(SIZE_SECONDS)
    watch.look()
    assert context.cancelled()
    assert "its files passed the limit of" in said[0].model_dump()["text"]


def test_every_jobs_request_is_found_by_its_run() -> None:
    request = request_of(load_lab(MODULE), {"steps": 4})
    assert request == FakeRequest(steps=4)


# --- by its command ---------------------------------------------------------------------------------------------------


def command(settings: Settings, run: RunWriter, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "core.worker", run.id, "--module", MODULE, *arguments],
        cwd=REPOSITORY,
        env=settings.child_environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_command_reads_its_secret_from_the_pipe_and_sigterm_stops_it(store: RunStore, settings: Settings) -> None:
    run = queued(store, steps=5, save_every=1)
    with command(settings, run) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(frames(SECRET, 1))
            process.stdin.close()
            assert run.wait(-1, PATIENCE)
            assert start_of(run)["secret"] == owner_of(SECRET)
            allow(run.folder, 1)
            assert run.wait(1, PATIENCE)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert [r["kind"] for r in run.read()] == ["step", "step", "step", "done"]
    assert run.read()[-1]["reason"] == "stopped"


@pytest.mark.skipif(os.name == "nt", reason="several processes need a system with forks")
def test_several_processes_started_by_accelerate_give_one_log(store: RunStore, settings: Settings) -> None:
    from core.runtime.job_process import command as launch

    run = queued(store, free=True)
    two = settings.model_copy(update={"job_processes": 2})
    done = subprocess.run(
        launch(two, run.id, MODULE, "all"),
        cwd=REPOSITORY,
        env=two.child_environment(),
        input=frames(SECRET, 2),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    records = run.read()
    assert [r["kind"] for r in records] == ["step"] * 4 + ["done"]
    assert records[0]["values"]["secret"] == owner_of(SECRET)


# --- through Services -------------------------------------------------------------------------------------------------


def test_services_queue_a_job_and_stop_either_kind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LABS, "thread", LabEntry(MODULE))
    services = Services(settings)
    monkeypatch.setattr(services.jobs, "_find_devices", lambda: ("cpu",))
    anna, bert = services.identity.new_visitor(), services.identity.new_visitor()
    try:
        for lab in ("thread", "fake"):
            run = services.start(lab, FakeRequest(steps=1), anna)
            assert run.meta.kind == ("job" if lab == "fake" else "interactive")
            follower = services.store.open(run.id, anna)
            assert follower.wait(-1, PATIENCE)
            with pytest.raises(NotFound):
                services.stop(run.id, bert)
            assert services.stop(run.id, anna)
            assert follower.wait_finished(PATIENCE)
            assert follower.read()[-1]["reason"] == "stopped"
            assert not services.stop(run.id, anna)
        assert services.status()["queue"] == 0
        with services.jobs._tending:  # not while the watch is about to start what comes next
            monkeypatch.setattr(services.jobs, "_start_next", lambda jobs: [])
        services.start("fake", FakeRequest(), anna)
        services.start("fake", FakeRequest(), bert)
        assert services.status()["queue"] == 2
        assert json.dumps(services.status())
        assert {(job.lab, job.position) for job in services.jobs.snapshot()} == {("fake", 1), ("fake", 2)}
    finally:
        services.close()


def test_an_interactive_run_has_its_owners_uploads_too(settings: Settings, tmp_path: Path) -> None:
    services = Services(settings)
    LABS["thread"] = LabEntry(MODULE)
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "fine"}\n')
    anna = services.identity.new_visitor()
    try:
        name = services.uploads.add(file, owner_of(anna))
        first = services.start("thread", FakeRequest(free=True, upload=name), anna)
        assert first.wait_finished(PATIENCE)
        second = services.start("thread", FakeRequest(free=True, upload=name, other_run=first.id), anna)
        assert second.wait_finished(PATIENCE)
        assert second.read()[0]["values"]["upload"] == file.read_text()
        assert second.read()[0]["values"]["other_run"] == first.id
        assert second.read()[0]["values"]["owner"] == owner_of(anna)
    finally:
        del LABS["thread"]
        services.close()
