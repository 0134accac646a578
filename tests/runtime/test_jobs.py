import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from core.errors import Busy, NotFound
from core.events import Progress, Step
from core.runtime import jobs as module
from core.runtime.job_process import command, died, frames
from core.runtime.job_queue import ALL_DEVICES, Holder, Job, Worker, free_devices, job_devices, positions, waiting
from core.runtime.jobs import Jobs
from core.runtime.run_folder import QUEUED, STOP, WORKER
from core.runtime.run_log import RunLog, RunMeta
from core.runtime.runs import RunStore, owner_of
from core.settings import REPOSITORY, Settings
from tests.fakes import PATIENCE
from tests.fakes_jobs import MODULE, FakeRequest, allow

SECRET = "hf_averysecrettoken"
Made = tuple[RunStore, Jobs]
MakeJobs = Callable[..., Made]


@pytest.fixture
def make_jobs(settings: Settings) -> Iterator[MakeJobs]:
    """Stores and jobs over one home, as many apps as wanted; whatever process is left is killed in the end."""
    made: list[Made] = []

    def make(devices: tuple[str, ...] = ("cpu",), **changes: Any) -> Made:
        store = RunStore(settings.model_copy(update=changes))
        jobs = Jobs(settings.model_copy(update=changes), store, lambda: devices, lambda lab: MODULE)
        made.append((store, jobs))
        return made[-1]

    yield make
    for store, jobs in made:
        jobs.close()
        store.close()
    for path in settings.home.glob(f"runs/*/{WORKER}"):
        kill(Worker.model_validate_json(path.read_bytes()).pid)


def kill(pid: int) -> None:
    """Kill our worker, and see it gone."""
    try:
        process = psutil.Process(pid)
        assert "core.worker" in process.cmdline()
        os.kill(pid, signal.SIGKILL)
        process.wait(PATIENCE)
    except (psutil.NoSuchProcess, AssertionError):
        return  # gone before, its number perhaps somebody else's


def submit(jobs: Jobs, visitor: str = "anna", secret: str | None = None, **request: Any) -> RunLog:
    return jobs.submit("fake", visitor, FakeRequest(**request).model_dump(), title="Fake", secret=secret)


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
    return value


def ended(run: RunLog) -> list[dict[str, Any]]:
    assert run.wait_finished(PATIENCE)
    return run.read()


def step(run: RunLog, name: str, index: int | None = None) -> dict[str, Any]:
    """The first step of this name (and number), waited for."""

    def look() -> dict[str, Any] | None:
        found = (r for r in run.read() if r["kind"] == "step" and r["name"] == name and index in (None, r["index"]))
        return next(found, None)

    found: dict[str, Any] = until(look)
    return found


def queue_positions(run: RunLog) -> list[int]:
    return [r["values"]["position"] for r in run.read() if r["kind"] == "step" and r["name"] == "queue"]


# --- whose turn it is -------------------------------------------------------------------------------------------------


def job(name: str, owner: str, created: float, device: str = "") -> Job:
    meta = RunMeta(id=name, lab="fake", kind="job", created=created, owner=owner, request={})
    return Job(meta, Worker(pid=1, started=created, device=device) if device else None)


def test_turns_go_round_the_visitors_and_the_oldest_of_each_goes_first() -> None:
    sweep = [job(f"a{number}", "anna", number) for number in range(4)]
    others = [job("b", "bert", 10), job("c", "cora", 11)]
    assert [each.id for each in waiting([*others, *reversed(sweep)])] == ["a0", "b", "c", "a1", "a2", "a3"]
    going = job("a9", "anna", 0, "cpu")
    assert [each.id for each in waiting([going, *sweep[:2], *others])] == ["b", "c", "a0", "a1"]
    assert positions([going, *sweep[:1], *others]) == {"a9": 0, "b": 1, "c": 2, "a0": 3}


