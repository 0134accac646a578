"""The Quantization lab as a visitor uses it: compare, plan, look into a layer, sweep, read a chat, save, come back."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tabs import Lab
from tests.e2e.conftest import served, shared_link

PATIENCE = 90_000
VIEW = "#quantization-view"
LABS = (Lab("quantization", "Quantization", "What each bit costs.", "tabs.quantization"),)
MARKUP = "<img src=x onerror=window.hit=1> ${window.hit=1}"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def address(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab alone, in this process."""
    with served(tmp_path_factory.mktemp("quantization"), LABS) as url:
        yield url


@pytest.fixture
def visit(new_page: Open, address: str) -> Open:
    """Each visit is a new visitor, with inputs from the address; no page may throw an error."""

    def open_page(width: int = 1280, colours: str = "light", **inputs: object) -> Page:
        page = new_page(width, colours)
        page.goto(f"{address}?{urlencode({'tab': 'quantization', **inputs})}")
        expect(page.locator("#quantization-run")).to_be_visible(timeout=PATIENCE)
        page.wait_for_function("document.documentElement.dataset.restored?.includes('quantization')", timeout=PATIENCE)
        if mode := inputs.get("mode"):  # the inputs of the address are in their places
            controls = page.locator("#quantization-controls")
            expect(controls).to_have_attribute("data-mode", str(mode), timeout=PATIENCE)
        return page

    return open_page


def ended(page: Page) -> Locator:
    """Wait for the end of the run on show; the view."""
    view = page.locator(VIEW)
    expect(view.locator(".qz-state")).to_contain_text("finished", timeout=PATIENCE)
    return view


def run(page: Page) -> Locator:
    """Press Run and wait for its end; the view."""
    page.locator("#quantization-run").click()
    return ended(page)


def number(text: str) -> float:
    """A number as the page writes it."""
    found = re.search(r"[−+-]?\d[\d,]*\.?\d*", text)
    assert found, text
    return float(found[0].replace("−", "-").replace(",", ""))


def drawn(figure: Locator) -> None:
    expect(figure.locator(".bf-plot .main-svg").first).to_be_visible(timeout=PATIENCE)


QUICK = {"schemes": "float32,bfloat16,nf4", "new_tokens": 8, "scored_tokens": 64, "repeats": 1}


