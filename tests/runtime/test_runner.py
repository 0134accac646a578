import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from core.errors import BadInput, Busy, Internal, LabError, NotFound, OutOfMemory, Stopped
from core.events import Done, Event, Failed, Progress, Step
from core.labs.base import Request
from core.runtime import runner as module
from core.runtime.run_log import RunLog
from core.runtime.runner import RunContext, Runner
from core.runtime.runs import Parent, RunStore, follow
from core.settings import Settings
from tests.fakes import PATIENCE, DirectedBody, FakeClock, by_hand, says, says_then_raises, token

GRACE = 10.0
SECRET = "hf_averysecrettoken"


class Bench:
    """A runner with a fake clock whose watch looks only when the test says ``sweep``."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.clock = FakeClock()
        self.store = RunStore(settings)
        self.runner = Runner(self.store, settings, self.clock, **options)

    def start(self, body: Any, visitor: str = "anna", **options: Any) -> RunLog:
        return self.runner.start("decoding", visitor, {"prompt": "Once"}, body, **options)

    def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.runner.sweep()


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBench]:
    monkeypatch.setattr(module, "WATCH_SECONDS", 3600.0)
    made: list[Bench] = []

    def make(translate: Any = None, **changes: Any) -> Bench:
        options = {"translate": translate} if translate else {}
        changed = settings.model_copy(update={"follower_grace": GRACE, **changes})
        made.append(Bench(changed, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.runner.close()
        bench.store.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


def ended(run: RunLog) -> list[dict[str, Any]]:
    """All records of the run, when it is over; there is one last event, and it is the last record."""
    assert run.wait_finished(PATIENCE)
    records = run.read()
    assert [record["kind"] in ("done", "failed") for record in records] == [False] * (len(records) - 1) + [True]
    return records


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_run_says_what_its_body_yields(bench: Bench) -> None:
    parent = Parent(run="0" * 16, column=0, index=1, token=" a")
    run = bench.start(says(token(0), token(1), Done(result={"text": "x"})), title="Once", parent=parent)
    records = ended(run)
    assert [record["kind"] for record in records] == ["token", "token", "done"]
    assert records[-1]["result"] == {"text": "x"}
    meta = bench.store.open(run.id, "anna").meta
    assert (meta.lab, meta.title, meta.parent, meta.request) == ("decoding", "Once", parent, {"prompt": "Once"})
    assert (meta.kind, meta.status) == ("interactive", "finished")


def test_a_body_that_says_nothing_is_done(bench: Bench) -> None:
    assert [record["reason"] for record in ended(bench.start(says()))] == ["finished"]


def test_nothing_follows_the_last_event(bench: Bench) -> None:
    left = threading.Event()

    def body(context: RunContext) -> Iterator[Event]:
        try:
            yield Done()
            yield token(0)
            yield Done()
        finally:
            left.set()

    assert len(ended(bench.start(body))) == 1
    assert left.wait(PATIENCE)


def test_a_lab_error_is_told_as_it_is(bench: Bench) -> None:
    run = bench.start(says_then_raises([token(0)], BadInput("The prompt is empty.", "Type something.")))
    last = ended(run)[-1]
    assert (last["error"], last["what"], last["todo"]) == ("BadInput", "The prompt is empty.", "Type something.")
    assert run.meta.status == "failed"
    assert not (run.folder / "error.log").exists()


def test_stopped_is_no_failure(bench: Bench) -> None:
    run = bench.start(says_then_raises([token(0)], Stopped("Stopped.")))
    assert ended(run)[-1]["reason"] == "stopped"
    assert run.meta.status == "stopped"


@pytest.mark.parametrize("error", [ValueError("secret cause"), MemoryError(), SystemExit(3), KeyboardInterrupt()])
def test_any_other_error_is_translated_and_its_cause_kept(error: BaseException, make_bench: MakeBench) -> None:
    def translate(foreign: BaseException) -> LabError:
        assert foreign is error
        return OutOfMemory("The device ran out of memory.", "Ask for less.")

    run = make_bench(translate).start(says_then_raises([token(0)], error))
    last = ended(run)[-1]
    assert (last["error"], last["what"]) == ("OutOfMemory", "The device ran out of memory.")
    log = (run.folder / "error.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert type(error).__name__ in log


def test_without_a_translation_it_is_our_fault(bench: Bench) -> None:
    last = ended(bench.start(says_then_raises([], ZeroDivisionError("division by zero"))))[-1]
    assert last["error"] == "Internal"
    assert "division" not in last["what"] + last["todo"]


def test_a_broken_translation_still_ends_the_run(make_bench: MakeBench) -> None:
    def translate(error: BaseException) -> LabError:
        raise TypeError("oops")

    run = make_bench(translate).start(says_then_raises([], ZeroDivisionError()))
    assert ended(run)[-1]["error"] == "Internal"
    assert "ZeroDivisionError" in (run.folder / "error.log").read_text(encoding="utf-8")


def test_the_cause_of_a_lab_error_is_kept(bench: Bench) -> None:
    def body(context: RunContext) -> Iterator[Event]:
        yield token(0)
        try:
            raise OSError("bytes 5 to 9 are bad")
        except OSError as error:
            raise Internal("The file is damaged.") from error

    run = bench.start(body)
    assert ended(run)[-1]["what"] == "The file is damaged."
    assert "bytes 5 to 9" in (run.folder / "error.log").read_text(encoding="utf-8")


def test_a_body_that_fails_before_its_first_event(bench: Bench) -> None:
    def body(context: RunContext) -> Iterator[Event]:
        raise BadInput("No such strategy.")

    assert ended(bench.start(body))[-1]["what"] == "No such strategy."


def test_a_body_that_fails_after_its_last_event(bench: Bench) -> None:
    def body(context: RunContext) -> Iterator[Event]:
        try:
            yield Done(result={"text": "x"})
        finally:
            raise ValueError("while letting go")

    run = bench.start(body)
    assert ended(run)[-1]["kind"] == "done"
    bench.runner.close()  # the thread is through
    assert "while letting go" in (run.folder / "error.log").read_text(encoding="utf-8")


def test_an_event_that_is_not_json_fails_the_run(bench: Bench) -> None:
    assert ended(bench.start(says(Step(name="x", index=0, values={"x": "\ud800"}))))[-1]["error"] == "Internal"


def test_an_error_with_unprintable_text_still_ends_the_run(bench: Bench) -> None:
    assert ended(bench.start(says_then_raises([], BadInput("No file \udcff.txt."))))[-1]["what"] == "No file ?.txt."


def test_a_log_that_is_full_fails_the_run(make_bench: MakeBench) -> None:
    run = make_bench(run_log_bytes=3000).start(says(*(token(index) for index in range(50))))
    last = ended(run)[-1]
    assert last["error"] == "Busy"
    assert "limit" in last["what"]


def test_a_secret_stays_in_the_context(bench: Bench) -> None:
    seen: list[str | None] = []

    def body(context: RunContext) -> Iterator[Event]:
        seen.append(context.secret)
        assert SECRET not in repr(context)
        yield Step(name="x", index=0, values={"url": f"https://{SECRET}@host"})
        raise OSError(f"refused: {SECRET}")

    def translate(error: BaseException) -> LabError:
        return Internal(f"It said {error}.")

    run = Bench.start(bench, body, secret=SECRET)
    assert ended(run)[-1]["error"] == "Internal"
    bench.runner._translate = translate
    told = bench.start(body, secret=SECRET)
    assert ended(told)[-1]["what"] == "It said refused: [secret]."
    assert seen == [SECRET, SECRET]
    for log in (run, told):
        for path in log.folder.iterdir():
            assert SECRET.encode() not in path.read_bytes()


# --- stop and by hand -------------------------------------------------------------------------------------------------


def test_stop_is_seen_at_the_next_check(bench: Bench) -> None:
    body = DirectedBody()
    run = bench.start(body)
    body.say(token(0))
    assert run.wait(-1, PATIENCE)
    assert bench.runner.stop(run.id)
    body.say(token(1))
    assert [record["kind"] for record in ended(run)] == ["token", "done"]
    assert run.meta.status == "stopped"
    assert body.closed.wait(PATIENCE)
    assert not bench.runner.stop(run.id)


def test_a_body_may_say_its_own_last_words_when_stopped(bench: Bench) -> None:
    go = threading.Event()

    def body(context: RunContext) -> Iterator[Event]:
        assert go.wait(PATIENCE)
        yield Done(reason="stopped" if context.cancelled() else "finished", result={"text": "so far"})

    run = bench.start(body)
    bench.runner.stop(run.id)
    go.set()
    assert ended(run)[-1]["result"] == {"text": "so far"}


def test_only_the_owner_stops_a_run(bench: Bench) -> None:
    body = DirectedBody()
    run = bench.start(body)
    for attempt in (bench.runner.stop, lambda run_id, visitor: bench.runner.advance(run_id, 1, visitor)):
        with pytest.raises(NotFound):
            attempt(run.id, "bert")
    with pytest.raises(NotFound):
        bench.runner.stop("0" * 16, "anna")
    assert not bench.runner.stop("0" * 16)
    body.say(Done())
    assert ended(run)[-1]["reason"] == "finished"


def tokens_of(run: RunLog) -> list[int]:
    return [record["index"] for record in run.read() if record["kind"] == "token"]


def test_by_hand_each_turn_is_asked_for(bench: Bench) -> None:
    run = bench.start(by_hand(20), by_hand=True)
    records = follow(run)
    assert not run.wait(-1, timeout=0)
    for index in range(3):
        assert bench.runner.advance(run.id, 1, "anna")
        assert next(records)["index"] == index
    bench.runner.advance(run.id, 4)
    assert [next(records)["index"] for _ in range(4)] == [3, 4, 5, 6]
    assert tokens_of(run) == list(range(7))
    bench.runner.advance(run.id, None)
    assert ended(run)[-1]["result"] == {"tokens": 20}
    assert tokens_of(run) == list(range(20))
    assert not bench.runner.advance(run.id, 1)


def test_stop_ends_the_wait_for_a_turn(bench: Bench) -> None:
    run = bench.start(by_hand(20), by_hand=True)
    bench.runner.advance(run.id, 1)
    assert run.wait(-1, PATIENCE)
    bench.runner.stop(run.id)
    assert [record["kind"] for record in ended(run)] == ["token", "done"]


class ByHandRequest(Request):
    by_hand: bool = False


@pytest.mark.parametrize(("asked", "waits"), [(True, True), (False, False)])
def test_the_requests_own_field_decides_when_nothing_else_does(asked: bool, waits: bool, bench: Bench) -> None:
    waited: list[bool] = []

    def body(context: RunContext) -> Iterator[Event]:
        waited.append(context.would_wait())
        context.wait_for_turn()
        yield token(0)

    run = bench.runner.start("decoding", "anna", ByHandRequest(by_hand=asked), body)
    assert run.meta.request == {"by_hand": asked}
    bench.runner.advance(run.id, 1)
    assert len(ended(run)) == 2
    free = bench.runner.start("decoding", "anna", ByHandRequest(by_hand=asked), by_hand(3), by_hand=False)
    assert len(ended(free)) == 4
    if not waits:
        assert waited == [False]


def test_a_context_counts_turns() -> None:
    context = RunContext("run", "anna", by_hand=True)
    assert context.would_wait()
    context.advance(2)
    context.advance(-5)
    assert not context.would_wait()
    context.wait_for_turn()
    context.wait_for_turn()
    assert context.would_wait()
    context.advance(None)
    for _ in range(10):
        context.wait_for_turn()
    context.advance(1)  # free already
    context.wait_for_turn()
    context.cancel()
    assert context.cancelled()
    for check in (context.check, context.wait_for_turn):
        with pytest.raises(Stopped):
            check()
    free = RunContext("run", "anna")
    assert not free.would_wait()
    free.wait_for_turn()


# --- followers --------------------------------------------------------------------------------------------------------


def is_cancelled(body: DirectedBody) -> bool:
    assert body.started.wait(PATIENCE)
    assert body.context is not None
    return body.context.cancelled()


def test_a_run_that_nobody_ever_followed_is_cancelled_after_the_grace(bench: Bench) -> None:
    body = DirectedBody()
    run = bench.start(body)
    bench.after(GRACE - 0.1)
    assert not is_cancelled(body)
    bench.after(0.2)
    assert is_cancelled(body)
    body.idle()
    records = ended(run)
    assert [record["kind"] for record in records] == ["warning", "done"]
    assert "10 seconds" in records[0]["text"]
    assert records[-1]["reason"] == "stopped"


def test_a_follower_keeps_the_run(bench: Bench) -> None:
    body = DirectedBody()
    run = bench.start(body)
    with bench.runner.following(run.id):
        bench.after(100 * GRACE)
        assert not is_cancelled(body)
        assert [going.followers for going in bench.runner.snapshot()] == [1]
    bench.after(GRACE - 0.1)
    assert not is_cancelled(body)
    bench.after(0.2)
    assert is_cancelled(body)
    body.idle()
    ended(run)


def test_a_reload_within_the_grace_keeps_the_run(bench: Bench) -> None:
    body = DirectedBody()
    run = bench.start(body)
    bench.after(GRACE - 1)
    for _ in range(3):
        with bench.runner.following(run.id):
            bench.after(1)
        bench.after(GRACE - 1)
    assert not is_cancelled(body)
    body.end()
    assert ended(run)[-1]["reason"] == "finished"


def test_the_last_of_several_followers_counts(bench: Bench) -> None:
    body = DirectedBody()
    run = bench.start(body)
    with bench.runner.following(run.id):
        with bench.runner.following(run.id):
            bench.after(GRACE + 1)
        bench.after(GRACE + 1)
        assert not is_cancelled(body)
    bench.after(GRACE + 1)
    assert is_cancelled(body)
    body.idle()
    ended(run)


def test_a_follower_that_breaks_off_counts_as_gone(bench: Bench) -> None:
    body = DirectedBody()
    run = bench.start(body)
    with pytest.raises(ConnectionError), bench.runner.following(run.id):
        raise ConnectionError
    bench.after(GRACE + 1)
    assert is_cancelled(body)
    body.idle()
    ended(run)


def test_shared_runs_and_jobs_go_on_alone(bench: Bench) -> None:
    shared, job = DirectedBody(), DirectedBody()
    runs = [bench.start(shared), bench.start(job, kind="job")]
    bench.store.share(runs[0].id, "anna")
    bench.after(100 * GRACE)
    for body, run in zip((shared, job), runs, strict=True):
        assert not is_cancelled(body)
        body.end()
        assert ended(run)[-1]["reason"] == "finished"
    assert bench.store.open(runs[1].id, "anna").meta.kind == "job"


def test_waiting_by_hand_needs_a_follower_too(bench: Bench) -> None:
    run = bench.start(by_hand(5), by_hand=True)
    bench.after(GRACE + 1)
    assert ended(run)[-1]["reason"] == "stopped"


def test_following_what_is_over_or_unknown_is_harmless(bench: Bench) -> None:
    run = bench.start(says())
    ended(run)
    for run_id in (run.id, "0" * 16, "", "\ud800"):
        with bench.runner.following(run_id):
            assert bench.runner.snapshot() == ()


def test_the_watch_looks_by_itself(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.005)
    bench = Bench(settings.model_copy(update={"follower_grace": GRACE}))
    pruned = threading.Event()
    monkeypatch.setattr(bench.store, "prune", pruned.set)
    run = bench.start(by_hand(5), by_hand=True)
    bench.clock.advance(GRACE + module.PRUNE_SECONDS)
    assert ended(run)[-1]["reason"] == "stopped"
    assert pruned.wait(PATIENCE)
    bench.runner.close()
    bench.store.close()


# --- limits, many at once, closing ------------------------------------------------------------------------------------


def test_one_visitor_has_so_many_runs(make_bench: MakeBench) -> None:
    bench = make_bench(runs_per_visitor=2)
    bodies = [DirectedBody() for _ in range(3)]
    runs = [bench.start(body) for body in bodies[:2]]
    with pytest.raises(Busy, match="2 runs"):
        bench.start(bodies[2])
    assert bench.runner.running() == bench.runner.running("anna") == 2
    assert len(bench.store.list("anna")) == 2  # a refused one leaves nothing behind
    other = bench.start(says(), visitor="bert")
    job = bench.start(says(), kind="job")
    bodies[0].end()
    ended(runs[0])
    again = bench.start(bodies[2])  # at once: what is over doesn't count
    for body in bodies[1:]:
        body.end()
    for run in (runs[1], other, job, again):
        ended(run)
    assert bench.runner.running() == 0


def test_all_visitors_together_have_so_many_runs(make_bench: MakeBench) -> None:
    bench = make_bench(runs_in_all=3)
    bodies = [DirectedBody() for _ in range(3)]
    runs = [bench.start(body, visitor=f"visitor {number}") for number, body in enumerate(bodies)]
    with pytest.raises(Busy, match="machine"):
        bench.start(says(), visitor="one more")
    for body, run in zip(bodies, runs, strict=True):
        body.end()
        ended(run)
    ended(bench.start(says(), visitor="one more"))


def test_the_limit_holds_when_all_press_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(runs_per_visitor=3)
    together = threading.Barrier(12)

    def press(_: int) -> RunLog | None:
        together.wait(PATIENCE)
        try:
            return bench.start(by_hand(1), by_hand=True)
        except Busy:
            return None

    with ThreadPoolExecutor(12) as threads:
        started = [run for run in threads.map(press, range(12)) if run is not None]
    assert len(started) == 3
    for run in started:
        bench.runner.advance(run.id, None)
        ended(run)


def test_two_visitors_at_once_do_not_mix(bench: Bench) -> None:
    def body(context: RunContext) -> Iterator[Event]:
        for index in range(50):
            yield Step(name=context.visitor, index=index, values={"run": context.run_id})

    runs = {visitor: bench.start(body, visitor=visitor) for visitor in ("anna", "bert")}
    for visitor, run in runs.items():
        records = ended(run)[:-1]
        assert {record["name"] for record in records} == {visitor}
        assert {record["values"]["run"] for record in records} == {run.id}
        assert [record["index"] for record in records] == list(range(50))


def test_no_thread_to_be_had_is_busy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for known in ([], ["failed", "finished"]):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(Busy):
                bench.start(says())
        assert [meta.status for meta in bench.store.list("anna")] == known
        ended(bench.start(says()))
    assert bench.runner.running() == 0


def test_closing_stops_every_run_and_ends_every_thread(make_bench: MakeBench) -> None:
    bench = make_bench()
    runs = [bench.start(by_hand(5), visitor=f"visitor {number}", by_hand=True) for number in range(4)]
    names = {f"run-{run.id}" for run in runs}
    bench.runner.close()
    assert [ended(run)[-1]["reason"] for run in runs] == ["stopped"] * 4
    assert not names & {thread.name for thread in threading.enumerate()}
    with pytest.raises(Busy, match="closing"):
        bench.start(says())


def test_closing_does_not_wait_for_a_body_that_hangs(make_bench: MakeBench) -> None:
    bench = make_bench()
    hangs, goes_on = threading.Event(), threading.Event()

    def body(context: RunContext) -> Iterator[Event]:
        hangs.set()
        assert goes_on.wait(PATIENCE)
        yield Progress(done=1)
        yield Failed(error="Internal", what="too late")

    run = bench.start(body)
    assert hangs.wait(PATIENCE)
    bench.runner.close(timeout=0)
    assert [record["kind"] for record in ended(run)] == ["done"]
    thread = next(thread for thread in threading.enumerate() if thread.name == f"run-{run.id}")
    goes_on.set()
    thread.join(PATIENCE)
    assert [record["kind"] for record in ended(run)] == ["done"]
    assert not (run.folder / "error.log").exists()
