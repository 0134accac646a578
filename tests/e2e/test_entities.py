"""The Entities lab as a visitor uses it: find, take away, compare five ways, align, measure, read an edge's source."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tabs import Lab
from tests.e2e.conftest import served

LAB = "?tab=entities"
PATIENCE = 180_000
VIEW = "#entities-view"
LABS = (
    Lab("entities", "Entities", "Where the names are.", "tabs.entities"),
    Lab("finetuning", "Fine-tuning", "A model learns.", "tabs.finetuning"),
)
TEXT = "Marie Curie moved from Warsaw to Paris. In Paris she met Pierre Curie."
CONLL = """-DOCSTART- -X- O O

Marie I-PER
Curie I-PER
left O
Warsaw\tB-LOC

nothing O
here O

Paris I-LOC
waits O
"""

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def address(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab in this process, beside the one that it leads to."""
    with served(tmp_path_factory.mktemp("entities"), LABS) as url:
        yield url


@pytest.fixture
def visit(new_page: Open, address: str) -> Open:
    """Each visit is a new visitor; no page may throw an error."""

    def open_page(path: str = LAB, width: int = 1280, colours: str = "light") -> Page:
        page = new_page(width, colours)
        page.goto(address + path)
        expect(page.locator("#entities-run")).to_be_visible(timeout=PATIENCE)
        restored(page, "entities")
        return page

    return open_page


def restored(page: Page, lab: str) -> None:
    """The form holds what the address asks for."""
    page.wait_for_function(f"document.documentElement.dataset.restored?.includes('{lab}')", timeout=PATIENCE)


def run(page: Page) -> None:
    page.locator("#entities-run").click()


def finished(page: Page) -> None:
    expect(page.locator(f"{VIEW} .bs-state")).to_contain_text("finished", timeout=PATIENCE)


def marks(page: Page, inside: str = ".en-document") -> Locator:
    return page.locator(f"{VIEW} {inside} .en-mark")


def downloaded(page: Page, words: str) -> str:
    with page.expect_download() as waiting:
        page.locator(f"{VIEW} .en-file", has_text=words).click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_own_text_table_files_and_coming_back(visit: Open) -> None:
    page = visit()
    expect(page.locator(f"{VIEW} .bv-empty-title")).to_have_text("Entities will appear here")
    page.locator(".bt-text textarea").fill(TEXT)
    run(page)
    finished(page)
    shown = page.locator(f"{VIEW} .en-document .en-text")
    assert shown.evaluate("box => [...box.querySelectorAll('.en-label')].length") == marks(page).count() > 0
    first = marks(page).first
    expect(first).to_have_attribute("aria-label", re.compile(r", (PER|ORG|LOC), score \d\.\d{3}"))
    first.hover()
    expect(page.locator(f"{VIEW} .bv-tip")).to_contain_text("score")
    assert page.locator(f"{VIEW} .en-names tbody tr").count() > 0

    found = json.loads(downloaded(page, "JSON"))
    entities = found["documents"][0]["entities"]
    assert found["documents"][0]["text"] == TEXT
    assert len(entities) == marks(page).count()
    assert all(TEXT[one["start"] : one["end"]] == one["text"] for one in entities)
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "CSV"))))
    assert [row["text"] for row in rows] == [one["text"] for one in entities]
    conll = downloaded(page, "CoNLL")
    assert conll.startswith("-DOCSTART- O\n")
    assert re.search(r"^Warsaw (O|[BI]-\w+)$", conll, re.MULTILINE)

    page.reload()
    finished(page)
    expect(marks(page)).to_have_count(len(entities))
    page.locator("#entities-code summary").click()
    expect(page.locator("#entities-code pre")).to_contain_text("AutoModelForTokenClassification", timeout=PATIENCE)


def test_markup_is_shown_and_not_run(visit: Open) -> None:
    page = visit()
    hostile = (
        "<img src=x onerror=window.hit=1><script>window.hit=1</script> ${window.hit=1} Ada \U0001f642 met شركة Ltd."
    )
    page.locator(".bt-text textarea").fill(hostile)
    run(page)
    finished(page)
    shown = page.locator(f"{VIEW} .en-document .en-text")
    expect(shown).to_be_visible()
    texts = "box => [...box.childNodes].map(n => n.querySelector?.('.en-name')?.textContent ?? n.textContent).join('')"
    assert shown.evaluate(texts) == hostile
    assert page.evaluate("window.hit") is None


def test_an_edge_shows_its_sentence(visit: Open) -> None:
    page = visit()
    page.get_by_role("button", name="News and its graph").click()
    expect(page.locator(".bt-text textarea")).to_have_value(re.compile("BRUSSELS"), timeout=PATIENCE)
    run(page)
    finished(page)
    edge = page.locator(f"{VIEW} .en-edge").first
    edge.focus()
    page.keyboard.press("Enter")
    expect(edge).to_have_attribute("aria-pressed", "true")
    expect(page.locator(f"{VIEW} .en-sources-title")).to_contain_text(re.compile(r"together in \d+ sentence"))
    expect(page.locator(f"{VIEW} .en-sentences li").first).to_be_visible()
    page.locator(f"{VIEW} .en-node").first.click()
    expect(page.locator(f"{VIEW} .en-node.is-chosen").first).to_be_visible()