def test_compare_reads_like_a_table_and_a_figure_and_is_there_after_a_reload(visit: Open) -> None:
    page = visit(prompt=MARKUP, **QUICK)
    expect(page.locator(f"{VIEW} .bv-empty-title")).to_have_text("Measurements will appear here")
    view = run(page)
    rows = view.locator(".qz-schemes tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("reference")
    expect(rows.first).to_contain_text(re.compile(r"\d\.\d+ MB\s*plan \d"))
    assert view.locator(".qz-schemes .qz-badge.is-front").count() >= 1
    drawn(view.locator(".qz-front"))
    view.locator(".qz-front select").first.select_option(label="Decode")
    expect(view.locator(".qz-front .bf-plot")).to_have_attribute("aria-label", re.compile("Decode"))
    expect(view.locator(".qz-text")).to_have_count(3)
    with page.expect_download() as download:
        view.locator(".qz-schemes .qz-files a", has_text="csv").click()
    assert "nf4" in Path(download.value.path()).read_text(encoding="utf-8-sig")

    page.reload()
    expect(rows).to_have_count(3, timeout=PATIENCE)
    assert page.evaluate("window.hit") is None
    page.locator("#quantization-code summary").click()
    expect(page.locator("#quantization-code pre")).to_contain_text("from_pretrained", timeout=PATIENCE)

    other = visit()
    other.goto(shared_link(page))
    expect(other.locator(f"{VIEW} .qz-schemes tbody tr")).to_have_count(3, timeout=PATIENCE)
    expect(other.locator(f"{VIEW} .qz-files a")).to_have_count(0)  # files are their owner's


def test_a_plan_needs_no_weights(visit: Open) -> None:
    page = visit(mode="plan", model="mistralai/Mistral-7B-Instruct-v0.3")
    view = run(page)
    expect(view.locator(".qz-plan")).to_contain_text("estimate")
    drawn(view.locator(".qz-plan"))
    table = view.locator(".qz-verdicts tbody")
    expect(table.locator("tr", has_text="full").locator(".qz-verdict").first).to_contain_text("does not fit")
    expect(table.locator(".qz-verdict.is-fits").first).to_contain_text("fits")
    drawn(view.locator(".qz-cache"))


def test_a_slider_of_the_lens_looks_again_and_keeps_what_is_shown(visit: Open) -> None:
    page = visit(mode="lens", bits=8)
    view = run(page)
    lens = view.locator(".qz-lens")
    expect(lens.locator("h3")).to_contain_text("proj")
    drawn(lens)
    before = number(lens.locator(".qz-fact", has_text="SNR").first.locator("dd").inner_text())
    page.locator(".bt-bits input[type=number]").fill("3")
    page.locator(".bt-bits input[type=number]").press("Enter")
    snr = lens.locator(".qz-fact", has_text="SNR").first.locator("dd")
    page.wait_for_function(
        "([at, was]) => { const dd = [...document.querySelectorAll(at)].find((d) => d.textContent.endsWith('dB'));"
        " return dd && Math.abs(parseFloat(dd.textContent) - was) > 5; }",
        arg=[f"{VIEW} .qz-lens .qz-fact dd", before],
        timeout=PATIENCE,
    )
    assert number(snr.inner_text()) < before - 5
    expect(lens).to_be_visible()
    expect(view.locator(".qz-state")).to_contain_text("finished", timeout=PATIENCE)


def test_a_bar_of_the_sweep_opens_its_layer_and_leads_back(visit: Open) -> None:
    page = visit(mode="sweep", bits=3)
    view = run(page)
    bars = view.locator(".qz-layer")
    assert bars.count() > 8
    expect(view.locator(".qz-sweep .qz-sentence")).not_to_be_empty()
    name = bars.nth(3).get_attribute("data-layer") or "?"
    bars.nth(3).click()
    expect(view.locator(".qz-lens h3")).to_have_text(name, timeout=PATIENCE)
    expect(page.locator("#quantization-controls")).to_have_attribute("data-mode", "lens")
    view.locator(".qz-back").click()
    expect(bars.nth(3)).to_be_visible(timeout=PATIENCE)


def test_a_conversation_is_edited_and_read_in_each_format(visit: Open) -> None:
    page = visit(mode="chat")
    turns = page.locator("#quantization-turns .qz-turn")
    expect(turns.first).to_be_visible()
    page.locator(".qz-add").click()
    turns.last.locator("select").select_option("user")
    turns.last.locator("textarea").fill(f"Tell me more. {MARKUP}")
    page.wait_for_timeout(600)  # the address follows what is typed
    view = run(page)
    formats = view.locator(".qz-format")
    assert formats.count() >= 4
    chatml = view.locator(".qz-format[data-format=chatml]")
    expect(chatml).to_contain_text("<|im_start|>")
    expect(chatml).to_contain_text("Tell me more. <img src=x")
    view.locator(".qz-formats .qz-segment", has_text="Tokens").click()
    assert chatml.locator(".qz-token").count() > 10
    assert page.evaluate("window.hit") is None
    assert "conversation=" in page.url


def test_a_checkpoint_is_saved_with_its_certificate(visit: Open) -> None:
    page = visit(mode="save")
    view = run(page)
    expect(view.locator(".qz-certificate .qz-verdict").first).to_contain_text("pass")
    with page.expect_download() as download:
        view.locator(".qz-saved .qz-files a").first.click()
    packed = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert any(name.endswith(".safetensors") for name in packed.namelist())


def test_a_mode_shows_its_own_fields_and_bad_input_is_one_sentence(visit: Open) -> None:
    page = visit(mode="lens", method="magnitude")
    expect(page.locator(".bt-sparsity")).to_be_visible()
    for hidden in (".bt-prompt", ".bt-schemes", ".bt-bits", ".bt-context", ".bt-scheme", "#quantization-turns"):
        expect(page.locator(hidden)).to_be_hidden()
    layer = page.locator(".bt-layer input")
    layer.fill("no.such.layer")
    layer.press("Enter")
    page.locator("#quantization-run").click()
    expect(page.locator(f"{VIEW} .bv-message")).to_contain_text("no.such.layer", timeout=PATIENCE)
    assert "Traceback" not in page.content()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_narrow_page_does_not_scroll_sideways(visit: Open, colours: str) -> None:
    page = visit(390, colours, mode="plan" if colours == "dark" else "lens")
    view = run(page)
    controls, shown = page.locator(".bt-controls").bounding_box(), view.bounding_box()
    assert controls is not None
    assert shown is not None
    assert controls["y"] + controls["height"] <= shown["y"]
    drawn(view)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
