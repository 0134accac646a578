"""The routes beside Gradio's own: a run's events and files, the state of the server, the library that draws figures.

``GET runs/{id}/events?ticket=…&after=…`` streams view operations (``tabs.widgets.view_ops``) as server-sent events:

    id: 41
    data: {"seq": 41, "ops": [{"set": ["status"], "value": "running"}, …]}

At most some twenty messages a second, each with everything since the last; then one ``end`` event. ``Last-Event-ID``
resumes. A ticket opens one run's stream and nothing else, so it needs no login; a bad one gets 403 and a sentence.
Every record is reduced once however many follow a run, and a follower costs no worker of Gradio's queue.

``GET runs/{id}/files/{path}?ticket=…`` gives a file that an ``Artifact`` of a run tells of, to the run's owner: the
ticket is another one than that of the events, which whoever follows a shared run has.

``GET figures/plotly.min.js`` is the installed package's own file, for a browser to keep: its address names its version.

``GET status`` answers with ``services.status()``, behind Gradio's login where there is one. All stand below whatever
path the app is served under.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.routing import APIRoute

from core.errors import LabError, NotFound
from core.events import is_last
from tabs.widgets.figures import packed_library
from tabs.widgets.view_ops import Model, Op, Reduce, apply, put

if TYPE_CHECKING:
    from core.runtime.runs import RunLog
    from core.services import Services

POLL_SECONDS = 0.05
KEEP_ALIVE_SECONDS = 15.0
HEADERS = {"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no", "Connection": "keep-alive"}
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
log = logging.getLogger(__name__)


class RunView:
    """A run's operations, reduced once and shared by all that follow it. Safe to use from several threads."""

    def __init__(self, run: RunLog, reduce: Reduce, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._reduce = reduce
        self._clock = clock
        self._model: Model = {}
        self._ops: list[str] = []  # by seq: the record's operations as JSON, without the brackets
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self.ended = False
        self.followers = 0

    def catch_up(self) -> None:
        """Take in what the log has gained. Does nothing when another follower has just done it."""
        with self._lock:
            now = self._clock()
            if self.ended or now - self._looked < POLL_SECONDS / 2:
                return
            self._looked = now
            try:
                over = self._run.finished  # asked before reading, so that nothing is missed
                for record in self._run.read(len(self._ops) - 1):
                    self._take(record)
            except LabError as error:  # deleted while it was followed
                self._ops.append(json.dumps(put("error", value={"what": error.what, "todo": error.todo})))
                over = True
            self.ended = self.ended or over

    def message(self, after: int) -> tuple[int, str] | None:
        """Everything after ``after`` as one message: its seq and its data. None when there is nothing new."""
        with self._lock:
            last = len(self._ops) - 1
            fresh = ",".join(ops for ops in self._ops[max(after + 1, 0) :] if ops)
        return None if last <= after else (last, f'{{"seq":{last},"ops":[{fresh}]}}')

    def _take(self, record: Mapping[str, Any]) -> None:
        try:
            ops = self._reduce(self._model, record)
            text = json.dumps(ops, ensure_ascii=False, allow_nan=False, separators=(",", ":"))[1:-1]
            self._model = apply(self._model, ops)
        except Exception:
            log.exception("run %s: record %s cannot be shown", self._run.id, record.get("seq"))
            text = json.dumps(put("error", value=_NOT_SHOWN))
        self._ops.append(text)
        self.ended = is_last(dict(record))


_NOT_SHOWN = {"what": "A part of this run cannot be shown.", "todo": "Run it again; the server's log says why."}


class RunViews:
    """The views of the runs that somebody follows now."""

    def __init__(self, reducers: Mapping[str, Reduce]) -> None:
        self._reducers = reducers
        self._views: dict[str, RunView] = {}
        self._lock = threading.Lock()

    @contextmanager
    def follow(self, run: RunLog) -> Iterator[RunView]:
        """The shared view of a run; kept while anybody follows."""
        with self._lock:
            view = self._views.get(run.id)
            if view is None:
                view = self._views[run.id] = RunView(run, self._reducers.get(run.meta.lab, _plain))
            view.followers += 1
        try:
            yield view
        finally:
            with self._lock:
                view.followers -= 1
                if view.followers == 0:
                    self._views.pop(run.id, None)

    def __len__(self) -> int:
        return len(self._views)


def _plain(model: Model, record: Mapping[str, Any]) -> list[Op]:
    """The view of a lab that has none: its records as they are."""
    return [{"push": ["records"], "value": dict(record)}]


async def stream(view: RunView, after: int, closing: Callable[[], bool] = lambda: False) -> AsyncIterator[str]:
    """The messages of one follower, from the record after ``after`` to the run's end."""
    yield "retry: 1000\n\n"
    await asyncio.to_thread(view.catch_up)  # a long log must not hold up the others
    spoke = time.monotonic()
    while not closing():
        message = view.message(after)
        if message is not None:
            after, data = message
            spoke = time.monotonic()
            yield f"id: {after}\ndata: {data}\n\n"
        elif view.ended:
            yield "event: end\ndata: {}\n\n"
            return
        elif time.monotonic() - spoke > KEEP_ALIVE_SECONDS:
            spoke = time.monotonic()
            yield ": still here\n\n"
        if not view.ended:
            await asyncio.sleep(POLL_SECONDS)
            view.catch_up()


def add_routes(
    app: FastAPI, services: Services, reducers: Mapping[str, Reduce], closing: threading.Event | None = None
) -> None:
    """Add the routes to the running Gradio app. Setting ``closing`` ends every stream, so that the server can close."""
    views = RunViews(reducers)
    closing = closing or threading.Event()

    @app.get("/runs/{run_id}/events", include_in_schema=False)
    async def events(run_id: str, request: Request, ticket: str = "", after: int = -1) -> Response:
        if not services.identity.check_ticket(run_id, ticket):
            return _refusal(403, "This page may no longer read that run.", "Reload the page and open the run again.")
        try:
            run = services.store.read_only(run_id)
        except LabError as error:
            return _refusal(404, error.what, error.todo)
        position = max(after, _resumed(request))

        async def follow() -> AsyncIterator[str]:
            with services.runner.following(run_id), views.follow(run) as view:
                async for part in stream(view, position, closing.is_set):
                    yield part

        return StreamingResponse(follow(), media_type="text/event-stream", headers=HEADERS)

    @app.get("/runs/{run_id}/files/{path:path}", include_in_schema=False)
    def file(run_id: str, path: str, ticket: str = "") -> Response:
        if not services.identity.check_ticket(f"{run_id}/files", ticket):
            return _refusal(403, "This page may no longer read that file.", "Reload the page and try again.")
        try:
            found = _file_of(services.store.read_only(run_id), path)
        except LabError as error:
            return _refusal(404, error.what, error.todo)
        return FileResponse(found, filename=found.name, headers={"Cache-Control": "no-store"})

    @app.get("/status", include_in_schema=False, dependencies=login(app))
    def status() -> Response:
        return JSONResponse(services.status(), headers={"Cache-Control": "no-store"})

    @app.get("/figures/plotly.min.js", include_in_schema=False)
    def figures_library() -> Response:
        headers = {**FOREVER, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(packed_library(), media_type="text/javascript", headers=headers)


def login(app: FastAPI) -> list[Any]:
    """Gradio's own login check, as it guards its ``/config``; it lets everybody in where no login is set."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.path == "/config" and route.dependencies:
            return list(route.dependencies)
    raise RuntimeError("this version of Gradio guards its routes otherwise: the status route would be open to all")


def _file_of(run: RunLog, path: str) -> Path:
    """A run's file by its path relative to the run. Raises ``NotFound`` for one that no ``Artifact`` told of."""
    root = run.folder.resolve()
    found = (root / path).resolve()  # follows links, and takes ".." away
    told = [(root / record["path"]).resolve() for record in run.read() if record["kind"] == "artifact"]
    known = any(found.is_relative_to(artifact) and artifact != root for artifact in told)
    if not known or not found.is_relative_to(root) or not found.is_file():
        raise NotFound("There is no such file.", "Make it again.")
    return found


def _resumed(request: Request) -> int:
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isascii() and text.isdigit() else -1


def _refusal(code: int, what: str, todo: str) -> Response:
    return JSONResponse({"what": what, "todo": todo}, status_code=code, headers={"Cache-Control": "no-store"})
