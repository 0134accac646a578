"""The event stream and the status route: who may read, what is sent, and that it is worked out once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gradio.routes import App

from core.events import Done, Token
from core.runtime.identity import Identity
from core.runtime.runs import RunStore
from core.settings import Settings
from tabs.routes import RunView, RunViews, add_routes, stream
from tabs.widgets.view_ops import apply, push, put, view_model

VISITOR = "visitor"


def reduce(model: dict[str, Any], record: dict[str, Any]) -> list[dict[str, Any]]:
    if record["kind"] == "token":
        return [push("tokens", value=record["text"])]
    return [put("status", value=record["kind"])]


def token(index: int, text: str = "a") -> Token:
    return Token(column=0, index=index, id=index, text=text, piece=text, logprob=-1.0, rank=1, entropy=1.0)


class House:
    """A Gradio app with the routes, over a real store and identity, and a runner that counts its followers."""

    def __init__(self, home: Path, login: tuple[str, str] | None = None, root_path: str = "") -> None:
        self.store = RunStore(Settings(home=home, offline=True))
        self.identity = Identity(home)
        self.followed: list[str] = []
        self.runner = SimpleNamespace(following=self._following)
        with gr.Blocks(analytics_enabled=False) as blocks:
            gr.Textbox()
        blocks.auth = [login] if login else None
        blocks.auth_message = None
        blocks.root_path = root_path
        self.app: FastAPI = App.create_app(blocks)
        add_routes(self.app, self, {"decoding": reduce})  # type: ignore[arg-type]
        self.client = TestClient(self.app)

    def status(self) -> dict[str, Any]:
        return {"state": "ready", "queue": 0}

    @contextmanager
    def _following(self, run_id: str) -> Iterator[None]:
        self.followed.append(run_id)
        yield

    def run(self, texts: str, lab: str = "decoding") -> str:
        log = self.store.create(lab, VISITOR, {})
        for index, text in enumerate(texts):
            log.append(token(index, text))
        log.append(Done())
        return log.id

    def url(self, run_id: str, **query: Any) -> str:
        more = "".join(f"&{name}={value}" for name, value in query.items())
        return f"/runs/{run_id}/events?ticket={self.identity.ticket(run_id)}{more}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = House(tmp_path_factory.mktemp("home"))
    yield built
    built.store.close()


def messages(text: str) -> tuple[list[tuple[int, dict[str, Any]]], bool]:
    """The stream's messages as (id, data), and whether it said that it ended."""
    found, ended = [], False
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if lines.get("event") == "end":
            ended = True
        elif "data" in lines:
            found.append((int(lines["id"]), json.loads(lines["data"])))
    return found, ended


def test_a_stream_carries_the_whole_view_and_ends(house: House) -> None:
    run = house.run("ab<")
    reply = house.client.get(house.url(run))
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in reply.headers["cache-control"]
    assert reply.headers["x-accel-buffering"] == "no"
    found, ended = messages(reply.text)
    assert ended
    assert found[-1][0] == found[-1][1]["seq"] == 3
    model: dict[str, Any] = {}
    for _, data in found:
        model = apply(model, data["ops"])
    assert model == {"tokens": ["a", "b", "<"], "status": "done"}
    assert model == view_model(reduce, house.store.read_only(run).read())
    assert house.followed[-1] == run


@pytest.mark.parametrize("resume", ["after", "header"])
def test_a_follower_resumes_where_it_was(house: House, resume: str) -> None:
    run = house.run("abc")
    if resume == "after":
        reply = house.client.get(house.url(run, after=1))
    else:
        reply = house.client.get(house.url(run), headers={"Last-Event-ID": "1"})
    found, ended = messages(reply.text)
    assert ended
    assert [op for _, data in found for op in data["ops"]] == [
        push("tokens", value="c"),
        put("status", value="done"),
    ]


def test_who_has_everything_is_told_that_it_ended(house: House) -> None:
    run = house.run("abc")
    assert messages(house.client.get(house.url(run, after=3)).text) == ([], True)


def test_a_ticket_opens_its_own_run_only(house: House) -> None:
    mine, other = house.run("a"), house.run("b")
    wrong = [f"/runs/{mine}/events", f"/runs/{mine}/events?ticket=x", house.url(other).replace(other, mine, 1)]
    followed = list(house.followed)
    for url in wrong:
        reply = house.client.get(url)
        assert reply.status_code == 403
        assert reply.json()["what"].endswith(".")
    assert house.followed == followed


def test_a_deleted_run_is_gone_in_one_sentence(house: House) -> None:
    run = house.run("a")
    house.store.delete(run, VISITOR)
    reply = house.client.get(house.url(run))
    assert reply.status_code == 404
    assert "no such run" in reply.json()["what"]