def test_five_ways_and_three_tokenizers(visit: Open) -> None:
    page = visit()
    page.get_by_role("button", name="Five strategies").click()
    expect(page.locator(".bt-data")).to_be_hidden(timeout=PATIENCE)
    run(page)
    finished(page)
    expect(page.locator(f"{VIEW} .en-way")).to_have_count(5)
    assert page.locator(f"{VIEW} .en-token").count() > 12
    counts = page.locator(f"{VIEW} .en-way-count").all_inner_texts()
    different = page.locator(f"{VIEW} .en-way .en-mark.is-different").count()
    assert different == sum(int(found[1]) for text in counts if (found := re.search(r", (\d+) not", text)))

    page.get_by_role("button", name="Three tokenizers").click()
    expect(page.locator(".bt-tags textarea")).to_have_value(re.compile("B-PER I-PER"), timeout=PATIENCE)
    run(page)
    cards = page.locator(f"{VIEW} .en-alignment")
    expect(cards).to_have_count(3, timeout=PATIENCE)
    finished(page)
    expect(cards.nth(0)).to_contain_text("[CLS]")
    expect(cards.nth(0)).to_contain_text("special token")
    for i in range(3):
        expect(cards.nth(i)).to_contain_text("Schmidhuber")
        expect(cards.nth(i).locator(".en-tag.is-ignored").first).to_have_text("-100")
        expect(cards.nth(i).locator(".en-tag", has_text="B-ORG")).to_have_count(1)


def test_the_check_set_and_an_error_in_place(visit: Open) -> None:
    page = visit(f"{LAB}&mode=evaluate&data=entities-check")
    expect(page.locator(".bt-text")).to_be_hidden(timeout=PATIENCE)
    run(page)
    finished(page)
    table = page.locator(f"{VIEW} .en-evaluation table")
    expect(table).to_contain_text("Strict")
    expect(table).to_contain_text("Lenient")
    for kind in ("PER", "ORG", "LOC"):
        expect(table.locator("tbody tr", has_text=kind)).to_contain_text(re.compile(r"\d\.\d{3}"))
    expect(page.locator(f"{VIEW} [data-who=gold]")).to_contain_text("every sequence is valid IOB2")
    error = page.locator(f"{VIEW} .en-error").first
    error.locator("button").click()
    expect(error.locator("button")).to_have_attribute("aria-expanded", "true")
    word = error.locator(".en-compare-word.is-wrong").first
    above, text, below = (word.locator("> span").nth(i).bounding_box() for i in range(3))
    assert above is not None
    assert text is not None
    assert below is not None
    assert above["y"] < text["y"] < below["y"]
    assert word.locator(".en-tag").first.inner_text() != word.locator(".en-tag").last.inner_text()


def test_an_uploaded_conll_file_is_measured_and_leads_to_a_training(visit: Open, tmp_path: Path) -> None:
    page = visit(f"{LAB}&mode=evaluate")
    (tmp_path / "mine.conll").write_text(CONLL, encoding="utf-8")
    page.locator("#entities-controls input[type=file]").set_input_files(tmp_path / "mine.conll")
    expect(page.locator(".bt-data input")).to_have_value(re.compile("mine.conll"), timeout=PATIENCE)
    run(page)
    finished(page)
    expect(page.locator(f"{VIEW} .en-evaluation")).to_contain_text("3 sentences of mine.conll")
    expect(page.locator(f"{VIEW} [data-who=gold]")).to_contain_text(re.compile("begins? a sentence with I-"))
    page.locator(f"{VIEW} .en-train").click()
    restored(page, "finetuning")
    expect(page.locator("#finetuning-controls .bt-data input")).to_have_value(
        re.compile(r"mine\.conll|upload:"), timeout=PATIENCE
    )
    expect(page.locator("#finetuning-controls .bt-model input")).to_have_value(re.compile("MiniLM"))


def test_several_documents_and_bad_input_in_sentences(visit: Open, tmp_path: Path) -> None:
    page = visit()
    (tmp_path / "one.txt").write_text("Ada Lovelace lived in London.", encoding="utf-8")
    (tmp_path / "two.md").write_bytes("In Zürich wohnt Ada.".encode("latin-1"))
    files = [tmp_path / "one.txt", tmp_path / "two.md"]
    page.locator("#entities-controls input[type=file]").set_input_files(files)
    expect(page.locator(".bt-data input")).to_have_value(re.compile("2 documents"), timeout=PATIENCE)
    run(page)
    finished(page)
    expect(page.locator(f"{VIEW} .en-document-name")).to_have_text(["one.txt", "two.md"])
    expect(page.locator(f"{VIEW} .bs-notes")).to_contain_text("Windows-1252")
    expect(page.locator(f"{VIEW} .en-document").nth(1)).to_contain_text("Zürich")
    page.reload()
    finished(page)
    expect(page.locator(f"{VIEW} .en-document-name")).to_have_count(2)
    expect(page.locator(".toast-wrap")).not_to_contain_text("Link not restored")

    page = visit(f"{LAB}&mode=alignment&tags=B-PER")
    run(page)
    expect(page.locator(f"{VIEW} .bv-message")).to_contain_text("and 1 tag", timeout=PATIENCE)
    assert "Traceback" not in page.content()


def test_a_narrow_page_does_not_scroll_sideways_in_either_colour(visit: Open) -> None:
    page = visit(LAB, 390, "dark")
    run(page)
    finished(page)
    grounds = set()
    for colours in ("dark", "light"):
        page.emulate_media(color_scheme=colours)
        expect(page.locator("body")).to_have_class(
            re.compile("dark") if colours == "dark" else re.compile("^(?!.*dark)")
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        grounds.add(marks(page).first.evaluate("mark => getComputedStyle(mark).backgroundColor"))
    assert len(grounds) == 2
    controls, view = page.locator(".bt-controls").first.bounding_box(), page.locator(VIEW).bounding_box()
    assert controls is not None
    assert view is not None
    assert controls["y"] + controls["height"] <= view["y"]
