"""The Sentiment lab as a visitor uses it: label, ask why, change a word, measure, correct rows, compare, come back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tabs import Lab
from tests.e2e.conftest import served

PATIENCE = 120_000
VIEW = "#sentiment-view"
LABS = (Lab("sentiment", "Sentiment", "A small encoder labels your texts.", "tabs.sentiment"),)
MARKUP = "<img src=x onerror=window.hit=1><script>window.hit=1</script> What a lovely day."

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def address(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab alone, in this process."""
    with served(tmp_path_factory.mktemp("sentiment"), LABS) as url:
        yield url


@pytest.fixture
def visit(new_page: Open, address: str) -> Open:
    """Each visit is a new visitor, with inputs from the address; no page may throw an error."""

    def open_page(width: int = 1280, colours: str = "light", **inputs: object) -> Page:
        page = new_page(width, colours)
        page.goto(f"{address}?{urlencode({'tab': 'sentiment', **inputs})}")
        expect(page.locator("#sentiment-run")).to_be_visible(timeout=PATIENCE)
        page.wait_for_function("document.documentElement.dataset.restored?.includes('sentiment')", timeout=PATIENCE)
        if mode := inputs.get("mode"):  # the inputs of the address are in their places
            expect(page.locator("#sentiment-controls")).to_have_attribute("data-mode", str(mode), timeout=PATIENCE)
        return page

    return open_page


def run(page: Page) -> Locator:
    """Press Run and wait for its end; the view."""
    page.locator("#sentiment-run").click()
    view = page.locator(VIEW)
    expect(view.locator(".sn-state")).to_contain_text("finished", timeout=PATIENCE)
    return view


def number(text: str) -> float:
    """A number as the page writes it."""
    found = re.search(r"[−+-]?\d[\d,]*\.?\d*", text)
    assert found, text
    return float(found[0].replace("−", "-").replace(",", ""))


