"""The Fine-tuning view: events in, the page's model out; and what a real browser draws of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from gradio.routes import App

from core.errors import BadInput, NotFound
from core.events import Artifact, Done, parse
from core.labs.base import Request
from core.labs.finetuning.request import FinetuningRequest
from core.runtime.identity import Identity
from core.runtime.runs import RunLog, RunStore, owner_of
from core.runtime.uploads import Uploads
from core.settings import Settings
from tabs.finetuning import CONTROLS, FIRST, GROUPS
from tabs.finetuning.actions import Actions
from tabs.finetuning.view import empty_model, reduce
from tabs.page import launch_options
from tabs.routes import add_routes
from tabs.widgets import data_preview, exports_view, runs_table, training_view
from tabs.widgets.form import describe
from tabs.widgets.view_ops import apply, view_model
from tests import fakes_training as fakes
from tests.fakes_views import GrowingLog, RunsOnly

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: requirements-dev.txt has it")
from playwright.sync_api import Browser, Page, expect

NASTY = "<img src=x onerror=window.hit()> ${window.hit()} {{x}} </script>"
expect.set_options(timeout=20_000)

# --- events to model -------------------------------------------------------------------------------------------------


def test_the_fake_records_are_events() -> None:
    for record in fakes.language_run() + fakes.classification_run():
        parse(record)


def test_a_whole_run() -> None:
    model = view_model(reduce, fakes.language_run())
    assert set(model) == set(empty_model())
    assert (model["status"], model["queue"], model["progress"], model["error"]) == ("finished", None, None, None)
    assert [point["step"] for point in model["train"]] == list(range(1, 61))
    assert {"epoch", "tokens", "seconds", "loss", "grad_norm", "token_accuracy"} <= set(model["train"][0])
    assert [point["step"] for point in model["eval"]] == [20, 40, 60]
    assert [one["step"] for one in model["checkpoints"]] == [20, 40, 60]
    assert model["metrics"] == [{"name": "eval loss", "value": 1.64, "unit": "nats per token"}]
    assert model["result"]["steps"] == 60
    json.dumps(model, allow_nan=False)


def test_the_view_does_not_depend_on_how_a_log_is_read() -> None:
    records = fakes.language_run()
    model: dict[str, Any] = {}
    for record in records:
        before = json.dumps([model, record])
        ops = reduce(model, record)
        assert json.dumps([model, record]) == before
        model = apply(model, ops)
    assert model == view_model(reduce, records)


def test_what_the_base_wrote_is_kept_once_and_the_tuned_at_each_look() -> None:
    samples = view_model(reduce, fakes.language_run())["samples"]
    assert [row["base"] for row in samples["rows"]] == [fakes.BASE] * 3
    assert [look["step"] for look in samples["at"]] == [0, 20, 40, 60]
    assert samples["at"][0]["tuned"][0] == fakes.TUNED[0]
    assert samples["at"][-1]["tuned"] == [fakes.TUNED[2]] * 3
    again = reduce(view_model(reduce, fakes.language_run(60, ended=False)), fakes.sampled(60, "again"))
    assert [op.get("set") for op in again] == [["samples", "at", 3]]


def test_a_reading_is_one_line_however_often_it_is_said() -> None:
    said = [fakes.step("reading", step, name="not_learning", text=f"at {step}") for step in (20, 40)]
    said.append(fakes.step("reading", 60, name="overfitting", text="turned"))
    model = view_model(reduce, fakes.numbered([fakes.started(), *said]))
    assert [(line["name"], line["step"]) for line in model["readings"]] == [("not_learning", 40), ("overfitting", 60)]


def test_the_queue_is_shown_until_the_start() -> None:
    model = view_model(reduce, fakes.numbered([fakes.step("queue", 2, position=2)]))
    assert (model["status"], model["queue"]) == ("queued", 2)
    model = apply(model, reduce(model, {"seq": 1, "at": 1.0, **fakes.started()}))
    assert (model["status"], model["queue"]) == ("running", None)


def test_stopped_while_queued_and_failed_say_so() -> None:
    queued = fakes.step("queue", 1, position=1)
    stopped = view_model(reduce, fakes.numbered([queued, {"kind": "done", "reason": "stopped", "result": {}}]))
    assert (stopped["status"], stopped["queue"], stopped["train"]) == ("stopped", None, [])
    dead = {"kind": "failed", "error": "WorkerDied", "what": "It ended after step 3.", "todo": "Resume goes on."}
    failed = view_model(reduce, fakes.numbered([fakes.started(), fakes.trained(1), dead]))
    assert failed["status"] == "failed"
    assert failed["error"] == {"what": "It ended after step 3.", "todo": "Resume goes on."}
    assert len(failed["train"]) == 1


def test_a_value_that_is_missing_leaves_a_gap_not_a_number() -> None:
    model = view_model(reduce, fakes.numbered([fakes.started(), fakes.trained(1, loss=None)]))
    assert "loss" not in model["train"][0]


def test_every_field_of_the_request_stands_in_one_place() -> None:
    placed = [*FIRST, *(name for names in GROUPS.values() for name in names), "resume", "group"]
    assert sorted(placed) == sorted(describe(FinetuningRequest))


def test_templates_are_static_and_scripts_never_write_markup() -> None:
    for module in (training_view, data_preview, runs_table, exports_view):
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in module.SCRIPT


# --- files of a run --------------------------------------------------------------------------------------------------


def test_a_file_opens_to_its_owner_and_only_when_an_artifact_told_of_it(tmp_path: Path) -> None:
    store, identity = RunStore(Settings(home=tmp_path, offline=True)), Identity(tmp_path)
    log = store.create("finetuning", "visitor", {})
    folder = tmp_path / "runs" / log.id
    (folder / "exports").mkdir()
    (folder / "exports" / "model.zip").write_bytes(b"zip")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "optimizer.pt").write_bytes(b"secret")
    (folder / "exports" / "out").symlink_to(folder / "run.json")
    (folder / "untold.zip").write_bytes(b"half made")
    log.append(Artifact(name="exports", path="exports", bytes=3))
    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.Textbox()
    blocks.auth = blocks.auth_message = None
    app = App.create_app(blocks)

    class House:
        def __init__(self) -> None:
            self.store, self.identity = store, identity

    add_routes(app, House(), {})  # type: ignore[arg-type]
    client = TestClient(app)
    ticket = identity.ticket(f"{log.id}/files")
    answer = client.get(f"/runs/{log.id}/files/exports/model.zip?ticket={ticket}")
    assert (answer.status_code, answer.content) == (200, b"zip")
    assert "attachment" in answer.headers["content-disposition"]
    follower = identity.ticket(log.id)  # what a shared link's follower has
    assert client.get(f"/runs/{log.id}/files/exports/model.zip?ticket={follower}").status_code == 403
    for path in (
        "run.json",
        "checkpoints/optimizer.pt",
        "exports/out",
        "exports",
        "exports/%2e%2e/run.json",
        "untold.zip",
    ):
        assert client.get(f"/runs/{log.id}/files/{path}?ticket={ticket}").status_code == 404, path
    log.close()


# --- what the page's events do ----------------------------------------------------------------------------------------


class Queueless:
    """The real services, except that a training is only written down and not begun."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, offline=True)
        self.store, self.identity, self.uploads = RunStore(self.settings), Identity(home), Uploads(self.settings)
        self.secrets: list[str | None] = []

    def start(self, lab: str, request: Request, visitor: str, *, secret: str | None = None) -> RunLog:
        self.secrets.append(secret)
        log = self.store.create(lab, visitor, request.model_dump(mode="json"), kind="job", title=request.summary())
        log.append(Done())
        log.close()
        return self.store.open(log.id, visitor)


