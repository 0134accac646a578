"""The Fine-tuning lab as a visitor uses it: train, reload in the middle, see the whole curve and another voice."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import RunningApp, Visit, shared_link

LAB = "?tab=finetuning"
PATIENCE = 120_000
TRAINING = 250_000
CHIP = "#training-view .tv-chip"
STEPS = "document.querySelector('[data-panel=loss] .js-plotly-plot')?.data?.[0]?.x ?? []"
QUICK = f"{LAB}&max_steps=8&eval_steps=4&save_steps=4&batch_size=2&max_length=48&r=2"


def ready(page: Page) -> Page:
    expect(page.locator("#bt-strip")).to_contain_text("labs ready", timeout=PATIENCE)
    expect(page.locator("#finetuning-run")).to_be_visible(timeout=PATIENCE)
    page.wait_for_function("document.documentElement.dataset.restored?.includes('finetuning')", timeout=PATIENCE)
    return page


def quick(page: Page) -> Page:
    """Wait until the inputs of ``QUICK`` are in the form."""
    expect(ready(page).locator(".bt-r input[type=number]")).to_have_value("2", timeout=PATIENCE)
    return page


def train(page: Page) -> None:
    page.locator("#finetuning-run").click()


def await_steps(page: Page, count: int, timeout: int = TRAINING) -> list[int]:
    """Wait until the loss figure holds so many steps; all of them."""
    page.wait_for_function(f"({STEPS}).length >= {count}", timeout=timeout)
    steps: list[int] = page.evaluate(STEPS)
    return steps


def ended(page: Page, word: str) -> None:
    expect(page.locator(CHIP)).to_contain_text(word, timeout=TRAINING)


def test_train_reload_in_the_middle_and_see_another_voice(visit: Visit) -> None:
    page = ready(visit(LAB))
    page.get_by_role("button", name="Pirate voice").click()
    expect(page.locator(".bt-r input[type=number]")).to_have_value("16", timeout=PATIENCE)
    train(page)
    await_steps(page, 10)
    page.reload()
    ready(page)
    steps = await_steps(page, 11)
    assert steps == list(range(1, len(steps) + 1))  # the whole curve, also what came before the reload
    expect(page.locator(CHIP)).to_have_text("training")
    ended(page, "finished")
    steps = page.evaluate(STEPS)
    assert steps == list(range(1, len(steps) + 1))
    losses = page.evaluate("document.querySelector('[data-panel=loss] .js-plotly-plot').data[0].y")
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])

    said = page.locator(".tv-row .tv-cell:nth-child(2) .tv-said").all_inner_texts()
    before = page.locator(".tv-row .tv-cell:nth-child(1) .tv-said").all_inner_texts()
    voice = re.compile(r"\b(arr+|ahoy|ye|yer|matey|captain|ship|sea|pirate|treasure|sail\w*)\b", re.IGNORECASE)
    assert sum(len(voice.findall(text)) for text in said) > 3 + 3 * sum(len(voice.findall(text)) for text in before)
    assert page.locator(".tv-new").count() > 5

    expect(page.locator("#exports-view .ex-use")).to_be_visible(timeout=PATIENCE)
    page.locator("#exports-view .ex-line[data-kind=zip] .ex-start").click()
    link = page.locator("#exports-view .ex-line[data-kind=zip] .ex-file")
    expect(link).to_be_visible(timeout=PATIENCE)
    answer = page.request.get(link.get_attribute("href") or "")
    assert answer.status == 200
    assert answer.body()[:2] == b"PK"
    page.locator("#finetuning-code summary").click()
    expect(page.locator("#finetuning-code pre")).to_contain_text("SFTTrainer", timeout=PATIENCE)


def test_stop_keeps_what_is_there_and_resume_goes_on_with_the_same_curve(visit: Visit) -> None:
    page = ready(visit(f"{LAB}&max_steps=60&save_steps=2&eval_steps=50&batch_size=2&max_length=48&r=2&epochs=9"))
    train(page)
    await_steps(page, 4)
    page.locator("#finetuning-stop").click()
    ended(page, "stopped after step")
    before = page.evaluate(STEPS)
    losses = page.evaluate("document.querySelector('[data-panel=loss] .js-plotly-plot').data[0].y")
    resume = page.locator("#finetuning-resume")
    expect(resume).to_be_enabled(timeout=PATIENCE)
    resume.click()
    expect(page.locator("#training-view .tv-facts")).to_contain_text("goes on", timeout=PATIENCE)
    after = await_steps(page, len(before) + 2)
    assert after == list(range(1, len(after) + 1))
    kept = page.evaluate("document.querySelector('[data-panel=loss] .js-plotly-plot').data[0].y")
    assert kept[: len(losses)] == pytest.approx(losses, rel=1e-4)
    page.locator("#finetuning-stop").click()
    ended(page, "stopped")


def test_a_shared_link_follows_live_and_a_stranger_sees_nothing(visit: Visit, app: RunningApp) -> None:
    one, two = quick(visit(QUICK)), ready(visit(LAB))
    train(one)
    await_steps(one, 1)
    link = shared_link(one)
    run = parse_qs(urlsplit(link).query)["run"][0].partition(".")[0]
    expect(two.locator("#training-view .bv-empty")).to_be_visible()
    two.goto(link)
    ready(two)
    assert await_steps(two, 8)[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    ended(two, "finished")
    expect(two.locator("#exports-view .ex-card")).to_be_hidden()
    for ticket in ("guess", parse_qs(urlsplit(link).query)["run"][0]):
        assert two.request.get(f"{app.url}runs/{run}/files/model/benchtop.json?ticket={ticket}").status == 403


def test_before_the_start_says_what_will_happen(visit: Visit) -> None:
    page = quick(visit(QUICK))
    page.locator("#data-preview .dp-look").click()
    numbers = page.locator("#data-preview .dp-number dd")
    expect(numbers.first).to_have_text("8", timeout=PATIENCE)
    assert page.locator("#data-preview .dp-module").count() >= 4
    assert page.locator("#data-preview .dp-token.is-trained").count() > 20
    page.locator("#data-preview .dp-module input").first.uncheck()
    page.wait_for_function("location.search.includes('target_modules')", timeout=PATIENCE)  # it is in the form now


def test_an_own_file_is_trained_on_and_still_named_after_a_reload(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "my parrots.csv"
    file.write_text("text\n" + "".join(f"Parrot {n} says ahoy to the {n + 1} sailors.\n" for n in range(24)))
    page = quick(visit(QUICK))
    page.get_by_role("button", name="Your own data").click()
    page.locator("#finetuning-controls input[type=file]").set_input_files(file)
    chosen = page.locator("#finetuning-controls .bt-data input")
    expect(chosen).to_have_value("my parrots.csv · yours", timeout=PATIENCE)
    page.locator("#data-preview .dp-measure, #data-preview .dp-look").last.click()
    expect(page.locator("#data-preview")).to_contain_text("Parrot", timeout=PATIENCE)
    page.locator("#data-preview .dp-measure").click()
    expect(page.locator("#data-preview")).to_contain_text("a step, measured", timeout=PATIENCE)
    page.wait_for_function("location.search.includes('upload')", timeout=PATIENCE)
    page.reload()
    quick(page)
    expect(chosen).to_have_value("my parrots.csv · yours", timeout=PATIENCE)
    train(page)
    ended(page, "finished")


def test_a_sweep_is_queued_compared_and_a_push_without_a_network_is_one_sentence(visit: Visit) -> None:
    page = quick(visit(QUICK))
    page.get_by_role("button", name="Sweep").click()
    page.get_by_label("Its values").first.fill("1, 4")
    page.locator("#finetuning-sweep").click()
    expect(page.locator("#runs-table .rt-run")).to_have_count(2, timeout=PATIENCE)
    expect(page.locator("#runs-table .rt-group")).to_contain_text("a sweep of 2 runs")
    ended(page, "finished")
    page.wait_for_function(
        "() => { const states = [...document.querySelectorAll('#runs-table .rt-state')].map((one) => one.textContent);"
        " return states.length === 2 && states.every((state) => state === 'finished'); }",
        timeout=TRAINING,
    )
    page.locator("#runs-table .rt-all").click()
    expect(page.locator("#runs-table .rt-table tbody tr")).to_have_count(2, timeout=PATIENCE)
    push = page.locator("#exports-view .ex-line[data-kind=hub]")
    push.locator("input[type=text]").fill("me/parrots")
    push.locator("input[type=password]").fill("hf_secret")
    push.locator(".ex-start").click()
    expect(push).to_contain_text("network", timeout=PATIENCE)
    assert "hf_secret" not in page.content()


def test_bad_data_is_one_sentence(visit: Visit) -> None:
    page = ready(visit(f"{LAB}&data=nobody/nothing"))
    train(page)
    expect(page.locator("#training-view .bv-message")).to_be_visible(timeout=PATIENCE)
    assert "Traceback" not in page.content()


def test_a_narrow_page_scrolls_nothing_sideways(visit: Visit) -> None:
    page = ready(visit(LAB, viewport={"width": 390, "height": 844}))
    controls, results = (
        page.locator("#finetuning-controls").bounding_box(),
        page.locator("#training-view").bounding_box(),
    )
    assert controls is not None
    assert results is not None
    assert controls["y"] + controls["height"] <= results["y"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_form_follows_the_method(visit: Visit) -> None:
    page = ready(visit(f"{LAB}&method=full"))
    expect(page.locator("#finetuning-controls .bt-r")).to_be_hidden(timeout=PATIENCE)
    page.goto(re.sub(r"\?.*", f"{LAB}&method=prompt", page.url))
    ready(page)
    expect(page.locator("#finetuning-controls .bt-virtual-tokens")).to_be_visible(timeout=PATIENCE)
