"""Figures: their library's route, the numbers behind smoothing, and what a real browser draws."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from gradio.routes import App

from tabs.page import head, launch_options
from tabs.routes import add_routes
from tabs.widgets.figures import CYCLE, library, packed_library, smoothed
from tests.fakes_views import RunsOnly

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: requirements-dev.txt has it"
)
from playwright.sync_api import Browser, Page, expect  # noqa: E402

CSS = (Path(__file__).parents[2] / "assets" / "training.css").read_text(encoding="utf-8")
NASTY = "<img src=x onerror=window.hit()><b>bold</b> & ${window.hit()}"
MOUNT = "<div id='here' style='width:600px'></div>"


def line(count: int = 3, **more: Any) -> dict[str, Any]:
    points = {"x": list(range(count)), "y": [3.0 / (1 + i) for i in range(count)]}
    return {
        "title": "Loss", "x": {"title": "step"}, "y": {"title": "nats per token"},
        "traces": [{"name": "train", **points}], **more,
    }  # fmt: skip


# --- Python ----------------------------------------------------------------------------------------------------------


def test_smoothing_starts_unbiased_and_keeps_gaps() -> None:
    assert smoothed([4.0, 4.0, 4.0], 0.9) == pytest.approx([4.0, 4.0, 4.0])
    assert smoothed([2.0, None, 4.0], 0.5) == [2.0, None, pytest.approx((0.5 * 0.5 * 2 + 0.5 * 4) / 0.75)]
    assert smoothed([1.0, math.nan], 0.5) == [1.0, None]
    assert smoothed([1.0, 9.0], 0) == [1.0, 9.0]


def test_the_library_is_the_installed_packages_own_file() -> None:
    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.Textbox()
    blocks.auth = blocks.auth_message = None
    app = App.create_app(blocks)
    add_routes(app, RunsOnly(), {})  # type: ignore[arg-type]
    answer = TestClient(app).get("/figures/plotly.min.js")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.content == library().read_bytes() == gzip.decompress(packed_library())


def test_the_head_names_the_version_and_no_other_host() -> None:
    assert re.search(r'benchtop\.plotly = "\d+\.\d+', head())
    assert not re.search(r"(src|href)=['\"]https?:", head())


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("scope", "ground"), [(":root {", "#FFFFFF"), (":root .dark {", "#191D20")])
def test_every_colour_of_the_cycle_can_be_seen_on_its_ground(scope: str, ground: str) -> None:
    block = CSS.split(scope, 1)[1].split("}", 1)[0]
    colours = dict(re.findall(r"--bt-(c\d): (#[0-9A-F]{6})", block))
    assert list(colours) == [f"c{i}" for i in range(CYCLE)]
    assert len(set(colours.values())) == CYCLE
    for name, colour in colours.items():
        light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, name


# --- the browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(chromium: Browser) -> Iterator[str]:
    services = RunsOnly()
    with gr.Blocks(fill_width=True, analytics_enabled=False) as demo:
        gr.HTML(None, html_template=MOUNT, js_on_load=None)
    options = launch_options(services)  # type: ignore[arg-type]
    app, url, _ = demo.launch(prevent_thread_lock=True, server_name="127.0.0.1", **options)
    add_routes(app, services, {})  # type: ignore[arg-type]
    yield url
    demo.close()


@pytest.fixture
def tab(chromium: Browser, served: str) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 900, "height": 700}, color_scheme="light")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            faults.append(asked.url) if "127.0.0.1" not in asked.url[:40] and asked.url.startswith("http") else None
        ),
    )
    page.add_init_script("window.hits = 0; window.hit = () => { window.hits += 1; };")
    page.goto(served)
    page.wait_for_selector("#here", state="attached")
    yield page
    assert page.evaluate("window.hits") == 0
    context.close()
    assert faults == []


DRAWN = {
    "bar": "#here .barlayer path",
    "heatmap": "#here .heatmaplayer image",
    "contour": "#here .contourlayer path",
}


def mount(page: Page, spec: dict[str, Any]) -> None:
    page.evaluate(f"window.figure = benchtop.figures.mount(document.querySelector('#here'), {json.dumps(spec)})")


def update(page: Page, spec: dict[str, Any]) -> None:
    page.evaluate(f"window.figure.update({json.dumps(spec)})")


def points(page: Page) -> list[int]:
    return page.evaluate("[...document.querySelectorAll('#here .js-plotly-plot')].map((p) => p.data[0].x.length)")


def test_a_figure_waits_grows_in_place_and_goes(tab: Page) -> None:
    mount(tab, line(0, empty="The loss will be here."))
    expect(tab.locator("#here .bf-empty")).to_have_text("The loss will be here.")
    update(tab, line(3))
    tab.wait_for_selector("#here .js-plotly-plot .scatterlayer path.js-line", timeout=20_000)
    first = tab.locator("#here .main-svg").first.element_handle()
    update(tab, line(40))
    tab.wait_for_function("document.querySelector('#here .js-plotly-plot').data[0].x.length === 40")
    assert first.evaluate("e => e.isConnected")
    expect(tab.locator("#here .xtitle")).to_have_text("step")
    expect(tab.locator("#here .ytitle")).to_have_text("nats per token")
    assert tab.locator("#here .bf-plot").get_attribute("aria-label") == (
        "Loss, nats per token; over step; train: 40 points, last 0.075"
    )
    tab.evaluate("window.figure.destroy()")
    assert tab.locator("#here .bf-figure").count() == 0


def test_the_library_is_fetched_once_for_many_figures(tab: Page) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    for _ in range(3):
        mount(tab, line(5))
    tab.wait_for_function("document.querySelectorAll('#here .js-plotly-plot .js-line').length === 3", timeout=20_000)
    assert len([url for url in asked if "plotly.min.js?v=" in url]) == 1


def test_names_stay_text_and_keys_hide_a_line(tab: Page) -> None:
    two = [{"name": NASTY, "x": [0, 1], "y": [1, 2]}, {"name": "eval", "x": [0, 1], "y": [2, 1.25], "dash": "dot"}]
    mount(tab, line(traces=two, title=NASTY, x={"title": NASTY}, shapes=[{"x": 0.5, "text": NASTY}]))
    tab.wait_for_selector("#here .js-plotly-plot .js-line", timeout=20_000)
    expect(tab.locator("#here .bf-title")).to_have_text(NASTY)
    expect(tab.locator("#here .xtitle")).to_have_text(NASTY)
    expect(tab.locator("#here .bf-key-name")).to_have_text([NASTY, "eval"])
    expect(tab.locator("#here .bf-key-value")).to_have_text(["2", "1.25"])
    assert tab.locator("#here img, #here b").count() == 0
    tab.locator("#here .bf-key").first.click()
    expect(tab.locator("#here .bf-key").first).to_have_attribute("aria-pressed", "false")
    tab.wait_for_function("document.querySelector('#here .js-plotly-plot').data.length === 1")


def test_the_theme_repaints_every_figure(tab: Page) -> None:
    mount(tab, line(5))
    tab.wait_for_selector("#here .js-plotly-plot .js-line", timeout=20_000)
    before = tab.evaluate("document.querySelector('#here .js-plotly-plot').data[0].line.color")
    tab.evaluate("benchtop.toggleTheme()")
    tab.wait_for_function(f"document.querySelector('#here .js-plotly-plot').data[0].line.color !== '{before}'")
    assert (before, tab.evaluate("document.querySelector('#here .js-plotly-plot').data[0].line.color")) == (
        "#0F766E",
        "#2DD4BF",
    )


def test_a_figure_out_of_sight_is_drawn_once_it_is_seen_and_follows_its_width(tab: Page) -> None:
    tab.evaluate("document.querySelector('#here').style.display = 'none'")
    mount(tab, line(5))
    tab.evaluate("benchtop.figures.load()")
    assert tab.locator("#here .js-plotly-plot").count() == 0
    tab.evaluate("document.querySelector('#here').style.display = 'block'")
    tab.wait_for_selector("#here .js-plotly-plot .js-line", timeout=20_000)
    tab.evaluate("document.querySelector('#here').style.width = '320px'")
    tab.wait_for_function("document.querySelector('#here .main-svg').clientWidth <= 320")


@pytest.mark.parametrize("kind", DRAWN)
def test_other_kinds_draw(tab: Page, kind: str) -> None:
    trace = {"kind": kind, "x": [0, 1], "y": [0, 1], "z": [[0, 1], [1, 0]], "text": [["a", "b"], ["c", NASTY]]}
    if kind == "bar":
        trace = {"kind": kind, "x": ["happy", NASTY], "y": [3, 4], "name": "labels", "fill": "tozeroy"}
    mount(tab, line(traces=[trace]))
    tab.wait_for_selector(DRAWN[kind], state="attached", timeout=20_000)


def test_the_browser_smooths_and_thins_as_promised(tab: Page) -> None:
    values = [3.0, None, 2.0, 2.5, 1.0]
    found = tab.evaluate(f"benchtop.figures.smoothed({json.dumps(values)}, 0.6)")
    assert found == pytest.approx(smoothed(values, 0.6))
    spike = [1.0] * 10_000
    spike[6_789] = 99.0
    x, y = tab.evaluate(f"benchtop.figures.thinned([...Array(10000).keys()], {json.dumps(spike)})")
    assert len(x) <= 1_510
    assert max(y) == 99.0
    assert x[y.index(99.0)] == 6_789
    assert (x[0], x[-1], x) == (0, 9_999, sorted(x))