def test_each_card_has_a_job_and_else_there_is_one() -> None:
    assert job_devices(["cuda:1", "cuda:0", "cpu"], shared=False) == ("cuda:1", "cuda:0")
    assert job_devices(["mps", "cpu"], shared=False) == ("mps",)
    assert job_devices(["cpu"], shared=False) == ("cpu",)
    assert job_devices(["cuda:0", "cuda:1", "cpu"], shared=True) == (ALL_DEVICES,)
    going = [job("a", "anna", 0, "cuda:1"), job("b", "anna", 1)]
    assert free_devices(("cuda:1", "cuda:0"), going) == ["cuda:0"]
    assert free_devices((ALL_DEVICES,), going) == []
    assert free_devices(("cuda:1", "cuda:0"), [job("a", "anna", 0, ALL_DEVICES)]) == []
    assert free_devices((ALL_DEVICES,), going[1:]) == [ALL_DEVICES]


# --- the process ------------------------------------------------------------------------------------------------------


def test_one_process_is_started_as_it_is_and_several_by_accelerate(settings: Settings) -> None:
    worker = ["-m", "core.worker", "0" * 16, "--module", MODULE, "--device", "cpu"]
    assert command(settings, "0" * 16, MODULE, "cpu") == [sys.executable, *worker]
    two = command(settings.model_copy(update={"job_processes": 2}), "0" * 16, MODULE, "cpu")
    assert two[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert two[-len(worker) :] == worker
    assert "--multi_gpu" in two
    assert two[two.index("--num_processes") + 1] == "2"
    changes = {"job_machines": 2, "job_processes": 4, "job_fsdp": True, "job_main_address": "lab1:29500"}
    many = command(settings.model_copy(update=changes), "0" * 16, MODULE, "all")
    assert "--use_fsdp" in many
    for name, value in {"num_machines": "2", "main_process_ip": "lab1", "main_process_port": "29500"}.items():
        assert many[many.index(f"--{name}") + 1] == value


def test_a_pipe_gives_each_process_its_own_frame() -> None:
    assert frames(None, 3) == b""
    assert len(frames(SECRET, 3)) == 3 * len(frames(SECRET, 1))
    with pytest.raises(ValueError, match="too long"):
        frames("x" * 5000, 1)


def train_records(steps: int, checkpoint: int | None) -> list[dict[str, Any]]:
    made = [Step(name="train", index=index, values={}) for index in range(1, steps + 1)]
    made += [Step(name="checkpoint", index=checkpoint, values={})] if checkpoint else []
    return [event.model_dump() for event in (Progress(done=0), *made)]


@pytest.mark.parametrize(
    ("steps", "checkpoint", "what", "todo"),
    [
        (0, None, "before its first step", "Run it again"),
        (7, None, "after step 7.", "no checkpoint yet: 7 steps are lost"),
        (7, 5, "after step 7.", "Resume goes on from step 5, the last checkpoint; 2 steps are lost."),
        (6, 5, "after step 6.", "1 step is lost."),
        (5, 5, "after step 5.", "nothing is lost."),
    ],
)
def test_a_death_is_told_with_what_is_lost(steps: int, checkpoint: int | None, what: str, todo: str) -> None:
    last = died(train_records(steps, checkpoint))
    assert last.error == "WorkerDied"
    assert what in last.what
    assert todo in last.todo


# --- a job from the queue to its end ----------------------------------------------------------------------------------


def test_a_job_runs_in_a_process_of_its_own_and_its_log_is_followed(make_jobs: MakeJobs) -> None:
    store, jobs = make_jobs()
    run = submit(jobs, steps=2)
    start = step(run, "start")["values"]
    assert start["pid"] != os.getpid()
    assert os.getsid(start["pid"]) == start["pid"]  # detached: a closed terminal is none of its business
    assert start["arguments"] == [run.id, "--module", MODULE, "--device", "cpu"]
    assert (start["visitor"], start["owner"]) == ("", owner_of("anna"))
    assert start["entries"] == []
    assert jobs.position(run.id) == 0
    assert not (run.folder / QUEUED).exists()
    with pytest.raises(Busy, match="Stop"):
        store.delete(run.id, "anna")
    allow(run.folder, 2)
    records = ended(run)
    assert [r["kind"] for r in records] == ["step"] * 4 + ["done"]
    assert queue_positions(run) == [0]
    assert records[-1]["result"] == {"steps": 2}
    assert store.describe(run.id).status == "finished"
    until(lambda: jobs.snapshot() == ())
    assert jobs.position(run.id) is None
    assert not jobs.stop(run.id)
    store.delete(run.id, "anna")


def test_those_who_wait_are_told_their_place(make_jobs: MakeJobs) -> None:
    store, jobs = make_jobs()
    first = submit(jobs, steps=1)
    step(first, "start")
    second, third = submit(jobs, "bert", free=True), submit(jobs, "cora", steps=1)
    step(third, "queue", 2)
    assert [jobs.position(run.id) for run in (first, second, third)] == [0, 1, 2]
    assert [(going.lab, going.position, going.device) for going in jobs.snapshot()] == [
        ("fake", 0, "cpu"),
        ("fake", 1, ""),
        ("fake", 2, ""),
    ]
    assert jobs.waiting() == 2
    assert store.describe(third.id).status == "running"
    assert store.prune() == 0
    with pytest.raises(Busy, match="Stop"):
        store.delete(second.id, "bert")
    assert not any(r["kind"] == "step" and r["name"] == "start" for r in second.read())  # one at a time
    allow(first.folder, 1)
    ended(first)
    ended(second)
    step(third, "start")
    assert (queue_positions(second), queue_positions(third)) == ([1, 0], [2, 1, 0])
    jobs.stop(third.id)
    assert ended(third)[-1]["reason"] == "stopped"


def test_two_devices_have_a_job_each(make_jobs: MakeJobs) -> None:
    _, jobs = make_jobs(("cuda:1", "cuda:0"))
    runs = [submit(jobs, steps=1) for _ in range(2)]
    given = [step(run, "start")["values"]["arguments"][-1] for run in runs]
    assert given == ["cuda:1", "cuda:0"]
    waits = submit(jobs, steps=1)
    step(waits, "queue", 1)
    for run in (*runs, waits):
        jobs.stop(run.id)
        ended(run)


def test_stop_ends_a_job_that_runs_soon_and_one_that_waits_at_once(make_jobs: MakeJobs) -> None:
    _, jobs = make_jobs()
    going, waits = submit(jobs), submit(jobs, "bert")
    step(going, "start")
    assert jobs.stop(waits.id)
    assert waits.finished
    assert waits.read()[-1]["reason"] == "stopped"
    assert jobs.position(waits.id) is None
    begin = time.monotonic()
    assert jobs.stop(going.id)
    assert ended(going)[-1]["reason"] == "stopped"
    assert time.monotonic() - begin < PATIENCE / 2
    assert not jobs.stop(going.id)
    assert not jobs.stop("0" * 16)
    assert not jobs.stop("../secret")


def test_limits_are_refused_with_a_sentence_and_leave_nothing(make_jobs: MakeJobs) -> None:
    store, jobs = make_jobs(("cpu",), jobs_per_visitor=1, jobs_in_all=2)
    mine = submit(jobs)
    with pytest.raises(Busy, match="You have 1 jobs"):
        submit(jobs)
    other = submit(jobs, "bert")
    with pytest.raises(Busy, match="this machine"):
        submit(jobs, "cora")
    assert (len(store.list("anna")), store.list("cora")) == (1, [])
    for run in (other, mine):
        jobs.stop(run.id)
        ended(run)
    until(lambda: jobs.snapshot() == ())
    again = submit(jobs)
    jobs.stop(again.id)
    ended(again)


def test_two_visitors_at_once_do_not_mix(make_jobs: MakeJobs) -> None:
    store, jobs = make_jobs(("cuda:0", "cuda:1"))
    runs = {visitor: submit(jobs, visitor, steps=30, free=True) for visitor in ("anna", "bert")}
    for visitor, run in runs.items():
        records = [r for r in ended(run) if r["kind"] == "step" and r["name"] == "train"]
        assert {r["values"]["run"] for r in records} == {run.id}
        assert [r["index"] for r in records] == list(range(1, 31))
        assert step(run, "start")["values"]["owner"] == owner_of(visitor)
        assert [meta.id for meta in store.list(visitor)] == [run.id]
    with pytest.raises(NotFound):
        store.open(runs["anna"].id, "bert")


def test_a_secret_goes_by_pipe_and_stands_in_no_file(make_jobs: MakeJobs, settings: Settings) -> None:
    _, jobs = make_jobs()
    run = submit(jobs, secret=SECRET, steps=1, fail="foreign")
    start = step(run, "start")["values"]
    assert start["secret"] == owner_of(SECRET)  # its SHA-256
    assert SECRET not in " ".join(psutil.Process(start["pid"]).cmdline())
    assert SECRET not in str(psutil.Process(start["pid"]).environ())
    allow(run.folder, 1)
    assert ended(run)[-1]["kind"] == "failed"
    assert "OSError: refused: [secret]" in (run.folder / "error.log").read_text()
    told = submit(jobs, secret=SECRET, free=True, fail="input")
    assert ended(told)[-1]["todo"] == "Look at them with [secret]."
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    assert run.folder / "worker.log" in files
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


# --- what dies and what comes back ------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_is_told_with_its_last_checkpoint(make_jobs: MakeJobs) -> None:
    _, jobs = make_jobs()
    run = submit(jobs, steps=10, save_every=2)
    pid = step(run, "start")["values"]["pid"]
    allow(run.folder, 5)
    step(run, "train", 5)
    kill(pid)
    last = ended(run)[-1]
    assert last["error"] == "WorkerDied"
    assert "after step 5" in last["what"]
    assert "from step 4" in last["todo"]
    assert "1 step is lost" in last["todo"]
    after = submit(jobs, free=True)
    assert ended(after)[-1]["kind"] == "done"  # the device is free again


APP = """
import sys, time
from pathlib import Path
from core.runtime.jobs import Jobs
from core.runtime.runs import RunStore
from core.settings import Settings
from tests.fakes_jobs import MODULE, FakeRequest

settings = Settings(home=Path(sys.argv[1]), offline=True)
store = RunStore(settings)
jobs = Jobs(settings, store, lambda: ("cpu",), lambda lab: MODULE)
for visitor, secret in (("anna", None), ("bert", sys.argv[2])):
    run = jobs.submit("fake", visitor, FakeRequest(steps=3).model_dump(), secret=secret)
    print(run.id, flush=True)
time.sleep(600)
"""


def test_killing_the_app_ends_no_job_and_the_next_app_finds_them_all(make_jobs: MakeJobs, settings: Settings) -> None:
    app = subprocess.Popen(
        [sys.executable, "-c", APP, str(settings.home), SECRET], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    with app:
        assert app.stdout is not None
        going_id, waiting_id = app.stdout.readline().strip(), app.stdout.readline().strip()
        store = RunStore(settings)
        going, waits = store.open(going_id, "anna"), store.open(waiting_id, "bert")
        pid = step(going, "start")["values"]["pid"]
        step(waits, "queue", 1)
        os.killpg(os.getpgid(app.pid), 0)  # it is there
        app.kill()
    store.close()
    assert psutil.pid_exists(pid)
    allow(going.folder, 1)
    step(going, "train", 1)  # nobody's app, and it goes on
    next_store, jobs = make_jobs()
    assert next_store.recover() == 0
    assert (jobs.position(going_id), jobs.position(waiting_id)) == (0, 1)
    jobs.watch()
    allow(going.folder, 3)
    assert ended(next_store.open(going_id, "anna"))[-1]["result"] == {"steps": 3}
    again = next_store.open(waiting_id, "bert")
    assert step(again, "start")["values"]["secret"] == ""
    assert any("without your Hub token" in r.get("text", "") for r in again.read())
    allow(again.folder, 3)
    assert ended(again)[-1]["kind"] == "done"


def test_only_the_app_that_has_the_secret_starts_the_job(make_jobs: MakeJobs) -> None:
    _, mine = make_jobs(())
    _, other = make_jobs()
    run = submit(mine, secret=SECRET)
    plain = submit(mine, "bert", free=True)  # comes later, and goes first
    other.watch()
    assert ended(plain)[-1]["kind"] == "done"
    until(lambda: mine.position(run.id) == other.position(run.id) == 1)
    assert not (run.folder / WORKER).exists()
    other.stop(run.id)
    assert ended(run)[-1]["reason"] == "stopped"


def test_a_worker_that_died_with_the_app_is_found_by_the_next(make_jobs: MakeJobs) -> None:
    store, jobs = make_jobs()
    run = submit(jobs, steps=9)
    pid = step(run, "start")["values"]["pid"]
    jobs.close()
    kill(pid)
    assert not run.finished
    assert store.recover() == 0  # not an interactive run
    assert store.prune() == 0
    _, later = make_jobs()
    later.watch()
    assert ended(run)[-1]["error"] == "WorkerDied"


def test_what_a_crash_left_between_two_steps_is_taken_in_or_ended(make_jobs: MakeJobs, settings: Settings) -> None:
    store, jobs = make_jobs()
    bare = store.create("fake", "anna", FakeRequest().model_dump(), kind="job")
    bare.close()
    queued = store.create("fake", "anna", FakeRequest(free=True).model_dump(), kind="job")
    (queued.folder / QUEUED).touch()
    queued.close()
    gone = settings.home / "jobs" / ("0" * 16)
    gone.write_text("not even JSON")
    jobs.watch()
    assert ended(bare)[-1]["error"] == "Internal"
    assert ended(queued)[-1]["kind"] == "done"
    until(lambda: not gone.exists())


def test_a_process_that_never_stops_is_ended(make_jobs: MakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    _, jobs = make_jobs()
    run = submit(jobs, deaf=True)
    step(run, "start")
    monkeypatch.setattr(module, "OVERDUE_SECONDS", 0.0)
    jobs.stop(run.id)
    last = ended(run)[-1]
    assert last["error"] == "WorkerDied"
    assert "did not stop" in last["what"]


def test_a_process_that_cannot_be_started_ends_the_job(make_jobs: MakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    _, jobs = make_jobs()

    def refuse(*_: object) -> Worker:
        raise OSError(11, "no more processes")

    with monkeypatch.context() as patch:
        patch.setattr(module, "start", refuse)
        run = submit(jobs)
        assert "could not be started" in ended(run)[-1]["what"]
    assert ended(submit(jobs, free=True))[-1]["kind"] == "done"


def test_a_job_whose_run_was_deleted_is_forgotten(make_jobs: MakeJobs) -> None:
    store, jobs = make_jobs(())
    run = submit(jobs)
    (run.folder / "run.json").unlink()
    until(lambda: jobs.position(run.id) is None and jobs.snapshot() == ())
    assert store.list("anna") == []


def test_closing_leaves_the_jobs_and_takes_no_more(make_jobs: MakeJobs, settings: Settings) -> None:
    _, jobs = make_jobs(())
    run = submit(jobs)
    jobs.close()
    with pytest.raises(Busy, match="closing"):
        submit(jobs)
    assert jobs.position(run.id) == 1
    holder = Holder.model_validate_json((settings.home / "jobs" / run.id).read_bytes())
    assert holder.pid == os.getpid()
    assert not (run.folder / STOP).exists()
