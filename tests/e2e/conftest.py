"""A real browser and a real app. Both start once per test process; each visitor gets a browser profile of its own.

Playwright drives a Chromium that the machine has (``BENCHTOP_CHROMIUM``, else ``chromium``, ``chromium-browser`` or
``google-chrome`` on the path); without one these tests are skipped and say so. The app is ``python app.py`` on a free
port, offline, with an empty home. At its end every visit asserts that no page threw an error and that nothing was asked
of any other host.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from core.services import Services
from core.settings import Settings
from tabs import Lab
from tabs.page import build_page, launch_options, reducers
from tabs.routes import add_routes

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds until the app must have answered

Visit = Callable[..., Page]


@dataclass(slots=True)
class RunningApp:
    """``python app.py`` as a process of its own; ``url`` ends in a slash."""

    url: str
    home: Path
    log: Path
    process: subprocess.Popen[bytes]

    def wait_until_it_answers(self) -> None:
        """Return at the first HTTP 200; fail with the end of the app's output if it ends or stays silent."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(self.url, timeout=5) as reply:
                    if reply.status == 200:
                        return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        self.end()
        pytest.fail(f"app.py did not answer at {self.url}:\n{self.log.read_text(errors='replace')[-4000:]}")

    def end(self) -> None:
        """Ask it to end, and make it end if it does not."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_app(home: Path, **settings: str) -> RunningApp:
    """Start the app on a free port with this home; ``settings`` are further ``BENCHTOP_*`` values by field name.

    Runs wait longer than usual for a follower: a page may take its time to load beside other browsers.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    own = {"home": str(home), "offline": "1", "host": "127.0.0.1", "port": str(port), "follower_grace": "20"}
    given = {**own, **settings}
    home.mkdir(parents=True, exist_ok=True)
    log = home.parent / f"app-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=REPOSITORY,
            env={**os.environ, **{f"BENCHTOP_{name.upper()}": value for name, value in given.items()}},
            stdout=output,
            stderr=output,
        )
    running = RunningApp(f"http://127.0.0.1:{port}/", home, log, process)
    running.wait_until_it_answers()
    return running


@pytest.fixture(scope="session")
def app(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """One app for all tests of this process. Asks for the browser first: without one there is nothing to start."""
    running = start_app(tmp_path_factory.mktemp("app") / "home")
    yield running
    running.end()


@pytest.fixture
def visit(chromium: Browser, app: RunningApp) -> Iterator[Visit]:
    """``visit(path="", **context_options)`` opens the page as a new visitor: cookies and storage of its own."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_page(path: str = "", **context_options: object) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **context_options})
        contexts.append(context)
        context.on("request", lambda request: faults.extend(_foreign(request.url)))
        context.on("weberror", lambda error: faults.append(f"error in the page: {error.error}"))
        page = context.new_page()
        page.goto(app.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@contextmanager
def served(home: Path, labs: tuple[Lab, ...]) -> Iterator[str]:
    """Some labs alone, in this process, offline; the page's address."""
    services = Services(Settings(home=home, offline=True))
    closing = threading.Event()
    demo = build_page(services, labs=labs)
    server, url, _ = demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(services))
    add_routes(server, services, reducers(labs), closing)
    yield url
    closing.set()
    demo.close(verbose=False)
    services.close()


@pytest.fixture
def new_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """``new_page(width=1280, colours="light")``: an empty page of a new visitor; none of them may throw an error."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def make(width: int = 1280, colours: str = "light") -> Page:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=colours)  # type: ignore[arg-type]
        contexts.append(context)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        return context.new_page()

    yield make
    for context in contexts:
        context.close()
    assert faults == []


def shared_link(page: Page) -> str:
    """What "Share this run" copies. Clicked by an event, since the page below the results moves while they come."""
    page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")
    page.locator(".bt-share:visible").dispatch_event("click")
    return str(page.wait_for_function("window.copied", timeout=30_000).json_value())


def _foreign(url: str) -> list[str]:
    parts = urlsplit(url)
    own = parts.scheme not in ("http", "https", "ws", "wss") or parts.hostname == "127.0.0.1"
    return [] if own else [f"asked another host: {url}"]
