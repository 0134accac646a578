"""What holds for every test: no home, cache, token or setting of whoever runs them, and no way out to the Hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")

_folders: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before any test module is imported: the libraries read it at import."""
    folder = tempfile.mkdtemp(prefix="benchtop-tests-")
    _folders.append(folder)
    for name in [name for name in os.environ if name.startswith("BENCHTOP_") and name != "BENCHTOP_CHROMIUM"]:
        del os.environ[name]
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "SPACE_ID", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.pop(name, None)
    os.environ |= {
        "BENCHTOP_HOME": f"{folder}/home",
        "HF_HOME": f"{folder}/huggingface",
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing listens there: a forgotten Hub call fails at once
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_RUN_HISTORY": "False",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",  # tests run side by side
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what drives a browser. Playwright keeps an event loop in its process, so the gate runs these apart."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


def pytest_unconfigure(config: pytest.Config) -> None:
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings as a test wants them: offline, with a home of its own."""
    return Settings(home=tmp_path / "home", offline=True)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium, headless. One per process: a second Playwright would not start."""
    path = os.environ.get("BENCHTOP_CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path and BENCHTOP_CHROMIUM is not set")
    from playwright.sync_api import sync_playwright

    as_root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *as_root])
        yield browser
        browser.close()
