import gc
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import Busy, NotFound
from core.events import Done, Failed, Progress, Step
from core.runtime.run_log import EVENTS, META, RunLog
from core.runtime.run_writer import LogClosed, RunWriter
from core.runtime.runs import Parent, RunStore, follow
from core.settings import Settings
from tests.fakes import PATIENCE, FakeClock, token

MakeStore = Callable[..., RunStore]
DAY = 86_400.0


@pytest.fixture
def make_store(settings: Settings) -> Iterator[MakeStore]:
    """Stores over one home, as processes one after the other would have them; closed at the end."""
    made: list[RunStore] = []

    def make(now: FakeClock | None = None, **changes: Any) -> RunStore:
        changed = settings.model_copy(update=changes)
        made.append(RunStore(changed, now) if now else RunStore(changed))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> RunStore:
    return make_store()


def events_file(settings: Settings, run: RunLog) -> Path:
    return settings.home / "runs" / run.id / EVENTS


def crash(writer: RunWriter) -> None:
    """Leave the run as a process that dies does: what was flushed is there, the lock is free, no end."""
    writer.close()


# --- the log ----------------------------------------------------------------------------------------------------------


def test_records_are_numbered_timed_and_kept(store: RunStore) -> None:
    run = store.create("decoding", "anna", {"prompt": "Once"})
    assert [run.append(token(0)), run.append(token(1)), run.append(Done(result={"text": "x"}))] == [0, 1, 2]
    records = run.read()
    assert [record["seq"] for record in records] == [0, 1, 2]
    assert [record["kind"] for record in records] == ["token", "token", "done"]
    assert records[0]["top"] == [candidate.model_dump() for candidate in token(0).top]
    times = [record["at"] for record in records]
    assert times == sorted(times)
    assert 0 <= times[0] < PATIENCE


@pytest.mark.parametrize("live", [True, False])
def test_reading_goes_on_from_any_record(live: bool, store: RunStore) -> None:
    run = store.create("decoding", "anna", {})
    for index in range(5):
        run.append(token(index))
    log: RunLog = run
    if not live:
        run.append(Done())
        log = RunLog(run.folder, run.meta)
    for after in range(-1, 5):
        assert [record["seq"] for record in log.read(after)][: 4 - after] == list(range(after + 1, 5))
    assert [record["seq"] for record in log.read(-9, limit=2)] == [0, 1]
    assert [record["seq"] for record in log.read(1, limit=2)] == [2, 3]
    assert log.read(99) == []


def test_a_record_is_parsed_once_for_all(store: RunStore) -> None:
    run = store.create("decoding", "anna", {})
    run.append(token(0))
    assert run.read()[0] is run.read()[0] is store.open(run.id, "anna").read()[0]
    run.append(Done())
    one, other = store.open(run.id, "anna"), store.open(run.id, "anna")
    assert one.read()[0] is other.read()[0]


def test_followers_of_an_old_run_share_its_records(make_store: MakeStore) -> None:
    run = make_store().create("decoding", "anna", {})
    run.append(token(0))
    run.append(Done())
    later = make_store()
    first, second = later.open(run.id, "anna"), later.open(run.id, "anna")
    assert first.read()[0] is second.read()[0]
    del first, second
    gc.collect()
    assert not later._logs  # nobody reads it any more: the memory is free


def test_many_write_while_many_read(store: RunStore) -> None:
    run = store.create("decoding", "anna", {})
    start = threading.Barrier(7)

    def write(column: int) -> list[int]:
        start.wait(PATIENCE)
        return [run.append(token(index, column=column, candidates=1)) for index in range(150)]

    def read() -> list[dict[str, Any]]:
        start.wait(PATIENCE)
        return list(follow(run))

    with ThreadPoolExecutor(7) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        writers = [threads.submit(write, column) for column in range(4)]
        sequences = [writer.result(PATIENCE) for writer in writers]
        run.append(Done())
        seen = [reader.result(PATIENCE) for reader in readers]
    assert sorted(seq for numbers in sequences for seq in numbers) == list(range(600))
    for records in seen:
        assert [record["seq"] for record in records] == list(range(601))
        for column in range(4):
            assert [r["index"] for r in records if r.get("column") == column] == list(range(150))
    on_disk = [json.loads(line) for line in (run.folder / EVENTS).read_bytes().splitlines()]
    assert on_disk == run.read()


