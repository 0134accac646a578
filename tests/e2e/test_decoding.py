"""The Decoding lab as a visitor uses it: type, run, look, branch, stop, reload, share; nobody sees another's runs."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import RunningApp, Visit, shared_link

LAB = "?tab=decoding"
PATIENCE = 60_000
TOKENS = "#run-view .bv-tok"
STATE = "#run-view .bv-state"
SLOW = "strategies=contrastive,sampling&contrastive_k=20&max_new_tokens=490&ignore_eos=true"


def ready(page: Page) -> Page:
    """Wait until the labs are warm, so that a test measures nothing but what it is about."""
    expect(page.locator("#bt-strip")).to_contain_text("labs ready", timeout=PATIENCE)
    expect(page.locator("#decoding-run")).to_be_visible(timeout=PATIENCE)
    page.wait_for_function("document.documentElement.dataset.restored?.includes('decoding')", timeout=PATIENCE)
    return page


def type_prompt(page: Page, text: str) -> None:
    page.locator(".bt-prompt textarea").fill(text)


def run(page: Page) -> None:
    page.locator("#decoding-run").click()


def finished(page: Page) -> None:
    expect(page.locator(STATE)).to_contain_text(re.compile(r"finished|done|\ds"), timeout=PATIENCE)
    expect(page.locator("#run-view .bv-card.is-running")).to_have_count(0, timeout=PATIENCE)


def texts(page: Page) -> list[str]:
    return page.locator("#run-view .bv-flow").all_inner_texts()


def long_run(page: Page) -> None:
    """Start something that goes on for a while."""
    page.goto(re.sub(r"\?.*", "", page.url) + f"{LAB}&{SLOW}")
    ready(page)
    run(page)
    expect(page.locator(TOKENS).nth(8)).to_be_visible(timeout=PATIENCE)


def test_type_run_look_branch_and_return(visit: Visit) -> None:
    page = ready(visit(LAB))
    type_prompt(page, "My dog Biscuit ran to the")
    run(page)
    expect(page.locator(TOKENS).nth(20)).to_be_visible(timeout=PATIENCE)
    finished(page)
    assert any("Biscuit" in text for text in texts(page))

    page.locator(TOKENS).nth(5).click()
    lens = page.locator("#microscope")
    expect(lens.locator(".bv-micro-title")).to_contain_text("Token 6 of Greedy", timeout=PATIENCE)
    expect(lens.locator(".bv-row.is-chosen")).to_have_count(1)
    assert lens.locator(".bv-row").count() >= 10

    before = page.locator(TOKENS).nth(5).inner_text()
    lens.locator(".bv-branch").first.click()
    expect(page.locator("#branches .bv-branch-open")).to_have_count(2, timeout=PATIENCE)
    expect(page.locator("#run-view .bv-card")).to_have_count(1)
    finished(page)
    assert page.locator(TOKENS).nth(5).inner_text() != before

    page.locator("#branches .bv-branch-open").first.click()
    expect(page.locator("#run-view .bv-card")).to_have_count(3, timeout=PATIENCE)


def test_reordering_the_stages_says_what_that_changes(visit: Visit) -> None:
    page = ready(visit(f"{LAB}&strategies=sampling&temperature=1.8&top_k=0&top_p=0.9"))
    run(page)
    finished(page)
    page.locator(TOKENS).nth(3).click()
    grip = page.locator("#microscope .bv-grip[data-stage=temperature]")
    expect(grip).to_be_visible(timeout=PATIENCE)
    grip.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        time.sleep(0.8)
    expect(page.locator("#microscope .bv-micro-changes")).to_contain_text("total variation", timeout=PATIENCE)


def test_stop_stops_and_keeps_what_is_there(visit: Visit) -> None:
    page = ready(visit(LAB))
    long_run(page)
    page.locator("#decoding-stop").click()
    expect(page.locator(STATE)).to_contain_text("stopped", timeout=10_000)
    count = page.locator(TOKENS).count()
    assert 8 < count < 980
    time.sleep(1)
    assert page.locator(TOKENS).count() == count


def test_a_reload_finds_the_run_again_and_it_goes_on(visit: Visit) -> None:
    page = ready(visit(f"{LAB}&strategies=greedy&by_hand=true"))  # it waits, however fast the machine is
    run(page)
    following = page.locator("#run-view .bv-next")
    for count in (1, 2):
        following.click(timeout=PATIENCE)
        expect(page.locator(TOKENS)).to_have_count(count, timeout=PATIENCE)
    page.reload()
    ready(page)
    expect(page.locator(TOKENS)).to_have_count(2, timeout=PATIENCE)
    following.click(timeout=PATIENCE)
    expect(page.locator(TOKENS)).to_have_count(3, timeout=PATIENCE)
    page.locator("#decoding-stop").click()
    expect(page.locator(STATE)).to_contain_text("stopped", timeout=10_000)


def test_by_hand_each_next_is_one_token(visit: Visit) -> None:
    page = ready(visit(f"{LAB}&strategies=greedy&by_hand=true"))
    run(page)
    following = page.locator("#run-view .bv-next")
    expect(following).to_be_visible(timeout=PATIENCE)
    for count in (1, 2, 3):
        following.click()
        expect(page.locator(TOKENS)).to_have_count(count, timeout=PATIENCE)
        expect(following).to_be_visible(timeout=PATIENCE)
    page.locator("#run-view .bv-run-on").click()
    expect(page.locator(TOKENS).nth(40)).to_be_visible(timeout=PATIENCE)


def test_two_visitors_do_not_see_each_other_and_a_share_link_is_read_only(visit: Visit) -> None:
    one, two = ready(visit(LAB)), ready(visit(LAB))
    type_prompt(one, "A secret fox lived")
    run(one)
    finished(one)
    two.reload()
    ready(two)
    time.sleep(1)
    assert two.locator(TOKENS).count() == 0

    link = shared_link(one)
    assert parse_qs(urlsplit(link).query)["run"]
    two.goto(link)
    ready(two)
    expect(two.locator(TOKENS).nth(10)).to_be_visible(timeout=PATIENCE)
    assert any("secret fox" in text for text in texts(two))


def test_two_visitors_press_run_at_once(visit: Visit) -> None:
    pages = [ready(visit(LAB)), ready(visit(LAB))]
    for page, animal in zip(pages, ("otter", "badger"), strict=True):
        type_prompt(page, f"The {animal} said")
    for page in pages:
        run(page)
    for page, own, other in zip(pages, ("otter", "badger"), ("badger", "otter"), strict=True):
        finished(page)
        assert all(own in text and f"The {other} said" not in text for text in texts(page))


def test_another_visitors_run_cannot_be_followed(visit: Visit, app: RunningApp) -> None:
    one, two = ready(visit(LAB)), ready(visit(LAB))
    run(one)
    finished(one)
    run_id = next(path.name for path in sorted((app.home / "runs").iterdir(), key=lambda p: -p.stat().st_mtime))
    answer = two.request.get(f"{app.url}runs/{run_id}/events?ticket=guess")
    assert answer.status == 403
    assert "Reload the page" in answer.text()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("&model=nobody/nothing", "Choose a bundled model"),
        ("&prompt=" + "many%20words%20" * 100 + "&max_new_tokens=10", None),
    ],
)
def test_bad_input_is_one_sentence(visit: Visit, query: str, sentence: str | None) -> None:
    page = ready(visit(LAB + query))
    run(page)
    if sentence is None:
        finished(page)
        return
    expect(page.locator("#run-view .bv-message")).to_contain_text(sentence, timeout=PATIENCE)
    assert "Traceback" not in page.content()


def test_an_empty_prompt_is_refused_and_nothing_is_lost(visit: Visit) -> None:
    page = ready(visit(LAB))
    run(page)
    finished(page)
    count = page.locator(TOKENS).count()
    type_prompt(page, "   ")
    run(page)
    expect(page.locator(".toast-wrap")).to_contain_text("Prompt is empty", timeout=PATIENCE)
    assert page.locator(TOKENS).count() == count


def test_markup_in_a_prompt_stays_text(visit: Visit) -> None:
    page = ready(visit(LAB))
    type_prompt(page, "<img src=x onerror=window.hit=1> ${window.hit=2} {{hit}}")
    run(page)
    finished(page)
    assert page.evaluate("window.hit") is None
    assert any("onerror" in text for text in texts(page))


def test_closing_the_page_ends_the_run_after_the_grace(visit: Visit, app: RunningApp) -> None:
    page = ready(visit(f"{LAB}&strategies=greedy&by_hand=true"))
    run(page)
    expect(page.locator("#run-view .bv-next")).to_be_visible(timeout=PATIENCE)
    newest = max((app.home / "runs").iterdir(), key=lambda path: path.stat().st_mtime)
    page.context.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and '"kind":"done"' not in (newest / "events.jsonl").read_text(encoding="utf-8"):
        time.sleep(0.5)
    assert '"reason":"stopped"' in (newest / "events.jsonl").read_text(encoding="utf-8")


def test_a_narrow_page_stacks_the_controls_above_the_results(visit: Visit) -> None:
    page = ready(visit(LAB, viewport={"width": 390, "height": 844}))
    controls, results = page.locator(".bt-controls").bounding_box(), page.locator("#run-view").bounding_box()
    assert controls is not None
    assert results is not None
    assert controls["y"] + controls["height"] <= results["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
