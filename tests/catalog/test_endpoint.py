"""The library's own setting of the Hub's address reaches the catalog: one fetch in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes_models import model_files
from tests.hub_server import Repository, serving

SCRIPT = """
from core.settings import Settings, prepare_process
settings = prepare_process(Settings.from_environment())
from core.catalog.catalog import Catalog
from core.errors import LabError
for name in ("org/open", "org/missing"):
    try:
        print(Catalog(settings).locate(name).facts.parameters)
    except LabError as error:
        print(type(error).__name__)
"""


def _run(tmp_path: Path, endpoint: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "BENCHTOP_", "TRANSFORMERS_"))}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "BENCHTOP_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_endpoint_of_the_environment_is_asked(tmp_path: Path) -> None:
    with serving({"org/open": Repository(model_files())}) as server:
        assert _run(tmp_path, server.url) == ["5712", "NotFound"]
        assert server.downloads()
    assert _run(tmp_path, server.url) == ["5712", "Unreachable"]  # down: what is cached still opens