def test_follow_starts_anywhere_and_ends_with_the_run(store: RunStore) -> None:
    run = store.create("decoding", "anna", {})
    for index in range(3):
        run.append(token(index))
    reader = follow(run, after=0)
    assert [next(reader)["seq"], next(reader)["seq"]] == [1, 2]
    with ThreadPoolExecutor(1) as thread:
        rest = thread.submit(list, reader)
        run.append(token(3))
        run.append(Done())
        assert [record["seq"] for record in rest.result(PATIENCE)] == [3, 4]
    assert list(follow(run, after=4)) == list(follow(run, after=40)) == []


def test_wait_wakes_for_a_record_and_for_the_end(store: RunStore) -> None:
    run = store.create("decoding", "anna", {})
    assert not run.wait(-1, timeout=0)
    assert not run.wait_finished(timeout=0)
    with ThreadPoolExecutor(2) as threads:
        news, end = threads.submit(run.wait, -1, PATIENCE), threads.submit(run.wait_finished, PATIENCE)
        run.append(token(0))
        assert news.result(PATIENCE)
        run.append(Done())
        assert end.result(PATIENCE)
    assert run.wait(10, timeout=0)  # over: nothing more will come


@pytest.mark.parametrize(
    ("last", "status"),
    [(Done(), "finished"), (Done(reason="stopped"), "stopped"), (Failed(error="Busy", what="Full."), "failed")],
)
def test_the_last_event_decides_the_status(last: Done | Failed, status: str, make_store: MakeStore) -> None:
    store = make_store()
    run = store.create("decoding", "anna", {})
    run.append(token(0))
    assert (run.meta.status, run.finished, run.last) == ("running", False, None)
    run.append(last)
    assert (run.meta.status, run.finished) == (status, True)
    assert run.last is not None
    assert run.last["kind"] == last.kind
    later = make_store()
    again = later.open(run.id, "anna")
    assert again.last == run.last
    assert again.meta == run.meta
    assert again.meta.bytes == (run.folder / EVENTS).stat().st_size
    assert [meta.status for meta in later.list("anna")] == [status]
    with pytest.raises(LogClosed):
        run.append(token(1))
    with pytest.raises(LogClosed):
        run.append(Done())


def test_text_of_any_kind_survives(make_store: MakeStore) -> None:
    text = 'äöü \n\r\u2028\u0085 </script> ${x} \\u12 "quoted" \x00 🙂'
    run = make_store().create("decoding", "anna", {"prompt": text}, title="line\none  two\t" + "x" * 300)
    run.append(Step(name=text, index=0, values={text: [text, 1.5, None, True]}))
    run.append(Done(result={"text": text}))
    again = make_store().open(run.id, "anna")
    assert again.read() == run.read()
    assert again.read()[0]["values"] == {text: [text, 1.5, None, True]}
    assert again.meta.request == {"prompt": text}
    assert again.meta.title.startswith("line one two x")
    assert len(again.meta.title) == 120


def test_lines_reach_the_file_without_the_end_of_the_run(store: RunStore, settings: Settings) -> None:
    run = store.create("decoding", "anna", {})
    run.append(token(0))
    reader = RunLog(run.folder, run.meta)  # as another process sees it
    assert reader.wait(-1, PATIENCE)
    assert reader.read() == run.read()
    assert not reader.finished


def test_a_log_has_its_limit_and_the_end_still_fits(make_store: MakeStore) -> None:
    run = make_store(run_log_bytes=2000).create("decoding", "anna", {})
    fits = 2000 // len(token(0).model_dump_json()) - 1
    for index in range(fits):
        run.append(token(index))
    with pytest.raises(Busy, match="limit"):
        run.append(Step(name="x" * 2000, index=0, values={}))
    assert run.meta.bytes <= 2000
    assert len(run.read()) == fits > 0
    run.append(Failed(error="Busy", what="x" * 3000))
    assert run.meta.status == "failed"


def test_an_event_that_is_not_json_leaves_the_log_whole(store: RunStore) -> None:
    run = store.create("decoding", "anna", {})
    with pytest.raises(ValueError, match="serializ"):
        run.append(Step(name="x", index=0, values={"half": "\ud800"}))
    assert run.append(Done()) == 0


