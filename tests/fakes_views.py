"""A small page with the teaching views on it, and runs whose records a test adds one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

import gradio as gr

from core.errors import NotFound
from tabs.decoding.view import reduce
from tabs.page import launch_options
from tabs.routes import add_routes
from tabs.widgets.branch_tree import branch_tree
from tabs.widgets.code_panel import code_panel
from tabs.widgets.facts_view import facts_view
from tabs.widgets.microscope_view import microscope_view
from tabs.widgets.run_view import run_view

ASSETS = Path(__file__).parent.parent / "assets"
EVENTS = {
    "run": ("pick", "next", "run_on"),
    "microscope": ("reorder", "branch", "close"),
    "branches": ("open",),
}


@dataclass(frozen=True)
class Meta:
    lab: str = "decoding"


class GrowingLog:
    """A run's log that the test writes."""

    meta = Meta()

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.records: list[dict[str, Any]] = []

    def add(self, *events: dict[str, Any]) -> None:
        for event in events:
            seq = len(self.records)
            self.records.append({"seq": seq, "at": round(seq * 0.005, 4), **event})

    @property
    def finished(self) -> bool:
        return bool(self.records) and self.records[-1]["kind"] in ("done", "failed")

    def read(self, after: int = -1) -> list[dict[str, Any]]:
        return self.records[after + 1 :]


@dataclass
class Settings:
    assets: Path = ASSETS


@dataclass
class RunsOnly:
    """The services that the event stream asks for: runs, tickets (all are "ticket"), followers."""

    settings: Settings = field(default_factory=Settings)
    runs: dict[str, GrowingLog] = field(default_factory=dict)

    @property
    def identity(self) -> RunsOnly:
        return self

    store = runner = identity

    def check_ticket(self, run_id: str, ticket: str) -> bool:
        return ticket == "ticket"

    def read_only(self, run_id: str) -> GrowingLog:
        if run_id not in self.runs:
            raise NotFound("There is no such run.", "Start a new one.")
        return self.runs[run_id]

    @contextmanager
    def following(self, run_id: str) -> Iterator[None]:
        yield


class ViewsPage:
    """The page under test. ``show`` gives the widgets their values; ``heard`` is what they triggered."""

    def __init__(self, services: RunsOnly) -> None:
        self.services = services
        self.heard: Queue[tuple[str, dict[str, Any]]] = Queue()
        self.values: dict[str, Any] = dict.fromkeys(("run", "microscope", "branches", "code", "facts"))
        self.demo = self._build()
        app, self.url, _ = self.demo.launch(
            prevent_thread_lock=True, server_name="127.0.0.1", **launch_options(services)
        )  # type: ignore[arg-type]
        self.cut = Event()  # while it is set, every stream breaks off
        add_routes(app, services, {"decoding": reduce}, self.cut)  # type: ignore[arg-type]

    def _build(self) -> gr.Blocks:
        with gr.Blocks(fill_width=True, analytics_enabled=False) as demo, gr.Column(elem_classes=["bt-lab"]):
            views = {
                "run": run_view(),
                "microscope": microscope_view(),
                "branches": branch_tree(),
                "code": code_panel(),
                "facts": facts_view(),
            }
            show = gr.Button("show", elem_id="show")
            show.click(lambda: list(self.values.values()), None, list(views.values()), show_progress="hidden")
            for view, names in EVENTS.items():
                for name in names:
                    getattr(views[view], name)(
                        self._listener(name), None, None, trigger_mode="multiple", show_progress="hidden"
                    )
        return demo

    def _listener(self, name: str) -> Any:
        def listen(event: gr.EventData) -> None:
            self.heard.put((name, event._data))

        return listen

    def close(self) -> None:
        self.cut.set()
        self.demo.close()