def test_a_lab_without_a_view_streams_its_records(house: House) -> None:
    found, _ = messages(house.client.get(house.url(house.run("a", lab="other"))).text)
    kinds = [op["value"]["kind"] for _, data in found for op in data["ops"]]
    assert kinds == ["token", "done"]


def test_a_login_guards_the_status_and_a_ticket_the_stream(tmp_path: Path) -> None:
    house = House(tmp_path, login=("teacher", "secret"))
    assert house.client.get("/status").status_code == 401
    assert house.client.get(house.url(house.run("a"))).status_code == 200
    assert house.client.post("/login", data={"username": "teacher", "password": "secret"}).status_code == 200
    assert house.client.get("/status").json() == {"state": "ready", "queue": 0}
    house.store.close()


def test_without_a_login_everybody_sees_the_status(house: House) -> None:
    reply = house.client.get("/status")
    assert reply.json() == {"state": "ready", "queue": 0}
    assert reply.headers["cache-control"] == "no-store"


def test_the_routes_work_below_a_path(tmp_path: Path) -> None:
    house = House(tmp_path, root_path="/bench")
    run = house.run("a")
    for prefix in ("", "/bench"):  # a proxy may strip the path or pass it on
        client = TestClient(house.app, root_path=prefix)
        assert client.get(f"{prefix}/status").status_code == 200
        assert client.get(prefix + house.url(run)).status_code == 200
    house.store.close()


class Growing:
    """A live log that the test makes grow."""

    def __init__(self) -> None:
        self.id = "r"
        self.meta = SimpleNamespace(id="r", lab="decoding")
        self.records: list[dict[str, Any]] = []
        self.finished = False
        self.reads = 0

    def grow(self, *kinds: str) -> None:
        for kind in kinds:
            self.records.append({"seq": len(self.records), "at": 0.0, "kind": kind, "text": str(len(self.records))})
        self.finished = self.records[-1]["kind"] == "done"

    def read(self, after: int = -1) -> list[dict[str, Any]]:
        self.reads += 1
        return self.records[after + 1 :]


def test_thirty_followers_reduce_a_record_once() -> None:
    calls: list[int] = []

    def counting(model: dict[str, Any], record: dict[str, Any]) -> list[dict[str, Any]]:
        calls.append(record["seq"])
        return reduce(model, record)

    log, views = Growing(), RunViews({"decoding": counting})
    log.grow("token", "token")

    async def follow() -> str:
        with views.follow(log) as view:  # type: ignore[arg-type]
            return "".join([part async for part in stream(view, -1)])

    async def all_of_them() -> list[str]:
        following = [asyncio.create_task(follow()) for _ in range(30)]
        while len(calls) < 2:
            await asyncio.sleep(0)
        log.grow("token", "done")
        return await asyncio.gather(*following)

    texts = asyncio.run(all_of_them())
    assert calls == [0, 1, 2, 3]
    for text in texts:
        found, ended = messages(text)
        ops = [op for _, data in found for op in data["ops"]]
        assert apply({}, ops) == {"tokens": ["0", "1", "2"], "status": "done"}
        assert ended
    assert len(views) == 0


def test_looks_at_the_log_no_more_often_than_needed() -> None:
    log, now = Growing(), [0.0]
    view = RunView(log, reduce, clock=lambda: now[0])  # type: ignore[arg-type]
    log.grow("token")
    for _ in range(30):
        view.catch_up()
    assert log.reads == 1
    now[0] = 1.0
    view.catch_up()
    assert log.reads == 2


def test_a_record_that_cannot_be_shown_is_said_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def failing(model: dict[str, Any], record: dict[str, Any]) -> list[dict[str, Any]]:
        if record["seq"] == 0:
            raise KeyError("column")
        return reduce(model, record)

    log = Growing()
    log.grow("token", "done")
    view = RunView(log, failing)  # type: ignore[arg-type]
    view.catch_up()
    message = view.message(-1)
    assert message is not None
    model = apply({}, json.loads(message[1])["ops"])
    assert model["error"]["what"] == "A part of this run cannot be shown."
    assert model["status"] == "done"
    assert view.ended
    assert "cannot be shown" in caplog.text


def test_closing_ends_a_stream() -> None:
    log, closing = Growing(), threading.Event()
    log.grow("token")

    async def follow() -> list[str]:
        parts = []
        async for part in stream(RunView(log, reduce), -1, closing.is_set):  # type: ignore[arg-type]
            parts.append(part)
            if part.startswith("id:"):
                closing.set()
        return parts

    parts = asyncio.run(follow())
    assert sum(part.startswith("id:") for part in parts) == 1
    assert not any("event: end" in part for part in parts)