@pytest.fixture
def services(tmp_path: Path) -> Queueless:
    return Queueless(tmp_path)


@pytest.fixture
def actions(services: Queueless) -> Actions:
    return Actions(services)  # type: ignore[arg-type]


def test_resume_is_a_run_of_its_own_that_names_the_earlier_one(actions: Actions, services: Queueless) -> None:
    mine, other = services.identity.new_visitor(), services.identity.new_visitor()
    first = actions.start(FinetuningRequest(r=4), mine, replacing=None, hub_token="hf_secret")
    again = actions.resume(mine, first.run, "")
    assert again.run != first.run
    asked = actions.request(actions.reader(mine, None), again.run)
    assert (asked.resume, asked.r) == (first.run, 4)
    assert services.secrets == ["hf_secret", None]
    with pytest.raises(NotFound):
        actions.resume(other, first.run, "")
    with pytest.raises(NotFound):
        actions.resume(mine, None, "")


def test_a_run_is_shown_to_its_owner_and_to_who_has_the_link(actions: Actions, services: Queueless) -> None:
    mine, other = services.identity.new_visitor(), services.identity.new_visitor()
    shown = actions.start(FinetuningRequest(), mine, replacing=None)
    link = actions.share(mine, shown.run)
    assert link is not None
    followed = actions.reopen(actions.reader(other, link), None)
    assert followed is not None
    assert followed.run == shown.run
    assert actions.resumable(actions.reader(other, link), shown.run) is False
    assert actions.exports(actions.reader(other, link), shown.run) is None
    with pytest.raises(NotFound):
        actions.reopen(actions.reader(other, None), shown.run)