def test_own_texts_get_probabilities_stay_text_and_are_there_after_a_reload(visit: Open) -> None:
    page = visit()
    expect(page.locator(f"{VIEW} .bv-empty-title")).to_have_text("Labels will appear here")
    page.locator(".bt-text textarea").fill(f"{MARKUP}\n😀😀\nهذا رائع جدا")
    view = run(page)
    rows = view.locator(".sn-rows tbody tr:not(.sn-below)")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("<img src=x onerror=window.hit=1><script>window.hit=1</script>")
    shares = [number(text) for text in rows.first.locator(".sn-bars .sn-number").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    with page.expect_download() as download:
        view.locator(".sn-files a").click()
    written = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert written[0] == "text,label,probability,p_negative,p_positive"
    assert len(written) == 4

    page.reload()
    expect(rows).to_have_count(3, timeout=PATIENCE)
    assert page.evaluate("window.hit") is None
    page.locator("#sentiment-code summary").click()
    expect(page.locator("#sentiment-code pre")).to_contain_text("transformers", timeout=PATIENCE)


def test_why_by_two_methods_with_their_sums(visit: Open) -> None:
    view = run(visit(mode="explain", text="The plot is dull, but the songs are wonderful."))
    methods = view.locator(".sn-attributions .sn-method")
    expect(methods).to_have_count(2)
    for method in methods.all():
        expect(method.locator(".sn-flow")).to_have_text("The plot is dull, but the songs are wonderful.")
        assert method.locator(".sn-word").count() == 11  # punctuation is words of its own
        total, expected, gap = (number(text) for text in method.locator(".sn-sum .sn-number").all_inner_texts())
        assert abs(abs(total - expected) - abs(gap)) < 0.003
    integrated = methods.first.locator(".sn-sum .sn-number").all_inner_texts()
    assert abs(number(integrated[2])) < 0.1 * max(1.0, abs(number(integrated[1])))  # completeness
    methods.first.locator(".sn-word.is-for, .sn-word.is-against").first.hover()
    expect(view.locator(".bv-tip")).to_contain_text(re.compile(r"(for|against) (positive|negative)"))


def test_what_if_shows_the_edit_beside_the_original(visit: Open) -> None:
    view = run(visit(mode="whatif", text="The food was good.", edited="The food was awful.", swaps="negation"))
    versions = view.locator(".sn-variant")
    expect(versions.first).to_contain_text("The food was good.")
    edited = versions.filter(has_text="awful")
    expect(edited.locator("del")).to_have_text(re.compile("good"))
    expect(edited.locator("ins")).to_have_text(re.compile("awful"))
    before = number(versions.first.locator(".sn-number").last.inner_text())
    after = number(edited.locator(".sn-bars .sn-number").last.inner_text())
    told = number(edited.locator(".sn-deltas .sn-number").last.inner_text().removeprefix("positive "))
    assert after - before == pytest.approx(told, abs=0.25)


def test_evaluate_move_the_threshold_open_a_cell_ask_why_and_correct(visit: Open) -> None:
    page = visit(mode="evaluate", data="reviews-check", rows=60)
    view = run(page)
    expect(view.locator(".sn-scores")).to_contain_text("on 60 labelled rows")
    expect(view.locator(".sn-threshold .bf-plot .main-svg").first).to_be_visible(timeout=PATIENCE)
    cells = view.locator(".sn-threshold .sn-cell")
    at_half = [number(text) for text in cells.all_inner_texts()]
    assert sum(at_half) == 60
    view.locator(".sn-slider input").fill("0")
    expect(view.locator(".sn-slider output")).to_have_text("0.000")
    assert number(cells.first.inner_text()) == 0  # nothing is called negative any more
    expect(view.locator(".sn-fact", has_text="recall")).to_contain_text("1.000")
    cells.nth(1).click()
    rows = view.locator(".sn-example")
    expect(view.locator(".sn-examples h3")).to_have_text("negative taken for positive at 0.000")
    expect(rows.first).to_contain_text("positive")

    rows.first.locator(".sn-ask").click()
    expect(rows.first.locator(".sn-method")).to_have_count(2, timeout=PATIENCE)
    rows.first.locator("select").select_option(label="positive (new)")
    rows.nth(1).locator("select").select_option(label="drop the row")
    expect(view.locator(".sn-train")).to_contain_text("1 row relabelled, 1 row dropped")
    expect(rows.first.locator(".sn-method")).to_have_count(2)


def test_compare_says_whether_it_could_be_chance(visit: Open) -> None:
    view = run(visit(mode="compare", data="reviews-check", rows=60))
    expect(view.locator(".sn-models tbody tr")).to_have_count(2)
    expect(view.locator(".sn-models tbody tr").first).to_contain_text("reference")
    expect(view.locator(".sn-pair")).to_contain_text(re.compile("chance|no difference"))
    everything = view.locator(".sn-filters button").first
    expect(everything).to_have_text(re.compile(r"all \(\d+\)"))
    expect(view.locator(".sn-changes tbody tr:not(.sn-below)")).to_have_count(int(number(everything.inner_text())))


def test_a_file_with_a_chosen_column(visit: Open, tmp_path: Path) -> None:
    page = visit()
    file = tmp_path / "opinions.csv"
    file.write_text("id,opinion,other\n1,I love it.,a\n2,I hate it.,b\n", encoding="utf-8")
    with page.expect_file_chooser() as chooser:
        page.locator("#sentiment-upload").click()
    chooser.value.set_files(file)
    column = page.locator(".bt-text-column input")
    expect(column).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".bt-text textarea")).to_be_hidden()
    column.click()
    page.get_by_role("option", name="opinion").click()
    view = run(page)
    expect(view.locator(".sn-rows tbody tr:not(.sn-below)")).to_have_count(2)
    expect(view.locator(".sn-rows tbody tr:not(.sn-below)").first).to_contain_text("I love it.")


def test_a_mode_shows_its_own_fields_and_bad_input_is_one_sentence(visit: Open) -> None:
    page = visit(mode="bias")
    expect(page.locator(".bt-templates")).to_be_visible()
    for hidden in (".bt-text", ".bt-data", ".bt-models", ".bt-edited", "#sentiment-upload"):
        expect(page.locator(hidden)).to_be_hidden()
    page.locator(".bt-templates textarea").fill("Nobody is here.")
    page.locator("#sentiment-run").click()
    expect(page.locator(".toast-wrap")).to_contain_text("has no {name}", timeout=PATIENCE)
    assert "Traceback" not in page.content()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_narrow_page_does_not_scroll_sideways(visit: Open, colours: str) -> None:
    page = visit(390, colours, mode="evaluate", data="reviews-check", rows=30)
    view = run(page)
    controls, shown = page.locator(".bt-controls").bounding_box(), view.bounding_box()
    assert controls is not None
    assert shown is not None
    assert controls["y"] + controls["height"] <= shown["y"]
    view.locator(".sn-cell").first.click()
    expect(view.locator(".sn-examples h3")).to_contain_text("taken for")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
