"""The page as a whole: what is on it, what it keeps to itself, and that its colours can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from core.events import Done
from core.runtime.job_queue import GoingJob
from core.services import Services
from core.settings import Settings
from tabs import LABS
from tabs.page import build_page, launch_options, reducers
from tabs.system import job_table, run_table, settings_table, versions
from tabs.theme import DARK, LIGHT, theme, variables
from tabs.widgets.quantities import age, count, size

LAB_ENDPOINTS = {"decoding", "quantization", "finetuning", "strategies", "sentiment", "entities"}
ENDPOINTS = {*LAB_ENDPOINTS, "events", "stop", "schema"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    built = Services(Settings(home=tmp_path_factory.mktemp("home"), offline=True))
    yield built
    built.close()


@pytest.fixture(scope="module")
def page(services: Services) -> gr.Blocks:
    return build_page(services)


def test_there_is_a_tab_for_each_lab(page: gr.Blocks) -> None:
    tabs = [block for block in page.blocks.values() if isinstance(block, gr.Tab)]
    assert [(tab.id, tab.label) for tab in tabs] == [(lab.path, lab.title) for lab in LABS]
    assert LABS[0].path == "start"
    assert set(reducers()) <= {lab.path for lab in LABS}


def test_only_the_named_endpoints_are_public(page: gr.Blocks) -> None:
    public = {fn.api_name for fn in page.fns.values() if fn.api_visibility == "public"}
    assert public == ENDPOINTS


def test_no_handler_waits_for_another(page: gr.Blocks) -> None:
    waiting = [fn.api_name for fn in page.fns.values() if fn.fn and fn.concurrency_limit is not None]
    assert waiting == []


def test_an_open_page_holds_no_heartbeat_connection(page: gr.Blocks) -> None:
    assert page.get_config_file()["connect_heartbeat"] is False


def test_templates_are_static(page: gr.Blocks) -> None:
    for block in page.blocks.values():
        if isinstance(block, gr.HTML):
            assert "${" not in block.html_template, block
            assert "{{" not in block.html_template, block


def test_labels_are_tied_to_their_inputs(page: gr.Blocks) -> None:
    inputs = (gr.Textbox, gr.Slider, gr.Number, gr.Dropdown, gr.Checkbox)
    assert all(block.label for block in page.blocks.values() if isinstance(block, inputs) and block.visible)


def test_the_launch_is_quiet_and_has_every_stylesheet(services: Services) -> None:
    options = launch_options(services)
    assert options["footer_links"] == []
    assert options["run_history"] is False
    assert options["ssr_mode"] is False
    assert options["max_threads"] >= 400
    assert Path(options["css_paths"][0]).name == "theme.css"
    assert all(Path(path).exists() for path in options["css_paths"])
    assert Path(options["favicon_path"]).exists()


def test_nothing_is_fetched_from_elsewhere(services: Services) -> None:
    options = launch_options(services)
    texts = [options["head"], *(Path(path).read_text(encoding="utf-8") for path in options["css_paths"])]
    for text in texts:
        assert not re.search(r"@import|url\(\s*['\"]?https?:", text)
        assert not re.search(r"(src|href)=['\"]https?:", text)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_on_every_ground(colours: dict[str, str]) -> None:
    for text in ("ink", "muted", "accent", "bad", "warn"):
        for ground in ("page", "panel", "wash"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for fill in ("accent", "accent_hover"):
        assert contrast(colours["on_accent"], colours[fill]) >= 4.5, fill


def test_both_modes_have_every_colour() -> None:
    assert set(LIGHT) == set(DARK)
    css = variables()
    assert css.count("--bt-ink:") == 2
    built = theme()
    assert built.body_background_fill == LIGHT["page"]
    assert built.body_background_fill_dark == DARK["page"]


def test_the_system_tab_lists_only_the_visitors_own_runs(services: Services) -> None:
    mine, other = services.identity.new_visitor(), services.identity.new_visitor()
    log = services.store.create("decoding", mine, {}, title="Greedy loops")
    try:
        found = run_table(services, mine)
        assert [row[:3] for row in found["rows"]] == [["Greedy loops", "decoding", "running"]]
        assert found["keys"] == [log.id]
        assert found["actions"] == [["Open", "Share"]]  # a live run is stopped before it is deleted
        assert run_table(services, other)["rows"] == []
    finally:
        log.close()


def test_a_public_deployment_shows_no_paths(services: Services, tmp_path: Path) -> None:
    names = {row[0] for row in settings_table(services)["rows"]}
    assert "BENCHTOP_HOME" in names
    public = Services(Settings(home=tmp_path, offline=True, public=True))
    shown = settings_table(public)
    public.close()
    assert str(tmp_path) not in str(shown)
    assert "BENCHTOP_PORT" in {row[0] for row in shown["rows"]}


def test_jobs_are_listed_without_saying_whose(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    going = (GoingJob("finetuning", 0, 61.0, "cpu"), GoingJob("finetuning", 2, 3.0, ""))
    monkeypatch.setattr(services.jobs, "snapshot", lambda: going)
    assert job_table(services)["rows"] == [
        ["finetuning", "runs", "1 min", "cpu"],
        ["finetuning", "waits, 2 before it", "3 s", "–"],
    ]


def test_an_export_is_listed_with_no_page_to_open(services: Services) -> None:
    visitor = services.identity.new_visitor()
    for lab in ("finetuning_export", "finetuning"):
        services.store.create(lab, visitor, {}).append(Done())
    shown = run_table(services, visitor)
    assert dict(zip([row[1] for row in shown["rows"]], shown["actions"], strict=True)) == {
        "finetuning_export": ["Delete"],
        "finetuning": ["Open", "Share", "Delete"],
    }


def test_versions_are_those_installed() -> None:
    assert dict(versions()["rows"])["gradio"] == gr.__version__


def test_numbers_are_written_with_units() -> None:
    assert [size(n) for n in (None, 12, 17_200_000, 1.2e10)] == ["–", "12 B", "17.2 MB", "12 GB"]
    assert [count(n) for n in (4_260_000, 7_250_000_000)] == ["4.26M", "7.25B"]
    assert [age(s) for s in (3.9, 61, 7200, 200_000)] == ["3 s", "1 min", "2 h", "2 d"]