class FullDisk:
    """A file that takes so many bytes and no more until ``room`` is raised."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self.room = file, room

    def write(self, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(28, "No space left on device")
        written = int(self._file.write(data[: self.room]))
        self.room -= written
        return written

    def close(self) -> None:
        self._file.close()


def test_a_full_disk_fails_the_run_and_loses_nothing_that_fits_later(store: RunStore) -> None:
    run = store.create("decoding", "anna", {})
    disk = FullDisk(run._file, room=50)
    run._file = disk  # type: ignore[assignment]
    run.append(token(0))
    with pytest.raises(OSError, match="No space"):
        run.flush()
    with pytest.raises(OSError, match="No space"):
        run.append(token(1))
    run.append(Failed(error="Busy", what="The disk is full."))
    assert [record["kind"] for record in run.read()] == ["token", "failed"]
    assert run.live
    disk.room = 10**6
    run.flush()
    assert not run.live
    assert RunLog(run.folder, run.meta).read() == run.read()


def test_a_run_that_cannot_be_described_leaves_nothing(
    store: RunStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(OSError, match="No space"):
            store.create("decoding", "anna", {})
    assert list((settings.home / "runs").iterdir()) == []
    assert store.list("anna") == []


def test_a_secret_reaches_no_file(make_store: MakeStore, settings: Settings) -> None:
    secret = 'hf_"verySecret\\Token'
    run = make_store().create("decoding", "anna", {"oops": secret}, title=f"t {secret}", secret=secret)
    run.append(Step(name="x", index=0, values={"header": f"Bearer {secret}"}))
    run.append(Done(result={"again": secret}))
    assert make_store().open(run.id, "anna").read()[0]["values"] == {"header": "Bearer [secret]"}
    for path in settings.home.rglob("*"):
        assert not path.is_file() or b"verySecret" not in path.read_bytes()


def test_the_visitors_token_reaches_no_file(store: RunStore, settings: Settings) -> None:
    run = store.create("decoding", "annas-token", {})
    shared = store.share(run.id, "annas-token").split(".")[1]
    run.append(Done())
    for path in settings.home.rglob("*"):
        assert not path.is_file() or not {b"annas-token", shared.encode()} & set(path.read_bytes().split(b'"'))
        assert not path.is_file() or shared.encode() not in path.read_bytes()


# --- crashes and restarts ---------------------------------------------------------------------------------------------


def test_everything_survives_a_restart(make_store: MakeStore) -> None:
    before = make_store()
    parent = Parent(run="0" * 16, column=1, index=4, token=" was")
    run = before.create("decoding", "anna", {"prompt": "Once", "top_p": 0.9}, parent, title="Once")
    run.append(token(0))
    run.append(Done())
    link = before.share(run.id, "anna")
    before.close()
    after = make_store()
    assert after.open(run.id, "anna").read() == run.read()
    assert after.open_shared(link).meta == after.open(run.id, "anna").meta == after.list("anna")[0] == run.meta
    assert after.list("anna")[0].parent == parent


TORN = [b'{"seq":2,"at":0.1', b"\0" * 40, b"\0" * 20 + b"\n", b'{"seq":2,"at":0.1,"kind":"token"}', b"}\n", b"[]\n"]


@pytest.mark.parametrize("tail", TORN)
def test_a_torn_end_is_as_if_never_written(tail: bytes, make_store: MakeStore, settings: Settings) -> None:
    run = make_store().create("decoding", "anna", {}, kind="job")
    run.append(token(0))
    run.append(token(1))
    crash(run)
    path = events_file(settings, run)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    store = make_store()
    reader = store.open(run.id, "anna")
    assert [record["seq"] for record in reader.read()] == [0, 1]
    assert not reader.finished
    assert store.list("anna")[0].status == "running"
    resumed = store.resume(run.id)
    assert path.read_bytes() == whole
    assert resumed.append(token(2)) == 2
    assert resumed.append(Done()) == 3
    assert [record["seq"] for record in reader.read()] == [0, 1, 2, 3]
    assert reader.finished
    times = [record["at"] for record in reader.read()]
    assert times == sorted(times)


def test_a_line_that_is_still_being_written_appears_when_it_is_whole(store: RunStore, settings: Settings) -> None:
    run = store.create("decoding", "anna", {}, kind="job")
    crash(run)
    reader = store.open(run.id, "anna")
    with events_file(settings, run).open("ab", buffering=0) as file:
        file.write(b'{"seq":0,"at":0.1,"kind":"pro')
        assert reader.read() == []
        file.write(b'gress","done":1}\n{"seq":1')
        assert [record["seq"] for record in reader.read()] == [0]
        file.write(b',"at":0.2,"kind":"done","reason":"stopped","result":{}}\n')
    assert [record["seq"] for record in reader.read(0)] == [1]
    assert reader.meta.status == "stopped"


def test_recover_ends_what_a_dead_process_left(make_store: MakeStore) -> None:
    before = make_store()
    left = before.create("decoding", "anna", {})
    left.append(token(0))
    job = before.create("training", "anna", {}, kind="job")
    over = before.create("decoding", "anna", {})
    over.append(Done())
    empty = before.create("decoding", "anna", {})
    for run in (left, job, empty):
        crash(run)
    after = make_store()
    assert after.recover() == 2
    assert after.recover() == 0
    last = after.open(left.id, "anna").last
    assert last is not None
    assert (last["seq"], last["kind"], last["error"]) == (1, "failed", "Internal")
    assert "closed" in last["what"]
    status = {meta.id: meta.status for meta in after.list("anna")}
    assert status == {left.id: "failed", empty.id: "failed", job.id: "running", over.id: "finished"}


def test_recover_leaves_what_is_being_written(make_store: MakeStore) -> None:
    here, elsewhere = make_store(), make_store()
    run = here.create("decoding", "anna", {})
    assert here.recover() == elsewhere.recover() == 0
    assert run.append(token(0)) == 0
    with pytest.raises(Busy):
        elsewhere.resume(run.id)


def test_a_killed_process_leaves_whole_records_and_no_lock(make_store: MakeStore, settings: Settings) -> None:
    script = """