def test_a_sweep_is_a_group_of_runs_that_can_be_compared(actions: Actions, services: Queueless) -> None:
    mine = services.identity.new_visitor()
    shown, runs = actions.sweep(FinetuningRequest(), [("r", "2, 8"), (None, ""), ("method", "LoRA, DoRA")], mine, "")
    assert len(runs) == 4
    assert shown.run == runs[0]
    table = actions.runs(actions.reader(mine, None), runs, compared=True)
    assert {line["id"] for line in table["runs"]} == set(runs)
    assert len({line["group"] for line in table["runs"]}) == 1
    assert len(table["compared"]["rows"]) == 4
    other = actions.reader(services.identity.new_visitor(), None)
    assert actions.runs(other, runs, compared=True) == {"runs": [], "chosen": [], "open": True, "compared": None}
    with pytest.raises(BadInput):
        actions.sweep(FinetuningRequest(), [(None, ""), (None, "")], mine, "")


def test_what_was_made_of_a_model_is_offered_with_its_files(actions: Actions, services: Queueless) -> None:
    mine = services.identity.new_visitor()
    run = actions.start(FinetuningRequest(), mine, replacing=None).run
    reader = actions.reader(mine, None)
    assert actions.exports(reader, run) is None  # no model yet
    model = services.settings.home / "runs" / run / "model"
    model.mkdir()
    (model / "benchtop.json").write_text(json.dumps({"base": "story-lm", "task": "language", "kind": "adapter"}))
    actions.export(mine, run, {"kind": "zip", "repo": "", "private": True, "token": ""})
    made = actions.exports(reader, run)
    assert made is not None
    assert (made["model"], made["decodes"], made["merges"]) == (f"tuned:{run}", True, True)
    [entry] = made["exports"]
    assert (entry["kind"], entry["files"]) == ("zip", f"runs/{entry['run']}/files/")
    assert services.identity.check_ticket(f"{entry['run']}/files", entry["ticket"])
    with pytest.raises(BadInput, match="Repository"):
        actions.export(mine, run, {"kind": "hub", "repo": "", "private": True, "token": "hf_x"})


def test_a_file_is_its_bringers(actions: Actions, services: Queueless, tmp_path: Path) -> None:
    mine, other = services.identity.new_visitor(), services.identity.new_visitor()
    file = tmp_path / "my stories.csv"
    file.write_text("text\nAhoy\n")
    name = actions.upload(str(file), mine)
    assert name.startswith("upload:")
    assert actions.uploads(mine) == [("my stories.csv · yours", name)]
    assert actions.uploads(other) == []
    with pytest.raises(NotFound):
        services.uploads.path(name, owner_of(other))


# --- the browser -----------------------------------------------------------------------------------------------------

EVENTS = {
    "training": ("ended",),
    "preview": ("preview", "measure", "targets"),
    "runs": ("refresh", "compare", "open"),
    "exports": ("export",),
}


