"""The language model that ships: its files and card, that it tells stories, and that every preset and every experiment
of the lesson gives the same ids here, through the library's ``generate()``, and in the exported script."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.labs.decoding.presets import LESSON, PRESETS
from core.labs.decoding.request import DecodingRequest
from core.measure.perplexity import likelihood
from core.runtime.loading import ModelSpec
from core.runtime.runs import follow
from core.services import Services
from core.settings import ASSETS, Settings

MODEL = ASSETS / "models" / "story-lm"
OUR_STORY = (
    "One day, a little boy named Sam went to the park with his mom. He saw a big red kite in a tree. Sam wanted to "
    'help. "Mom, can we get the kite?" he asked. His mom smiled and said, "Yes, we can try." They found a long stick '
    "and pulled the kite down. A girl ran to them. It was her kite. She was very happy and said thank you. Sam and the "
    "girl played with the kite all day."
)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    made = Services(Settings(home=tmp_path_factory.mktemp("home"), offline=True, follower_grace=600))
    made.warm_up()
    assert made.readiness == "ready"
    yield made
    made.close()


def test_the_files_are_safe_small_and_carded() -> None:
    names = {path.name for path in MODEL.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= names
    assert not [name for name in names if Path(name).suffix in (".bin", ".pt", ".pkl", ".py")]
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 40e6
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    report = json.loads((MODEL / "training.json").read_text(encoding="utf-8"))
    assert f"{report['held_out']['bits_per_byte']:.3f} bits per byte" in card
    assert f"{report['held_out']['nats_per_token']:.3f} nats per token" in card
    assert report["held_out"]["bits_per_byte"] <= 0.86


def test_the_card_counts_the_parameters_that_are_there(services: Services) -> None:
    report = json.loads((MODEL / "training.json").read_text(encoding="utf-8"))
    facts = services.catalog.facts("story-lm")
    assert facts.parameters == report["parameters"]
    assert facts.stored_dtype == "bfloat16"
    assert facts.has_chat_template


def test_it_has_learned_to_expect_a_story(services: Services) -> None:
    with services.pool.lease(ModelSpec("story-lm")) as loaded:

        def encode(text: str) -> list[int]:
            return [*loaded.tokenizer(text)["input_ids"], loaded.tokenizer.eos_token_id]

        def forward(ids: Any) -> Any:
            return loaded.model(input_ids=ids).logits

        story = likelihood(forward, encode, [OUR_STORY], context=loaded.facts.context)
        words = " ".join(sorted(OUR_STORY.split()))
        shuffled = likelihood(forward, encode, [words], context=loaded.facts.context)
    assert story.bits_per_byte < 1.0
    assert shuffled.bits_per_byte > 1.5 * story.bits_per_byte


@pytest.mark.parametrize(
    "request_", [p.request for p in PRESETS] + [e.request for e in LESSON], ids=lambda r: r.summary()[:40]
)
def test_here_in_the_library_and_in_the_script_the_ids_are_the_same(
    services: Services, request_: DecodingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request_.model_copy(update={"check": True})
    records = list(follow(services.start("decoding", asked, services.identity.new_visitor())))
    assert records[-1]["kind"] == "done"
    checks = [r["values"] for r in records if r.get("name") == "check"]
    assert len(checks) == len(asked.strategies)
    assert all(check["same"] is not False for check in checks), checks

    script = services.lab("decoding").script(asked, services.pool, services.catalog)
    monkeypatch.chdir(ASSETS.parent)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(script, "decode.py", "exec"), {})  # noqa: S102 - the script is what is tested
    lines = [json.loads(line) for line in said.getvalue().splitlines() if line.startswith('{"strategy"')]
    assert {line["strategy"]: line["ids"] for line in lines} == {
        column["strategy"]: column["ids"] for column in records[-1]["result"]["columns"]
    }


def test_the_small_one_drafts_for_the_large_one(services: Services) -> None:
    asked = DecodingRequest(
        strategies=("greedy", "speculative"), draft="story-lm-draft", draft_tokens=3, check=True, max_new_tokens=40
    )
    records = list(follow(services.start("decoding", asked, services.identity.new_visitor())))
    greedy, speculative = records[-1]["result"]["columns"]
    assert speculative["ids"] == greedy["ids"]
    drafts = [r["values"] for r in records if r.get("name") == "draft"]
    assert 0 < drafts[-1]["accepted"] <= drafts[-1]["proposed"]
    small, large = (services.catalog.facts(name) for name in ("story-lm-draft", "story-lm"))
    assert small.parameters < large.parameters / 5