import os, sys
from pathlib import Path
from core.events import Progress
from core.runtime.runs import RunStore
from core.settings import Settings
store = RunStore(Settings(home=Path(sys.argv[1])))
run = store.create("decoding", "anna", {})
for done in range(3):
    run.append(Progress(done=done))
run.flush()
print(run.id, flush=True)
os._exit(9)
"""
    root = Path(__file__).parent.parent.parent
    ended = subprocess.run(
        [sys.executable, "-c", script, str(settings.home)], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 9, ended.stderr
    store = make_store()
    run_id = ended.stdout.strip()
    assert [record["done"] for record in store.open(run_id, "anna").read()] == [0, 1, 2]
    assert store.recover() == 1


def test_a_worker_goes_on_with_a_run_that_the_app_made(make_store: MakeStore) -> None:
    app, worker = make_store(), make_store()
    made = app.create("training", "anna", {}, kind="job")
    made.append(Progress(done=0))
    made.close()
    log = app.open(made.id, "anna")
    writer = worker.resume(made.id)
    writer.append(Progress(done=1))
    assert log.wait(0, PATIENCE)
    assert [record["done"] for record in log.read()] == [0, 1]
    assert made.read() == log.read()
    with ThreadPoolExecutor(1) as thread:
        all_of_it = thread.submit(lambda: list(follow(log)))
        writer.append(Done())
        assert [record["kind"] for record in all_of_it.result(PATIENCE)] == ["progress", "progress", "done"]
    with pytest.raises(LogClosed):
        made.append(Progress(done=2))
    with pytest.raises(LogClosed):
        worker.resume(made.id).append(Progress(done=2))


def test_closing_the_store_writes_what_is_pending_and_ends_its_thread(make_store: MakeStore) -> None:
    store = make_store()
    run = store.create("decoding", "anna", {})
    run.append(token(0))
    store.close()
    assert len((run.folder / EVENTS).read_bytes().splitlines()) == 1
    assert not any(thread.name == "run-log-flusher" for thread in threading.enumerate())
    with pytest.raises(LogClosed):
        run.append(token(1))
    with pytest.raises(Busy):
        store.create("decoding", "anna", {})


# --- whose run it is --------------------------------------------------------------------------------------------------

BAD_IDS = [
    "",
    ".",
    "..",
    "../runs",
    "0" * 16,
    "0" * 15,
    "A" * 16,
    "é" * 16,
    "\0",
    "\ud800",
    "/etc",
    "C:\\x",
    "x" * 10_000,
]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_no_id_opens_what_is_not_yours_and_the_words_are_the_same(bad: str, store: RunStore) -> None:
    run = store.create("decoding", "anna", {})
    tries: list[Callable[[str, str], object]] = [store.open, store.share, store.delete]
    for attempt in tries:
        with pytest.raises(NotFound) as missing:
            attempt(bad, "bert")
        for visitor in ("bert", "", "ann", "anna ", "\ud800", run.meta.owner):
            with pytest.raises(NotFound) as foreign:
                attempt(run.id, visitor)
            assert str(foreign.value) == str(missing.value)
    assert store.open(run.id, "anna").id == run.id


def test_a_run_without_an_owner_is_nobodys(store: RunStore) -> None:
    run = store.create("decoding", "", {})
    with pytest.raises(NotFound):
        store.open(run.id, "")


def test_a_share_link_opens_one_run_to_read(store: RunStore) -> None:
    run, other = store.create("decoding", "anna", {}), store.create("decoding", "anna", {})
    run.append(token(0))
    assert not run.meta.shared
    link = store.share(run.id, "anna")
    again = store.share(run.id, "anna")
    assert link != again
    assert run.meta.shared
    assert not other.meta.shared
    for each in (link, again):
        assert store.open_shared(each).read() == run.read()
    for visitor in (link, link.split(".")[1]):  # it makes nobody the owner
        with pytest.raises(NotFound):
            store.open(run.id, visitor)
        with pytest.raises(NotFound):
            store.delete(run.id, visitor)
    secret = link.split(".")[1]
    assert len(secret) >= 22
    swapped = f"{other.id}.{secret}"
    for wrong in (
        run.id,
        f"{run.id}.",
        f"{run.id}.{run.id}",
        swapped,
        link + "x",
        link[:-1],
        "",
        ".",
        "\ud800.x",
        "a.b.c",
    ):
        with pytest.raises(NotFound, match="link"):
            store.open_shared(wrong)


def test_an_opened_run_cannot_be_written(make_store: MakeStore) -> None:
    store = make_store()
    run = store.create("decoding", "anna", {})
    run.append(Done())
    link = store.share(run.id, "anna")
    later = make_store()
    for log in (later.open(run.id, "anna"), later.open_shared(link), later.read_only(run.id)):
        assert not isinstance(log, RunWriter)
        assert not hasattr(log, "append")


def test_the_list_holds_ones_own_newest_first(make_store: MakeStore) -> None:
    clock = FakeClock()
    store = make_store(clock)
    made = []
    for lab, visitor in [("decoding", "anna"), ("rag", "anna"), ("decoding", "bert"), ("decoding", "anna")]:
        made.append(store.create(lab, visitor, {}, title=f"{lab} of {visitor}"))
        clock.advance(1)
    made[0].append(Done())
    assert [meta.id for meta in store.list("anna")] == [made[3].id, made[1].id, made[0].id]
    assert [meta.id for meta in store.list("anna", "decoding")] == [made[3].id, made[0].id]
    assert [meta.status for meta in store.list("anna", "decoding")] == ["running", "finished"]
    assert [meta.bytes for meta in store.list("anna")] == [0, 0, made[0].meta.bytes]
    assert [meta.title for meta in store.list("bert")] == ["decoding of bert"]
    assert store.list("carl") == store.list("") == []


def test_a_damaged_run_hides_only_itself(make_store: MakeStore, settings: Settings) -> None:
    run, broken = (make_store().create("decoding", "anna", {}) for _ in range(2))
    (broken.folder / META).write_text("{", encoding="utf-8")
    (settings.home / "runs" / "notes.txt").write_text("not a run", encoding="utf-8")
    (settings.home / "runs" / ("f" * 16)).mkdir()
    store = make_store()
    assert [meta.id for meta in store.list("anna")] == [run.id]
    with pytest.raises(NotFound):
        store.open(broken.id, "anna")


def test_branches_are_a_tree_of_ones_own(make_store: MakeStore) -> None:
    clock = FakeClock()
    store = make_store(clock)

    def branch(of: RunLog | None, visitor: str = "anna") -> RunLog:
        clock.advance(1)
        parent = Parent(run=of.id, column=0, index=3, token=" a") if of else None
        return store.create("decoding", visitor, {}, parent)

    root, stranger = branch(None), branch(None, "bert")
    left, right = branch(root), branch(root)
    leaf = branch(left)
    theirs, more = branch(root, "bert"), branch(root, "bert")  # of a shared run
    unrelated = branch(None)
    tree = [root.id, left.id, right.id, leaf.id]
    for member in (root, left, right, leaf, leaf.meta):
        assert [meta.id for meta in store.family(member)] == tree
    assert [meta.id for meta in store.family(theirs)] == [theirs.id, more.id]
    assert [meta.id for meta in store.family(unrelated)] == [unrelated.id]
    assert [meta.id for meta in make_store(clock).family(stranger)] == [stranger.id]
    root.append(Done())  # type: ignore[attr-defined]
    store.delete(root.id, "anna")
    for member in (left, leaf, root):
        assert [meta.id for meta in store.family(member)] == [left.id, right.id, leaf.id]


# --- how long it is kept ----------------------------------------------------------------------------------------------


def test_deleting_is_for_what_is_over(make_store: MakeStore) -> None:
    store, elsewhere = make_store(), make_store()
    run = store.create("decoding", "anna", {})
    for each in (store, elsewhere):
        with pytest.raises(Busy, match="Stop"):
            each.delete(run.id, "anna")
    run.append(Done())
    link = store.share(run.id, "anna")
    reader, unread = elsewhere.open(run.id, "anna"), RunLog(run.folder, run.meta)
    assert reader.finished
    elsewhere.delete(run.id, "anna")
    assert not run.folder.exists()
    assert reader.read()[0]["kind"] == "done"  # what was read stays readable
    with pytest.raises(NotFound):
        unread.read()
    for each in (store, elsewhere):
        assert each.list("anna") == []
        with pytest.raises(NotFound):
            each.open(run.id, "anna")
        with pytest.raises(NotFound):
            each.open_shared(link)


def age(run: RunLog, days: float, now: FakeClock) -> None:
    moment = now() - days * DAY
    os.utime(run.folder / EVENTS, (moment, moment))


def test_old_runs_go_and_live_ones_stay(make_store: MakeStore) -> None:
    clock = FakeClock()
    store = make_store(clock, run_days=3.0)
    old, young, live, job = (
        store.create("decoding", "anna", {}, kind=kind) for kind in ("interactive",) * 3 + ("job",)
    )
    for run in (old, young):
        run.append(Done())
    age(old, 3.1, clock)
    age(young, 2.9, clock)
    age(live, 9, clock)
    age(job, 9, clock)
    assert store.prune() == 1
    assert {meta.id for meta in store.list("anna")} == {young.id, live.id, job.id}
    assert make_store(clock, run_days=3.0).prune() == 0  # another process keeps its hands off them too
    crash(job)
    assert store.prune() == 1
    assert store.prune() == 0


def test_the_oldest_go_when_the_bytes_are_too_many(make_store: MakeStore) -> None:
    clock = FakeClock()
    store = make_store(clock, run_bytes=10_000)
    made = [store.create("decoding", "anna", {}) for _ in range(5)]
    for number, run in enumerate(made):
        (run.folder / "adapter.bin").write_bytes(b"x" * 3_000)
        if number != 1:
            run.append(Done())
        run.flush()
        age(run, 5 - number, clock)
    assert store.prune() == 2
    assert {meta.id for meta in store.list("anna")} == {made[1].id, made[3].id, made[4].id}
    assert store.prune() == 0


def test_what_a_crash_left_of_a_run_goes_after_a_while(make_store: MakeStore, settings: Settings) -> None:
    clock = FakeClock()
    store = make_store(clock)
    half = settings.home / "runs" / ("0" * 16)
    half.mkdir()
    made = half.stat().st_mtime
    clock.advance(made - clock() + 60)
    assert store.prune() == 0
    clock.advance(2 * 3600)
    assert store.prune() == 1
    assert not half.exists()


def test_a_file_in_use_does_not_bring_the_run_back(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create("decoding", "anna", {})
    run.append(Done())

    def refuse(path: Path) -> None:
        raise PermissionError(13, "in use", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    store.delete(run.id, "anna")
    assert store.list("anna") == []
    with pytest.raises(NotFound):
        store.open(run.id, "anna")
