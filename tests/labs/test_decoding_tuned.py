"""The decoding lab with models that its visitor has tuned: what it offers, decodes, explains and writes as a script."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from core.catalog.catalog import Catalog
from core.errors import BadInput, LabError, NotFound
from core.events import Done, Step
from core.generation.parameters import Strategy
from core.labs.decoding.microscope import microscope
from core.labs.decoding.models import tuned_choices
from core.labs.decoding.request import DecodingRequest, MicroscopeRequest
from core.labs.decoding.run import run, script
from core.runtime.pool import ModelSpec
from core.runtime.run_context import RunContext
from tests.fakes_generation import llama
from tests.fakes_tuned import LABELS, OWNER, VISITOR, Home, lora, prompt

PLAIN = (Strategy.GREEDY, Strategy.SAMPLING, Strategy.BEAM)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


def asked(model: str, *strategies: Strategy, **fields: Any) -> DecodingRequest:
    return DecodingRequest(
        model=model, prompt="the cat sat", strategies=strategies or PLAIN, max_new_tokens=8, ignore_eos=True, **fields
    )


def decoded(home: Home, request: DecodingRequest, visitor: str = VISITOR) -> tuple[Step, dict[str, list[int]]]:
    """The start of a run, and each strategy's new ids."""
    events = list(run(request, home.pool, RunContext("run", visitor)))
    start = next(event for event in events if isinstance(event, Step) and event.name == "start")
    last = events[-1]
    assert isinstance(last, Done)
    return start, {column["strategy"]: column["ids"] for column in last.result["columns"]}


def written(home: Home, request: DecodingRequest) -> str:
    return script(request, home.pool, Catalog(home.settings), owner=OWNER)


def printed(code: str, home: Home) -> dict[str, list[int]]:
    """What a script prints as ids, run with the bundled models where it looks for them."""
    code = code.replace("assets/models", str(home.settings.assets / "models"))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "script", "exec"), {"__name__": "__main__"})  # noqa: S102 - the script is what is tested
    found = [json.loads(line) for line in out.getvalue().splitlines() if line.startswith('{"strategy"')]
    return {line["strategy"]: line["ids"] for line in found}


def test_the_picker_offers_the_visitors_language_models(home: Home) -> None:
    assert tuned_choices(home.settings, OWNER) == []
    name = home.tuned(lora(), title="Pirates")
    twin = home.tuned(lora(), seed=2, title="Ahoy", method="dora")
    again = home.tuned(lora(), seed=3, title="Ahoy")
    home.saved(llama(), "tiny", task="classification", labels=list(LABELS))
    home.tuned(lora(), visitor="a stranger")
    offered = {choice.name: (choice.title, choice.note) for choice in tuned_choices(home.settings, OWNER)}
    assert offered == {
        name: ("Pirates", "LoRA on tiny · yours"),
        twin: (f"Ahoy ({twin[6:10]})", "DoRA on tiny · yours"),
        again: (f"Ahoy ({again[6:10]})", "LoRA on tiny · yours"),
    }


@pytest.mark.parametrize("kind", ["adapter", "prompt", "full"])
def test_a_script_finds_the_ids_of_the_run(home: Home, kind: str) -> None:
    config = {"adapter": lora, "prompt": prompt}.get(kind)
    name = home.tuned(config(), kind=kind) if config else home.saved(llama(), "tiny")
    start, ids = decoded(home, asked(name))
    assert start.values["facts"]["title"] == "Pirates"
    code = written(home, asked(name))
    assert ("PeftModel" in code) == (kind != "full")
    assert printed(code, home) == ids


def test_searches_of_our_own_decode_with_an_adapter_too(home: Home) -> None:
    name = home.tuned(lora())
    request = asked(name, Strategy.CONTRASTIVE, Strategy.SPECULATIVE, Strategy.GREEDY)
    _, ids = decoded(home, request)
    assert ids["speculative"] == ids["greedy"]
    assert printed(written(home, request), home) == ids
    assert decoded(home, asked("tiny"))[1]["greedy"] != ids["greedy"]


def test_a_trained_prompt_decodes_by_every_strategy_and_its_script_says_what_it_cannot(home: Home) -> None:
    name = home.tuned(prompt(), kind="prompt")
    request = asked(name, Strategy.CONTRASTIVE, Strategy.SPECULATIVE, Strategy.GREEDY)
    _, ids = decoded(home, request)
    assert ids["speculative"] == ids["greedy"]
    assert len(ids["contrastive"]) == 8
    with pytest.raises(BadInput, match="trained prompt"):
        written(home, request)


def test_the_check_against_the_library_holds(home: Home) -> None:
    for name in (home.tuned(lora()), home.tuned(prompt(), kind="prompt")):
        events = list(run(asked(name, check=True), home.pool, RunContext("run", VISITOR)))
        checks = [event.values for event in events if isinstance(event, Step) and event.name == "check"]
        assert [check["same"] for check in checks] == [True] * 3, checks


def test_facts_say_that_the_base_is_in_memory_once(home: Home) -> None:
    start, _ = decoded(home, asked(home.tuned(lora())))
    facts = start.values["facts"]
    assert "beside tiny, which is in memory once" in facts["why"]
    assert any("of its own, beside its base" in value for _, value in facts["lines"])
    plain, _ = decoded(home, asked("tiny"))
    assert not any("beside" in value for _, value in plain.values["facts"]["lines"])


def test_the_microscope_reads_the_tuned_model(home: Home) -> None:
    name = home.tuned(lora())
    with home.pool.lease(ModelSpec("tiny")) as loaded:
        prompt_ids = tuple(loaded.tokenizer("the cat sat")["input_ids"])
    _, ids = decoded(home, asked(name))
    step = MicroscopeRequest(
        decoding=asked(name), strategy=Strategy.GREEDY, prompt_ids=prompt_ids, chosen_id=ids["greedy"][0]
    )
    view = microscope(step, home.pool, visitor=VISITOR, owner=OWNER)
    chosen = next(row for row in view["rows"] if row["chosen"])
    assert chosen["p"][0] == max(row["p"][0] for row in view["rows"])
    with pytest.raises(NotFound):
        microscope(step, home.pool, visitor="a stranger", owner="0" * 64)


def test_a_stranger_neither_decodes_nor_gets_a_script(home: Home) -> None:
    name = home.tuned(lora())
    for attempt in (
        lambda: decoded(home, asked(name), visitor="a stranger"),
        lambda: script(asked(name), home.pool, Catalog(home.settings), owner="0" * 64),
        lambda: script(asked(name), home.pool, Catalog(home.settings)),
    ):
        with pytest.raises(LabError) as caught:
            attempt()
        assert isinstance(caught.value, NotFound)


def test_a_model_that_labels_writes_nothing(home: Home) -> None:
    spec = ModelSpec("tiny", head="classification", labels=LABELS)
    with home.pool.lease(spec) as fresh:
        name = home.saved(fresh.model, "tiny", task="classification", labels=list(LABELS))
    with pytest.raises(BadInput, match="trained to label"):
        decoded(home, asked(name))