class LabPage:
    """The lab's views alone: ``show`` gives them their values, ``heard`` is what they triggered."""

    def __init__(self) -> None:
        self.services, self.cut = RunsOnly(), Event()
        self.heard: Queue[tuple[str, dict[str, Any]]] = Queue()
        self.values: dict[str, Any] = dict.fromkeys(EVENTS)
        with gr.Blocks(fill_width=True, analytics_enabled=False) as self.demo, gr.Column(elem_classes=["bt-lab"]):
            views = {
                "training": training_view.training_view(),
                "preview": data_preview.data_preview(),
                "runs": runs_table.runs_table(),
                "exports": exports_view.exports_view(),
            }
            show = gr.Button("show", elem_id="show")
            show.click(lambda: list(self.values.values()), None, list(views.values()), show_progress="hidden")
            for view, names in EVENTS.items():
                for name in names:
                    getattr(views[view], name)(self._listener(name), None, None, show_progress="hidden")
        app, self.url, _ = self.demo.launch(
            prevent_thread_lock=True, server_name="127.0.0.1", **launch_options(self.services)
        )  # type: ignore[arg-type]
        add_routes(app, self.services, {"finetuning": reduce, "decoding": reduce}, self.cut)  # type: ignore[arg-type]

    def _listener(self, name: str) -> Any:
        def listen(event: gr.EventData) -> None:
            self.heard.put((name, event._data))

        return listen

    def follow(self, tab: Page, records: list[dict[str, Any]]) -> GrowingLog:
        log = GrowingLog(f"run-{len(self.services.runs)}")
        log.records = list(records)
        self.services.runs[log.id] = log
        self.show(tab, training={"run": log.id, "url": f"runs/{log.id}/events?ticket=ticket", "title": "LoRA"})
        tab.wait_for_selector(f'.bv-training[data-run="{log.id}"]')
        return log

    def show(self, tab: Page, **values: Any) -> None:
        self.values = {name: values.get(name) for name in self.values}
        tab.click("#show")


@pytest.fixture(scope="module")
def lab(chromium: Browser) -> Iterator[LabPage]:
    page = LabPage()
    yield page
    page.cut.set()
    page.demo.close()


@pytest.fixture
def tab(chromium: Browser, lab: LabPage) -> Iterator[Page]:
    while not lab.heard.empty():
        lab.heard.get()
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.add_init_script("window.hits = 0; window.hit = () => { window.hits += 1; };")
    page.goto(lab.url)
    page.wait_for_selector(".bv-training .bv-empty")
    yield page
    assert page.evaluate("window.hits") == 0
    context.close()
    assert faults == []


def drawn(tab: Page, panel: str = "loss") -> list[int]:
    """How many points each line of a panel has."""
    return tab.evaluate(
        f"(document.querySelector('[data-panel={panel}] .js-plotly-plot')?.data ?? []).map((t) => t.x.length)"
    )


def await_points(tab: Page, count: int) -> None:
    tab.wait_for_function(
        f"document.querySelector('[data-panel=loss] .js-plotly-plot')?.data?.[0]?.x.length === {count}", timeout=20_000
    )


def test_curves_grow_in_place_and_the_end_is_told(tab: Page, lab: LabPage) -> None:
    log = lab.follow(tab, fakes.language_run(30, ended=False))
    await_points(tab, 30)
    expect(tab.locator(".tv-chip")).to_have_text("training")
    expect(tab.locator(".tv-left")).to_contain_text("step 30 of 60 · about 25 s left")
    expect(tab.locator(".tv-facts")).to_contain_text("147K of 4.4M parameters, 3.4%")
    plot = tab.locator("[data-panel=loss] .main-svg").first.element_handle()
    log.records += fakes.language_run()[len(log.records) :]
    await_points(tab, 60)
    assert plot.evaluate("e => e.isConnected")
    assert drawn(tab) == [60, 60, 3, 1]  # raw, smoothed, evaluation, its best
    expect(tab.locator(".tv-chip")).to_contain_text("finished after step 60")
    assert lab.heard.get(timeout=20) == ("ended", {"run": log.id})


def test_a_late_follower_sees_the_whole_curve(tab: Page, lab: LabPage) -> None:
    lab.follow(tab, fakes.language_run(45, ended=False))
    await_points(tab, 45)
    xs = tab.evaluate("document.querySelector('[data-panel=loss] .js-plotly-plot').data[0].x")
    assert (xs[0], xs[-1]) == (1, 45)


