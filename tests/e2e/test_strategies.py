"""The Strategies lab as a visitor uses it: choose, run, switch axes, watch the boundary, stop, reload, share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tabs import Lab
from tests.e2e.conftest import served, shared_link

LAB = "?tab=strategies"
PATIENCE = 180_000
VIEW = "#strategies-view"
QUICK = f"{LAB}&data=moons&examples=60&budget=3&batch_size=8"
LONG = f"{LAB}&data=moons&examples=900&budget=200"
LABS = (Lab("strategies", "Strategies", "The same models learn on equal terms.", "tabs.strategies"),)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def address(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab alone, in this process."""
    with served(tmp_path_factory.mktemp("strategies"), LABS) as url:
        yield url


@pytest.fixture
def visit(new_page: Open, address: str) -> Open:
    """Each visit is a new visitor; no page may throw an error."""

    def open_page(path: str = LAB, width: int = 1280, colours: str = "light") -> Page:
        page = new_page(width, colours)
        page.goto(address + path)
        expect(page.locator("#strategies-run")).to_be_visible(timeout=PATIENCE)
        if found := re.search(r"budget=(\d+)", path):  # the inputs of the address are in their places
            expect(page.locator(".bt-budget input")).to_have_value(found[1], timeout=PATIENCE)
        return page

    return open_page


def run(page: Page) -> None:
    page.locator("#strategies-run").click()


def finished(page: Page) -> None:
    expect(page.locator(f"{VIEW} .bs-state")).to_contain_text("finished", timeout=PATIENCE)


def test_run_look_switch_and_come_back(visit: Open) -> None:
    page = visit(QUICK)
    expect(page.locator(f"{VIEW} .bv-empty-title")).to_have_text("Curves will appear here")
    run(page)
    finished(page)
    scores = page.locator(f"{VIEW} .bs-scores tbody tr")
    expect(scores).to_have_count(3)
    expect(scores.nth(1)).to_contain_text(re.compile(r"Mini-batch 8.*\d\d\.\d%"))
    expect(page.locator(f"{VIEW} .bs-matrix")).to_have_count(3)
    expect(page.locator(f"{VIEW} .bs-curves .bf-plot .main-svg").first).to_be_visible(timeout=PATIENCE)

    loss = page.locator(f"{VIEW} .bs-curves .bf-plot").first
    expect(loss).to_have_attribute("aria-label", re.compile("over epochs"))
    for name, words in (
        ("Examples", "over examples"),
        ("Steps", "over optimizer steps"),
        ("Seconds", "over seconds"),
    ):
        page.locator(f"{VIEW} .bs-axis").get_by_text(name, exact=True).click()
        expect(loss).to_have_attribute("aria-label", re.compile(words))
    page.locator(f"{VIEW} .bs-key").first.click()
    expect(page.locator(f"{VIEW} .bs-key").first).to_have_attribute("aria-pressed", "false")
    expect(loss).not_to_have_attribute("aria-label", re.compile("Full batch"))

    page.reload()
    finished(page)
    expect(scores).to_have_count(3)
    page.locator("#strategies-code summary").click()
    expect(page.locator("#strategies-code pre")).to_contain_text("def gradients", timeout=PATIENCE)


def test_the_boundary_moves_and_can_be_replayed(visit: Open) -> None:
    page = visit(QUICK)
    run(page)
    cells = page.locator(f"{VIEW} .bs-toy-cell canvas")
    expect(cells).to_have_count(3, timeout=PATIENCE)
    finished(page)
    told = page.locator(f"{VIEW} .bs-toy-controls span")
    expect(told).to_have_text("100% of the budget", timeout=PATIENCE)
    picture = "canvas => canvas.toDataURL()"
    slider = page.locator(f"{VIEW} .bs-toy-controls input")
    slider.fill(slider.get_attribute("max") or "")  # the last frame as it stands, whatever was drawn on the way
    last = cells.nth(2).evaluate(picture)
    slider.fill("0")
    expect(told).to_have_text("0% of the budget")
    assert cells.nth(2).evaluate(picture) != last
    page.locator(f"{VIEW} .bs-play").click()
    expect(told).to_have_text("100% of the budget", timeout=PATIENCE)
    assert cells.nth(2).evaluate(picture) == last


def test_stop_keeps_the_curves_and_a_shared_run_is_seen_by_others(visit: Open) -> None:
    page = visit(LONG)
    run(page)
    expect(page.locator(f"{VIEW} .bs-toy-cell")).to_have_count(3, timeout=PATIENCE)
    page.locator("#strategies-stop").click()
    expect(page.locator(f"{VIEW} .bs-state")).to_contain_text("stopped", timeout=15_000)
    expect(page.locator(f"{VIEW} .bs-scores tbody")).to_contain_text("stopped")

    link = shared_link(page)
    other = visit()
    expect(other.locator(f"{VIEW} .bv-empty-title")).to_have_text("Curves will appear here")
    other.goto(link)
    expect(other.locator(f"{VIEW} .bs-state")).to_contain_text("stopped", timeout=PATIENCE)


def test_accumulation_and_overfitting_presets_say_so(visit: Open) -> None:
    page = visit()
    page.get_by_role("button", name="Accumulation = the large batch").click()
    expect(page.locator(".bt-strategies .token")).to_have_count(2, timeout=PATIENCE)
    run(page)
    finished(page)
    expect(page.locator(f"{VIEW} .bs-checks .is-same")).to_contain_text("equal to rounding")
    page.get_by_role("button", name="Overfitting").click()
    expect(page.locator(".bt-strategies .token")).to_have_count(1, timeout=PATIENCE)
    run(page)
    expect(page.locator(f"{VIEW} .bs-reading[data-name=overfitting]")).to_be_visible(timeout=PATIENCE)


def test_own_texts_stay_text_and_show_their_padding(visit: Open) -> None:
    page = visit(f"{LAB}&models=bag&strategies=mini&batch_size=2&budget=2")
    markup = "<img src=x onerror=window.hit=1>"
    lines = [f"{label}: {markup} {'word ' * i}{label}" for label in ("a", "b") for i in range(5)]
    page.get_by_role("button", name="Data and sampling").click()
    page.locator(".bt-texts textarea").fill("\n".join(lines))
    run(page)
    finished(page)
    expect(page.locator(f"{VIEW} .bs-batch")).to_have_count(3)
    expect(page.locator(f"{VIEW} .bs-waste").first).to_contain_text("% padding")
    expect(page.locator(f"{VIEW} .bs-way").first).to_contain_text("onerror")
    assert page.evaluate("window.hit") is None


def test_bad_input_is_one_sentence(visit: Open) -> None:
    page = visit(f"{LAB}&budget_kind=seconds&budget=20")
    page.locator(".bt-budget input").fill("400")
    run(page)
    expect(page.locator(".toast-wrap")).to_contain_text("at most 30 seconds", timeout=PATIENCE)
    assert "Traceback" not in page.content()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_narrow_page_does_not_scroll_sideways(visit: Open, colours: str) -> None:
    page = visit(QUICK, 390, colours)
    run(page)
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    controls, view = page.locator(".bt-controls").bounding_box(), page.locator(VIEW).bounding_box()
    assert controls is not None
    assert view is not None
    assert controls["y"] + controls["height"] <= view["y"]
