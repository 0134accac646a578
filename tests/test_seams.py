"""The seams that an import contract cannot see: what is loaded when, who may call what, and how the sources look."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("core", "tabs", "bench", "tests")
HEAVY = ("torch", "transformers")

LIGHT_CORE = (
    "core.settings",
    "core.errors",
    "core.events",
    "core.services",
    "core.catalog",
    "core.labs.base",
    "core.generation.parameters",
    "core.runtime.identity",
    "core.runtime.lanes",
    "core.runtime.runner",
    "core.runtime.runs",
)
"""Imported before the page is up, so without torch; every lab's ``request`` and all of tabs come on top."""

WEIGHT_READERS = {
    "core/training/pretrain.py": {"torch.load"},  # its own checkpoints, with weights_only
}
"""Who may read weights outside core/runtime, with which call."""

MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 350


@cache
def sources(*folders: str) -> dict[str, ast.Module]:
    """The parsed modules below these folders, by path relative to the repository; ``app.py`` comes with tabs."""
    paths = [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]
    if "tabs" in folders:
        paths += REPOSITORY.glob("*.py")
    return {path.relative_to(REPOSITORY).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with its dotted name; ``""`` stands for a part that is no name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def modules_before_the_page() -> list[str]:
    requests = [path for path in sources("core") if path.startswith("core/labs/") and path.endswith("/request.py")]
    tabs = [path for path in sources("tabs") if not path.endswith("__main__.py")]
    catalog = [path for path in sources("core") if path.startswith("core/catalog/")]
    paths = [path.removesuffix(".py").removesuffix("/__init__") for path in (*requests, *tabs, *catalog)]
    return [*LIGHT_CORE, *(path.replace("/", ".") for path in paths)]


def test_nothing_that_comes_before_the_page_loads_torch() -> None:
    modules = modules_before_the_page()
    assert {"app", "tabs", "tabs.page", "core.labs.decoding.request"} <= set(modules)
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = {{name for name in {HEAVY} if name in sys.modules}}\n"
        "    if heavy: sys.exit(f'importing {name} loads {heavy}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *modules], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_only_settings_reads_the_environment() -> None:
    readers = set()
    for path, tree in sources("core", "tabs").items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and dotted(node) in ("os.environ", "os.getenv", "os.putenv"):
                readers.add(path)
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                readers |= {path for alias in node.names if alias.name in ("environ", "getenv")}
    assert readers == {"core/settings.py"}


def reads_weights(name: str) -> bool:
    """Whether a call by this name reads weights. Tokenizers, configurations and processors hold none."""
    owner, _, method = name.rpartition(".")
    if method == "from_pretrained":
        return not re.search(r"(Tokenizer|TokenizerFast|TokenizersBackend|Config|Processor)$", owner)
    return method in ("safe_open", "load_file", "load_model") or name in ("torch.load", "torch.jit.load")


def test_only_the_runtime_reads_weights() -> None:
    for path, tree in sources("core", "tabs").items():
        if not path.startswith("core/runtime/"):
            found = {name for _, name in calls(tree) if reads_weights(name)}
            assert found <= WEIGHT_READERS.get(path, set()), path


def test_nothing_read_from_disk_may_run_code() -> None:
    for path, tree in sources("core", "tabs").items():
        for call, name in calls(tree):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            assert not re.fullmatch(r"(pickle|dill|joblib|cloudpickle)\.loads?", name), path
            if name == "torch.load":
                assert getattr(given.get("weights_only"), "value", None) is True, path
            if "trust_remote_code" in given:
                assert getattr(given["trust_remote_code"], "value", None) is False, path


def is_device_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and bool(re.fullmatch(r"(cpu|mps|cuda)(:\d+)?", str(node.value)))


def test_only_the_runtime_names_a_device() -> None:
    """A device is what the loaded model says. Bringing readings back with ``.cpu()`` names none."""
    for path, tree in sources("core", "tabs").items():
        if path.startswith("core/runtime/"):
            continue
        for call, name in calls(tree):
            method = name.rpartition(".")[2]
            assert method not in ("cuda", "mps"), f"{path}:{call.lineno}"
            placed = [*call.args] if method in ("to", "device", "map_location", "set_default_device") else []
            placed += [keyword.value for keyword in call.keywords if keyword.arg in ("device", "map_location")]
            assert not any(is_device_name(node) for node in placed), f"{path}:{call.lineno}"


def test_every_module_says_what_it_is_for() -> None:
    """Tests say it by their names."""
    modules = {path: tree for path, tree in sources(*FOLDERS).items() if not Path(path).stem.startswith("test_")}
    assert [path for path, tree in modules.items() if tree.body and not ast.get_docstring(tree)] == []


def test_functions_and_modules_stay_readable() -> None:
    long = []
    for path, tree in sources(*FOLDERS).items():
        lines = len((REPOSITORY / path).read_text(encoding="utf-8").splitlines())
        long += [f"{path}: {lines} lines"] if lines > MAX_MODULE_LINES and not path.startswith("tests/") else []
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                long += [f"{path}: {node.name}, {lines} lines"] if lines > MAX_FUNCTION_LINES else []
    assert long == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = re.compile(r"^(utils?|helpers?|common|misc|.*manager.*)$")
    assert [path for path in sources(*FOLDERS) if drawers.match(Path(path).stem)] == []


@cache
def repository_texts() -> dict[str, str]:
    """Every text file that is, or could be, in a commit. A model's vocabulary is data, not text."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the repository is not known")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout.decode()
    texts = {}
    for path in filter(None, listing.split("\0")):
        file = REPOSITORY / path
        if file.is_file() and not re.search(r"assets/models/[^/]+/(tokenizer|vocab)\.json$", path):
            data = file.read_bytes()
            if b"\0" not in data:
                texts[path] = data.decode("utf-8")
    return texts


def places(pattern: str) -> list[str]:
    """``path:line`` of everything that matches, this module's own patterns aside."""
    return [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path, text in repository_texts().items()
        if path != "tests/test_seams.py"
        for match in re.finditer(pattern, text)
    ]


def test_no_file_holds_a_path_of_one_machine() -> None:
    assert places(r"(?<![\w.~$}>/:-])/(work|root|home|Users|tmp|opt|mnt|farm)/\w[\w./-]*") == []


def test_no_file_names_a_package_index() -> None:
    """Where packages come from is the machine's business: pip's own configuration says."""
    assert places(r"(?i)pypi\.(org|io)|pythonhosted|download\.pytorch|registry\.npm|(extra-)?index-url") == []


def test_no_file_holds_an_unfinished_note() -> None:
    assert places(r"\b(TODO|FIXME|XXX)\b") == []