def test_axis_smoothing_and_log_scale_ask_nothing_of_the_server(tab: Page, lab: LabPage) -> None:
    lab.follow(tab, fakes.language_run())
    await_points(tab, 60)
    asked: list[str] = []
    tab.wait_for_timeout(500)
    tab.on("request", lambda request: asked.append(request.url))
    tab.locator(".tv-segment", has_text="seconds").click()
    expect(tab.locator("[data-panel=loss] .xtitle")).to_have_text("seconds of training")
    tab.locator(".tv-smooth input").fill("0")
    tab.wait_for_function("document.querySelector('[data-panel=loss] .js-plotly-plot').data.length === 3")
    tab.locator(".tv-log input").check()
    tab.wait_for_function("document.querySelector('[data-panel=loss] .js-plotly-plot').layout.yaxis.type === 'log'")
    tab.locator(".tv-segment[aria-checked=true]").press("ArrowRight")
    expect(tab.locator(".tv-segment[aria-checked=true]")).to_have_text("step")
    assert asked == []


def test_the_same_rows_before_and_after(tab: Page, lab: LabPage) -> None:
    lab.follow(tab, fakes.language_run())
    rows = tab.locator(".tv-row")
    expect(rows).to_have_count(3)
    expect(rows.first.locator(".tv-said").nth(1)).to_have_text(fakes.TUNED[2])
    assert "pirate" in rows.first.locator(".tv-new").all_inner_texts()
    assert "little" not in rows.first.locator(".tv-new").all_inner_texts()
    tab.locator(".tv-look", has_text="20").click()
    expect(rows.first.locator(".tv-said").nth(1)).to_have_text(fakes.TUNED[1])


def test_labels_show_what_was_right_and_a_reading_stands_below(tab: Page, lab: LabPage) -> None:
    lab.follow(tab, fakes.classification_run())
    expect(tab.locator(".tv-row").first.locator(".tv-guess").nth(1)).to_have_text("✓sad91.0%")
    expect(tab.locator(".tv-row").nth(1).locator(".tv-guess").nth(1)).to_have_text("✕angry44.0%")
    expect(tab.locator(".tv-reading")).to_contain_text("Every validation row was predicted as sad.")
    tab.wait_for_selector("[data-panel=predicted] .barlayer path", state="attached")
    expect(tab.locator("[data-panel=accuracy] .bf-key-name")).to_have_text(["accuracy", "F1"])


def test_text_of_models_and_data_stays_text(tab: Page, lab: LabPage) -> None:
    rows = [{"prompt": NASTY, "reference": NASTY, "base": "x", "tuned": NASTY}]
    said = fakes.step("reading", 1, name="nan", text=NASTY)
    dead = {"kind": "failed", "error": "X", "what": NASTY, "todo": NASTY}
    records = [fakes.started(title=NASTY), fakes.trained(1), fakes.step("samples", 1, rows=rows), said, dead]
    lab.follow(tab, fakes.numbered(records))
    for place in (".tv-prompt", ".tv-reference span:last-child", ".tv-state h3", ".bv-message-what"):
        expect(tab.locator(place).first).to_have_text(NASTY)
    expect(tab.locator(".tv-said").nth(1)).to_have_text(NASTY)
    assert tab.locator(".bv-training img").count() == 0


def test_another_run_starts_from_an_empty_view(tab: Page, lab: LabPage) -> None:
    lab.follow(tab, fakes.classification_run())
    tab.wait_for_selector("[data-panel=predicted] .barlayer path", state="attached")
    lab.follow(tab, fakes.numbered([fakes.step("queue", 2, position=2)]))
    expect(tab.locator(".tv-chip")).to_have_text("queued, 2 runs before it")
    assert tab.locator(".tv-row:visible").count() == 0
    assert drawn(tab) == []


def test_before_the_start(tab: Page, lab: LabPage) -> None:
    lab.show(tab, preview=fakes.preview())
    expect(tab.locator(".dp-number dd")).to_have_text(["60", "147K", "80 MB", "about 49 s"])
    expect(tab.locator(".dp-stack i")).to_have_count(4)
    expect(tab.locator(".dp-notes")).to_contain_text("1 validation row also among the training rows")
    expect(tab.locator(".dp-cut")).to_have_text("14 tokens cut")
    assert tab.locator(".dp-row").first.locator(".dp-token.is-trained").count() == 21
    tab.wait_for_selector(".dp-figures .barlayer path", state="attached")
    tab.locator(".dp-module input").first.uncheck()
    assert lab.heard.get(timeout=20) == ("targets", {"names": ["down_proj"]})
    tab.locator(".dp-measure").click()
    assert lab.heard.get(timeout=20) == ("measure", {})
    lab.show(tab, preview={"error": NASTY})
    expect(tab.locator(".dp-error")).to_have_text(NASTY)


