"""README says what is true: settings, tree, dependencies, benches, commands and the Space's configuration.

``python -m tests.test_readme`` writes the settings table into README, from ``core.settings``.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from bench.__main__ import bench_names
from core.settings import ASSETS, Settings
from tests.requirement_lists import APP, DEV, REPOSITORY, canonical, pins

README = REPOSITORY / "README.md"
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
SETTINGS = re.compile(r"(?<=<!-- settings -->\n).*(?=<!-- /settings -->)", re.S)


def text() -> str:
    return README.read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands below a heading of the second level."""
    return text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(markdown: str) -> list[str]:
    """The first cell of each row of each table in it, heads aside."""
    rows = re.findall(r"^\| *([^|]+?) *\|.*$(?!\n\|-)", markdown, re.M)
    return [cell for cell in rows if not cell.startswith("-")]


def settings_table() -> str:
    """A row for each field of ``Settings``: its variable, its default as a person writes it, its description."""
    rows = ["| Variable | Default | What it decides |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `BENCHTOP_{name.upper()}` | {shown(field.default)} | {field.description} |")
    return "\n".join(rows) + "\n"


def shown(default: object) -> str:
    if default is None or default == ():
        return "none"
    if default == ASSETS:
        return "`assets`"
    if isinstance(default, Path):
        return f"`~/{default.relative_to(Path.home()).as_posix()}`"
    if isinstance(default, bool):
        return "`1`" if default else "`0`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_the_settings_table_is_what_the_settings_are() -> None:
    written = SETTINGS.search(text())
    assert written is not None
    assert written[0] == settings_table(), "run: python -m tests.test_readme"


def test_the_block_at_the_top_is_a_space() -> None:
    _, block, _ = text().split("---\n", 2)
    space = yaml.safe_load(block)
    assert space["sdk"] == "gradio"
    assert space["sdk_version"] == pins(APP)["gradio"]
    assert space["python_version"] in ("3.11", "3.12", "3.13")
    assert (REPOSITORY / space["app_file"]).is_file()
    assert {space["colorFrom"], space["colorTo"]} <= COLOURS
    assert len(space["short_description"]) <= 60


def test_every_dependency_is_explained_and_no_other() -> None:
    told = [canonical(cell) for cell in first_cells(section("What it stands on"))]
    assert told == [*pins(APP), *pins(DEV)]


def test_every_bench_is_described_and_no_other() -> None:
    assert sorted(first_cells(section("Benchmarks"))) == list(bench_names())


def tree() -> list[str]:
    """The paths in the tree, from its indentation; a line without a phrase is an error."""
    block = section("Where things are").split("```")[1]
    paths: list[str] = []
    parent = ""
    for line in block.strip("\n").splitlines():
        indent, name = re.match(r"( *)(\S+) +\S", line).groups()  # type: ignore[union-attr] # no match fails the test
        parent = parent if indent else name
        paths.append(f"{parent}{name}" if indent else name)
    return paths


def test_the_tree_shows_every_folder() -> None:
    told = tree()
    assert [path for path in told if not (REPOSITORY / path).exists()] == []
    parts = [package.parent for top in ("core", "tabs") for package in REPOSITORY.glob(f"{top}/*/__init__.py")]
    folders = {f"{folder.relative_to(REPOSITORY).as_posix()}/" for folder in parts}
    assert folders | {"core/", "tabs/", "assets/", "bench/", "tests/"} <= set(told)


def test_every_command_and_link_leads_somewhere() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"(?:^|`)make (\w+)", text(), re.M)) <= targets
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text())
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


if __name__ == "__main__":
    README.write_text(SETTINGS.sub(lambda _: settings_table(), text()), encoding="utf-8")
