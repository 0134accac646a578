"""The exported scripts: each is Python that holds what was typed as literals only; a checkpoint's gives its numbers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.events import Done
from core.labs.quantization.presets import LESSON, PRESETS
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.run import run, script
from core.runtime.run_context import RunContext
from core.services import Services
from core.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
TYPED = '"""\nraise SystemExit("typed")\n'


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    made = Services(Settings(home=tmp_path_factory.mktemp("scripts"), offline=True))
    yield made
    made.close()


@pytest.mark.parametrize("step", [*PRESETS, *LESSON], ids=lambda step: step.title)
def test_every_preset_has_a_script_that_is_python(step: Any, services: Services) -> None:
    typed = step.request.model_copy(update={"prompt": TYPED, "text": TYPED})
    tree = ast.parse(script(typed, services.pool, services.catalog))
    raised = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    assert "typed" not in "".join(ast.unparse(node) for node in raised)
    imported = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [line for line in imported if "core" in line.split()[1].split(".")]


def test_a_head_has_no_script(services: Services) -> None:
    with pytest.raises(BadInput, match="no script"):
        script(QuantizationRequest(model="minilm-sentiment"), services.pool, services.catalog)


def test_the_checkpoints_script_writes_and_reads_it_back(services: Services, tmp_path: Path) -> None:
    request = QuantizationRequest.model_validate({"mode": "save", "scheme": "nf4-double", "scored_tokens": 96})
    (done,) = [one for one in run(request, services.pool, RunContext("r", "v", tmp_path)) if isinstance(one, Done)]
    text = script(request, services.pool, services.catalog).replace('"checkpoint"', repr(str(tmp_path / "again")))
    ran = subprocess.run([sys.executable, "-c", text], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    row = json.loads(ran.stdout.splitlines()[-1])
    assert row["max_delta"] <= 0.01
    assert row["perplexity"] == pytest.approx(done.result["distance"]["perplexity"], rel=1e-3)
    assert row["kl"] == pytest.approx(done.result["distance"]["kl"], abs=1e-3)
    assert done.result["passed"]