def test_several_runs_side_by_side(tab: Page, lab: LabPage) -> None:
    from core.labs.finetuning.compare import ComparedRun, compare

    runs = [
        {"id": f"r{i}", "title": f"LoRA {i}", "status": "finished", "age": "1 min ago", "group": "g"} for i in (1, 2)
    ]
    logs = [ComparedRun(f"r{i}", {"method": "lora", "r": i}, fakes.language_run()) for i in (1, 2)]
    lab.show(tab, runs={"runs": runs, "chosen": [], "open": True, "compared": None})
    expect(tab.locator(".rt-run")).to_have_count(2)
    assert lab.heard.get(timeout=20)[0] == "refresh"  # the card was opened
    tab.locator(".rt-all").click()
    assert lab.heard.get(timeout=20) == ("compare", {"runs": ["r1", "r2"], "axis": "step"})
    lab.show(tab, runs={"runs": runs, "chosen": ["r1", "r2"], "open": True, "compared": compare(logs)})
    expect(tab.locator(".rt-table tbody tr")).to_have_count(2)
    tab.wait_for_selector("[data-figure=eval] .js-line", state="attached")
    tab.wait_for_selector("[data-figure=score] .points path", state="attached")


def test_afterwards_shows_files_and_the_certificate(tab: Page, lab: LabPage) -> None:
    table = {
        "kind": "table", "name": "certificate", "columns": ["reading", "measured", "verdict"],
        "rows": [[NASTY, 4.1e-7, "pass"], ["same first choice, %", 91.0, "fail"]],
    }  # fmt: skip
    file = {"kind": "artifact", "name": "zip", "path": "exports/a b.zip", "bytes": 17_400_000}
    done = {"kind": "done", "reason": "finished", "result": {}}
    made = {
        "kind": "merge",
        "run": "e1",
        "records": fakes.numbered([table, file, done]),
        "files": "runs/r/files/",
        "ticket": "1.a",
    }
    value = {"run": "r", "model": "tuned:r", "decodes": True, "merges": True, "exports": [made]}
    lab.show(tab, exports=value)
    merge = tab.locator(".ex-line[data-kind=merge]")
    expect(merge.locator("tbody tr").first).to_have_text(f"{NASTY}4.1e-7✓ pass")
    expect(merge.locator("tbody tr").nth(1)).to_contain_text("✕ fail")
    link = merge.locator(".ex-file").get_attribute("href") or ""
    assert link == f"{lab.url}runs/r/files/exports/a%20b.zip?ticket=1.a"
    assert re.search(r"tab=decoding&model=tuned%3Ar$", tab.locator(".ex-use").get_attribute("href") or "")
    push = tab.locator(".ex-line[data-kind=hub]")
    push.locator(".ex-start").click()
    expect(push.locator(".ex-status")).to_contain_text("token are needed")
    push.locator("input[type=text]").fill("me/pirate")
    push.locator("input[type=password]").fill("hf_secret")
    push.locator(".ex-start").click()
    assert lab.heard.get(timeout=20) == (
        "export", {"kind": "hub", "repo": "me/pirate", "private": True, "token": "hf_secret"},
    )  # fmt: skip
    assert push.locator("input[type=password]").input_value() == ""


def test_the_form_hides_what_a_method_has_no_use_for() -> None:
    css = (Path(__file__).parents[2] / "assets" / "training.css").read_text(encoding="utf-8")
    rules = css[css.index(f"#{CONTROLS}") :]
    for name in (
        "r",
        "lora_alpha",
        "lora_dropout",
        "target_modules",
        "bias",
        "rank_pattern",
        "virtual_tokens",
        "packing",
        "label_all_tokens",
    ):
        assert f".bt-{name.replace('_', '-')}" in rules, name
