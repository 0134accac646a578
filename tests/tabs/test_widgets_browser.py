"""The teaching views in a real browser: what they draw, what they trigger, and that text stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: requirements-dev.txt has it")

from playwright.sync_api import Browser, Page, expect

from tabs.decoding.view import reduce
from tabs.widgets import branch_tree, code_panel, facts_view, microscope_view, run_view
from tabs.widgets.view_ops import view_model
from tests.fakes_views import GrowingLog, RunsOnly, ViewsPage

NASTY = ["<img src=x onerror=window.hit()>", "${window.hit()}", "{{x}}", "\\u12", "`;window.hit();`", "</script><b>"]
expect.set_options(timeout=20_000)  # a machine with other work on it
_runs = count()


def start(*titles: str) -> dict[str, Any]:
    columns = [{"strategy": "greedy", "title": title} for title in titles or ("Greedy",)]
    prompt = [{"id": 5, "text": "Once", "piece": "Once"}, {"id": 6, "text": " upon", "piece": "Ġupon"}]
    return {
        "kind": "step",
        "name": "start",
        "index": 0,
        "column": None,
        "values": {"prompt": prompt, "columns": columns},
    }


def token(index: int, text: str, column: int = 0, piece: str | None = None, **more: Any) -> dict[str, Any]:
    shown = {"id": 100 + index, "text": text, "piece": text if piece is None else piece}
    return {
        "kind": "token", "column": column, "index": index, **shown, "logprob": -1.0, "rank": 2, "entropy": 3.25, **more,
    }  # fmt: skip


def step(name: str, column: int | None = None, **values: Any) -> dict[str, Any]:
    return {"kind": "step", "name": name, "index": 0, "column": column, "values": values}


DONE = {"kind": "done", "reason": "finished", "result": {}}
STAGES = ("penalties", "temperature", "top_k", "top_p", "min_p", "typical")


def microscope(**changed: Any) -> dict[str, Any]:
    stages = [{"name": "raw", "label": "raw", "left": 4096, "movable": False}]
    stages += [{"name": n, "label": n, "left": 40, "movable": True, "neutral": n == "min_p"} for n in STAGES]
    rows = [
        {"id": 7, "text": " Finn", "chosen": True, "p": [0.3] * 7, "cut_by": None},
        {"id": 8, "text": NASTY[0], "chosen": False, "p": [0.2] * 3 + [None] * 4, "cut_by": "top_k"},
        {"id": 9, "text": NASTY[1], "chosen": False, "p": [0.1] * 7, "cut_by": None},
    ]
    return {
        "title": f"Token 2 of Greedy: {NASTY[0]}", "run": "m", "column": 0, "index": 1, "summary": NASTY[1],
        "stages": stages, "rows": rows, "orders": {"default": list(STAGES), "now": list(STAGES)}, "order_note": "",
        "changes": None, **changed,
    }  # fmt: skip


@pytest.fixture(scope="module")
def views(chromium: Browser) -> Iterator[ViewsPage]:
    served = ViewsPage(RunsOnly())
    yield served
    served.close()


@pytest.fixture(scope="module")
def tab(chromium: Browser, views: ViewsPage) -> Iterator[Page]:
    """One page for all tests: a value that changes must bring a clean view."""
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.add_init_script("window.hits = 0; window.hit = () => { window.hits += 1; };")
    page.goto(views.url)
    page.wait_for_selector("#run-view .bv-empty")
    yield page
    context.close()
    assert faults == []


@pytest.fixture(autouse=True)
def nothing_executed(tab: Page, views: ViewsPage) -> Iterator[None]:
    views.cut.clear()
    yield
    assert tab.evaluate("window.hits") == 0


def show(tab: Page, views: ViewsPage, **values: Any) -> None:
    """Give the widgets these values, all others None."""
    views.values = {name: values.get(name) for name in views.values}
    tab.click("#show")


def follow(tab: Page, views: ViewsPage, *records: dict[str, Any]) -> GrowingLog:
    """A fresh run with these records, followed by the run view."""
    log = GrowingLog(f"run-{next(_runs)}")
    log.add(*records)
    views.services.runs[log.id] = log
    show(tab, views, run={"run": log.id, "url": f"runs/{log.id}/events?ticket=ticket"})
    tab.wait_for_selector(f'.bv-run[data-run="{log.id}"]')
    return log


def heard(views: ViewsPage) -> tuple[str, dict[str, Any]]:
    return views.heard.get(timeout=20)


def test_templates_are_static_and_scripts_never_write_markup() -> None:
    for module in (run_view, microscope_view, branch_tree, code_panel, facts_view):
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in module.SCRIPT
    assert "{" not in run_view.run_view().html_template


def test_a_run_streams_into_cards_and_ends(tab: Page, views: ViewsPage) -> None:
    log = follow(tab, views, start("Greedy", "Sampling"), token(0, " a"), token(0, " b", column=1))
    cards = tab.locator(".bv-column")
    expect(cards).to_have_count(2)
    expect(cards.nth(1).locator(".bv-flow")).to_have_text("Once upon b")
    expect(cards.first.locator(".bv-caret")).to_be_visible()
    first = cards.first.locator(".bv-tok").first.element_handle()
    height = cards.first.bounding_box()["height"]  # type: ignore[index]
    log.add(*[token(i, f" w{i}") for i in range(1, 200)])
    expect(cards.first.locator(".bv-tok")).to_have_count(200)
    assert first.evaluate("e => e.isConnected")  # appended to, not drawn anew
    assert cards.first.bounding_box()["height"] == height  # type: ignore[index]
    log.add({"kind": "metric", "name": "perplexity", "value": 1.94, "unit": "", "column": 0})
    log.add(step("column", 0, state="done", finish="eos"), DONE)
    expect(cards.first.locator(".bv-metrics")).to_contain_text("ppl 1.9200 tokensend of text")
    expect(tab.locator(".bv-caret:visible")).to_have_count(0)
    expect(tab.locator("#run-view [aria-live]")).to_have_text("Run finished. Greedy: 200 tokens; Sampling: 1 token.")


def test_text_of_a_model_stays_text(tab: Page, views: ViewsPage) -> None:
    warning = {"kind": "warning", "text": NASTY[0], "column": None}
    tokens = [token(i, text) for i, text in enumerate(NASTY)]
    log = follow(tab, views, start(NASTY[0], NASTY[1]), warning, *tokens)
    texts = tab.locator(".bv-column").first.locator(".bv-tok")
    expect(texts).to_have_text(NASTY)
    expect(tab.locator(".bv-column .bv-card-title")).to_have_text(NASTY[:2])
    texts.first.hover()
    expect(tab.locator("#run-view .bv-tip-title")).to_have_text(f"“{NASTY[0]}”")
    log.add({"kind": "failed", "error": "BadInput", "what": NASTY[0], "todo": NASTY[1]})
    expect(tab.locator("#run-view .bv-message")).to_have_text(NASTY[0] + NASTY[1])
    assert tab.locator(".bv-view img, .bv-view b").count() == 0


def test_whitespace_bytes_and_special_tokens_show_without_spoiling_the_text(tab: Page, views: ViewsPage) -> None:
    odd = [
        token(0, "\n"), token(1, "\t"), token(2, "\u202e"), token(3, "", piece="ðŁ"), token(4, "🙂", piece="ĻĤ"),
        token(5, "", piece="<|endoftext|>"), token(6, "", piece="<0xE2>"),
    ]  # fmt: skip
    follow(tab, views, start(), *odd, DONE)
    marks = tab.locator(".bv-tok [data-mark]")
    expect(marks).to_have_count(6)
    assert marks.evaluate_all("all => all.map(e => e.dataset.mark)") == [
        "⏎",
        "→",
        "U+202E",
        "F0 9F",
        "<|endoftext|>",
        "E2",
    ]
    flow = tab.locator(".bv-flow").first
    assert flow.evaluate("e => e.textContent") == "Once upon\n\t\u202e🙂"
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.locator(".bv-copy").first.click()
    expect(tab.locator(".bv-copy").first).to_have_text("copied")
    assert tab.evaluate("navigator.clipboard.readText()") == "Once upon\n\t\u202e🙂"


def test_a_token_is_looked_at_and_picked_by_mouse_and_keys(tab: Page, views: ViewsPage) -> None:
    log = follow(tab, views, start("Greedy", "Sampling"), *[token(i, f" w{i}", column=1) for i in range(3)], DONE)
    spans = tab.locator(".bv-column").nth(1).locator(".bv-tok")
    spans.nth(1).click()
    assert heard(views) == ("pick", {"column": 1, "index": 1, "run": log.id})
    expect(spans.nth(1)).to_have_attribute("aria-selected", "true")
    tab.keyboard.press("ArrowRight")
    expect(spans.nth(2)).to_be_focused()
    tip = tab.locator("#run-view .bv-tip")
    expect(tip).to_contain_text("id102")
    for part in ("probability36.8%", "rank2", "surprisal1.44 bits", "entropy3.25 bits"):
        expect(tip).to_contain_text(part)
    tab.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    tab.keyboard.press("Enter")
    assert heard(views) == ("pick", {"column": 1, "index": 2, "run": log.id})
    expect(tab.locator(".bv-tok.is-picked")).to_have_text([" w2"])
    assert tab.locator(".bv-column").nth(1).locator('.bv-tok[tabindex="0"]').count() == 1


def test_quick_clicks_are_all_heard(tab: Page, views: ViewsPage) -> None:
    follow(tab, views, start(), *[token(i, f" w{i}") for i in range(8)], DONE)
    expect(tab.locator(".bv-tok")).to_have_count(8)
    tab.evaluate("document.querySelectorAll('.bv-tok').forEach(e => e.click())")
    assert sorted(heard(views)[1]["index"] for _ in range(8)) == list(range(8))


def test_ids_show_below_the_tokens(tab: Page, views: ViewsPage) -> None:
    follow(tab, views, start(), token(0, " a"), DONE)
    tab.locator(".bv-ids").first.click()
    expect(tab.locator(".bv-ids").first).to_have_attribute("aria-pressed", "true")
    assert "100" in tab.locator(".bv-tok").first.evaluate("e => getComputedStyle(e, '::after').content")
    tab.locator(".bv-ids").first.click()
    assert tab.locator(".bv-tok").first.evaluate("e => getComputedStyle(e, '::after').content") == "none"


def test_a_broken_stream_goes_on_where_it_was(tab: Page, views: ViewsPage) -> None:
    log = follow(tab, views, start(), token(0, " a"))
    expect(tab.locator(".bv-tok")).to_have_count(1)
    span = tab.locator(".bv-tok").first.element_handle()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url) if "/events" in request.url else None)
    views.cut.set()
    expect(tab.locator("#run-view .bv-state")).to_have_text("reconnecting…")
    log.add(token(1, " b"), DONE)
    views.cut.clear()
    expect(tab.locator("#run-view .bv-state")).to_contain_text("finished")
    expect(tab.locator(".bv-tok")).to_have_text([" a", " b"])
    assert span.evaluate("e => e.isConnected")
    assert asked
    assert all("after=1" in url for url in asked)


def test_a_refused_stream_says_the_servers_sentence(tab: Page, views: ViewsPage) -> None:
    show(tab, views, run={"run": "gone", "url": "runs/gone/events?ticket=ticket"})
    expect(tab.locator("#run-view .bv-message")).to_have_text("There is no such run.Start a new one.")
    expect(tab.locator("#run-view .bv-state")).to_have_text("not followed any more")


def test_another_run_starts_clean_and_none_says_what_will_be_here(tab: Page, views: ViewsPage) -> None:
    follow(tab, views, start("One", "Two"), token(0, " a"), {"kind": "warning", "text": "careful", "column": None})
    expect(tab.locator("#run-view .bv-notes")).to_have_text("careful")
    follow(tab, views, start("Three"), DONE)
    expect(tab.locator(".bv-column .bv-card-title")).to_have_text(["Three"])
    expect(tab.locator("#run-view .bv-notes")).to_be_hidden()
    show(tab, views)
    expect(tab.locator("#run-view .bv-empty")).to_contain_text("Tokens will appear here")
    expect(tab.locator(".bv-column")).to_have_count(0)


def test_a_finished_model_is_drawn_without_a_stream(tab: Page, views: ViewsPage) -> None:
    records = [{"seq": i, "at": i * 0.1, **r} for i, r in enumerate([start(), token(0, " a"), DONE])]
    show(tab, views, run={"run": "kept", "model": view_model(reduce, records), "selected": {"column": 0, "index": 0}})
    expect(tab.locator(".bv-tok.is-picked")).to_have_text([" a"])
    expect(tab.locator("#run-view .bv-state")).to_have_text("finished after 0.20 s")


def test_by_hand_waits_for_next(tab: Page, views: ViewsPage) -> None:
    log = follow(tab, views, start(), step("waiting", on=True))
    tab.locator(".bv-next").click()
    assert heard(views) == ("next", {})
    expect(tab.locator(".bv-next")).to_have_attribute("aria-disabled", "true")
    log.add(step("waiting", on=False), token(0, " a"), step("waiting", on=True))
    expect(tab.locator(".bv-next")).to_have_attribute("aria-disabled", "false")
    expect(tab.locator(".bv-next")).to_be_focused()
    tab.locator(".bv-run-on").click()
    assert heard(views) == ("run_on", {})
    log.add(step("waiting", on=False), DONE)
    expect(tab.locator(".bv-hand")).to_be_hidden()


def nodes(*listed: tuple[int, int | None, str, bool]) -> list[dict[str, Any]]:
    return [
        {"n": n, "parent": parent, "t": t, "id": n, "logprob": -n / 10, "score": -n / 10, "kept": kept, "done": False}
        for n, parent, t, kept in listed
    ]


def best(first: int, *ids: int) -> dict[str, Any]:
    tokens = [token(first + i, f" t{number}", id=number) for i, number in enumerate(ids)]
    return step("beam_best", 0, **{"from": first, "tokens": tokens})


def test_the_beam_tree_grows_and_follows_the_best(tab: Page, views: ViewsPage) -> None:
    first = step("beam", 0, nodes=nodes((1, None, " a", True), (2, None, NASTY[0], True), (3, None, " c", False)))
    log = follow(tab, views, start("Beam search"), first, best(0, 1))
    tree = tab.locator(".bv-beam")
    expect(tree.locator(".bv-beam-node")).to_have_count(3)
    expect(tree.locator(".bv-beam-node.is-best .bv-beam-text")).to_have_text([" a"])
    expect(tree.locator(".bv-beam-node.is-pruned")).to_have_text([" c-0.30"])
    kept = tree.locator(".bv-beam-node").first.element_handle()
    log.add(step("beam", 0, nodes=nodes((4, 2, " d", True), (5, 1, " e", False))), best(0, 2, 4), DONE)
    expect(tree.locator(".bv-beam-node.is-best .bv-beam-text")).to_have_text([NASTY[0], " d"])
    assert kept.evaluate("e => e.isConnected")
    expect(tab.locator(".bv-tok")).to_have_text([" t2", " t4"])
    tree.locator('.bv-beam-node[tabindex="0"]').focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("#run-view .bv-tip-title")).to_have_text(f"{NASTY[0]} d")
    tree.get_by_role("button", name="Hide the hypotheses").click()
    expect(tree.locator(".bv-beam-node:visible")).to_have_count(3)


def test_the_microscope_shows_stages_and_branches(tab: Page, views: ViewsPage) -> None:
    follow(tab, views, start(), token(0, " a"), token(1, " b"), DONE)
    expect(tab.locator(".bv-tok")).to_have_count(2)
    views.values["microscope"] = microscope(run=f"run-{next(_runs) - 1}")
    tab.click("#show")
    table = tab.locator("#microscope table")
    expect(table.locator("tbody tr")).to_have_count(3)
    expect(table.locator("tr.is-chosen td").first).to_have_text("30.0%")
    expect(table.locator("tbody tr").nth(1).locator(".bv-cut")).to_have_count(4)
    expect(table.locator("tbody tr").nth(1).locator(".bv-cand")).to_have_text(NASTY[0])
    expect(tab.locator(".bv-tok.is-picked")).to_have_text([" b"])
    table.locator(".bv-branch").nth(1).click()
    name, data = heard(views)
    assert (name, data["id"], data["column"], data["index"]) == ("branch", 9, 0, 1)
    tab.locator("#microscope .bv-close").click()
    assert heard(views)[0] == "close"
    views.values["microscope"] = None
    tab.click("#show")
    expect(tab.locator("#microscope")).to_have_text("Click any token to see what it was chosen from.")
    expect(tab.locator(".bv-tok.is-picked")).to_have_count(0)


def test_stages_are_reordered_by_keys_and_by_dragging(tab: Page, views: ViewsPage) -> None:
    show(tab, views, microscope=microscope())
    tab.locator('.bv-grip[data-stage="top_k"]').focus()
    tab.keyboard.press("ArrowLeft")
    moved = ["penalties", "top_k", "temperature", "top_p", "min_p", "typical"]
    assert heard(views) == ("reorder", {"order": moved, "column": 0, "index": 1, "run": "m"})
    views.values["microscope"] = microscope(
        orders={"default": list(STAGES), "now": moved}, changes={"kept": [NASTY[0]], "cut": [], "tv": 0.03}
    )
    tab.click("#show")
    expect(tab.locator(".bv-micro-changes")).to_have_text(f"now kept: “{NASTY[0]}”total variation 0.030")
    tab.locator(".bv-reset-order").click()
    assert heard(views)[1]["order"] == list(STAGES)
    show(tab, views, microscope=microscope())
    expect(tab.locator(".bv-reset-order")).to_have_count(0)
    header, target = (tab.locator(f'.bv-stage[data-stage="{name}"]').bounding_box() for name in ("penalties", "top_p"))
    assert header is not None
    assert target is not None
    tab.mouse.move(header["x"] + header["width"] / 2, header["y"] + 8)
    tab.mouse.down()
    tab.mouse.move(target["x"] + target["width"] / 2 + 4, target["y"] + 8, steps=4)
    expect(tab.locator(".bv-micro-line")).to_be_visible()
    tab.mouse.up()
    assert heard(views)[1]["order"] == ["temperature", "top_k", "top_p", "penalties", "min_p", "typical"]


def test_branches_are_returned_to(tab: Page, views: ViewsPage) -> None:
    family = [
        {"run": "a", "parent": None, "label": NASTY[0], "title": "", "status": "finished"},
        {"run": "b", "parent": "a", "label": NASTY[1], "title": NASTY[2], "status": "stopped"},
    ]
    show(tab, views, branches={"root": "a", "current": "b", "nodes": family})
    expect(tab.locator("#branches [aria-current]")).to_contain_text(NASTY[1])
    tab.locator("#branches .bv-branch-open").first.click()
    assert heard(views) == ("open", {"run": "a"})
    show(tab, views, branches={"root": "a", "current": "a", "nodes": family[:1]})
    expect(tab.locator(".bv-branches")).to_be_hidden()


def test_code_is_shown_copied_and_saved(tab: Page, views: ViewsPage) -> None:
    code = f'"""{NASTY[0]}"""\nprint("{NASTY[1]}", 1)  # {NASTY[4]}\n'
    show(tab, views, code={"code": code, "filename": "story.py"})
    tab.locator("#code summary").click()
    expect(tab.locator("#code pre")).to_be_visible()
    assert tab.locator("#code pre").evaluate("e => e.textContent") == code
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Download the script").click()
    assert saved.value.suggested_filename == "story.py"
    assert saved.value.path().read_text() == code
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.get_by_role("button", name="Copy the script").click()
    expect(tab.locator("#code .bv-code-copy")).to_have_text("copied")
    assert tab.evaluate("navigator.clipboard.readText()") == code


def test_facts_list_a_models_parts(tab: Page, views: ViewsPage) -> None:
    layers = {
        "name": "layers",
        "parameters": 3_000_000,
        "note": NASTY[1],
        "children": [{"name": "mlp", "parameters": 2_000_000}],
    }
    value = {"title": "Story", "lines": [["Context", "512 tokens"]], "tree": [layers], "why": NASTY[0]}
    show(tab, views, facts=json.loads(json.dumps(value)))
    tab.locator("#facts summary").first.click()
    expect(tab.locator("#facts dl")).to_have_text("Context512 tokens")
    expect(tab.locator("#facts .bv-part").nth(1)).to_have_text("mlp2.0M")
    expect(tab.locator("#facts .bv-facts-why")).to_have_text(f"Why here: {NASTY[0]}")
