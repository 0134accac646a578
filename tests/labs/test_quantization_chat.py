"""Chat formats in a run: tokens, replies and likelihoods against plain transformers; what is said of a wrong one."""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.labs.quantization.chat import render
from core.labs.quantization.conclusions import conclusions
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.script_chat import IMPORTS, lines
from core.runtime.run_context import RunContext
from core.services import Services
from core.settings import Settings
from tests.training.tiny_models import folder_of

STORY_LM = Path("assets") / "models" / "story-lm"
TALK = [
    {"role": "system", "content": "You tell stories."},
    {"role": "user", "content": "Tell me a story about a fox. 🦊"},
    {"role": "assistant", "content": "Once there was a small red fox who was afraid of the dark."},
    {"role": "user", "content": "What happened then?"},
]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("chat")
    shutil.copytree(folder_of("llama"), folder / "models" / "tiny")
    made = Services(Settings(home=folder / "home", model_roots=(folder / "models",), offline=True))
    yield made
    made.close()


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Any]:
    """The bundled model and its tokenizer, in transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(STORY_LM, dtype="float32").eval(), AutoTokenizer.from_pretrained(
        STORY_LM
    )


def request(**fields: Any) -> QuantizationRequest:
    return QuantizationRequest.model_validate({"mode": "chat", "conversation": TALK, **fields})


def events(services: Services, **fields: Any) -> list[dict[str, Any]]:
    return [event.model_dump() for event in render(request(**fields), services.pool, RunContext("run", "visitor"))]


def steps(found: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event["values"] for event in found if event.get("name") == name]


@pytest.fixture(scope="module")
def run(services: Services) -> list[dict[str, Any]]:
    return events(services)


def test_the_models_own_format_is_its_templates(run: list[dict[str, Any]], plain: tuple[Any, Any]) -> None:
    own = steps(run, "format")[0]
    tokenizer = plain[1]
    assert own["text"] == tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True)
    ids = tokenizer.apply_chat_template(TALK, add_generation_prompt=True, return_dict=False)
    assert [token["piece"] for token in own["tokens"]] == tokenizer.convert_ids_to_tokens(ids)
    assert own["total"] == len(ids)
    assert (own["special_as_one"]["one"], own["special_as_one"]["split"]) == (3, 0)
    opening = [token for token in own["tokens"] if token["turn"] is None]
    assert "".join(token["t"] for token in opening) == "<|im_start|>assistant\n"


def test_every_format_adds_up(run: list[dict[str, Any]], plain: tuple[Any, Any]) -> None:
    found = steps(run, "format")
    assert [one["format"] for one in found] == ["model", "chatml", "llama3", "mistral", "zephyr"]
    for one in found:
        assert "".join(piece["text"] for piece in one["pieces"]) == one["text"]
        read = plain[1](one["text"], add_special_tokens=False)["input_ids"]
        assert one["total"] == len(read) == len(one["tokens"])
        outside = sum(token["turn"] is None for token in one["tokens"])
        assert sum(one["per_turn"]) + outside == one["total"]
        for mark, size in one["special_as_one"]["tokens"].items():
            assert size == len(plain[1](mark, add_special_tokens=False)["input_ids"])
    assert found[2]["special_as_one"]["split"] == 4
    json.dumps(run, allow_nan=False)


def test_replies_and_likelihoods_are_those_of_plain_loops(run: list[dict[str, Any]], plain: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = plain
    told = steps(run, "wrong")[0]["perplexity"]
    for one in steps(run, "format"):
        encoded = tokenizer(one["text"], add_special_tokens=False, return_offsets_mapping=True)
        ids = torch.tensor([encoded["input_ids"]])
        reply = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
        assert one["reply"]["ids"] == reply[0, ids.shape[1] :].tolist()
        begin = one["text"].index(TALK[2]["content"])
        end = begin + len(TALK[2]["content"])
        places = [
            i for i, (start, stop) in enumerate(encoded["offset_mapping"]) if begin <= start < end and stop > start
        ]
        with torch.no_grad():
            logs = model(ids).logits[0].log_softmax(-1)
        nats = [-float(logs[at - 1, ids[0, at]]) for at in places]
        assert told[one["format"]] == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-3)


def test_a_wrong_format_is_told_what_was_measured(run: list[dict[str, Any]]) -> None:
    told = steps(run, "wrong")[0]
    assert told["against"] == "model"
    said = {line["format"]: line["text"] for line in told["lines"]}
    assert set(said) == {"chatml", "llama3", "mistral", "zephyr"}
    ratio = told["perplexity"]["llama3"] / told["perplexity"]["model"]
    assert f"its perplexity is {ratio:.3g} times as high" in said["llama3"]
    assert "4 of its 4 marks are not single tokens here" in said["llama3"]
    total = {one["format"]: one["total"] for one in steps(run, "format")}
    assert f"{total['llama3'] - total['model']:,} tokens more" in said["llama3"]
    assert run[-1]["kind"] == "done"
    assert [one["format"] for one in run[-1]["result"]["formats"]] == list(total)


def test_without_a_generation_prompt_it_is_not_there(services: Services) -> None:
    found = steps(events(services, generation_prompt=False, formats=["model", "zephyr"]), "format")
    assert all(one["text"].endswith(("<|im_end|>\n", "</s>\n")) for one in found)
    assert all(piece["kind"] != "generation" for one in found for piece in one["pieces"])
    assert all(sum(one["per_turn"]) == one["total"] for one in found)


def test_what_a_format_cannot_hold_is_refused_and_the_others_go_on(services: Services) -> None:
    talk = [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Hello"}]
    found = steps(events(services, conversation=talk, formats=["mistral", "chatml"]), "format")
    assert "take turns" in found[0]["note"]
    assert (found[0]["total"], found[0]["reply"]) == (0, None)
    assert found[1]["reply"]["tokens"] > 0


def test_text_of_a_special_token_is_pointed_out(services: Services) -> None:
    talk = [{"role": "user", "content": "a <|im_end|> b <|eot_id|>"}]
    found = events(services, conversation=talk, formats=["model", "llama3"])
    texts = [event["text"] for event in found if event["kind"] == "warning"]
    assert len(texts) == 2
    assert "<|eot_id|>" in texts[0]
    assert "plain text" in texts[0]
    assert "<|im_end|>" in texts[1]
    assert "special token itself" in texts[1]
    own = steps(found, "format")[0]
    assert [piece["text"] for piece in own["pieces"] if piece["kind"] == "content"] == [talk[0]["content"]]
    assert sum(token["special"] for token in own["tokens"] if token["piece"] == "<|im_end|>") == 2


def test_a_model_without_a_template_says_so(services: Services) -> None:
    talk = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "saw the sea"}]
    found = events(services, model="tiny", conversation=talk, formats=["model", "chatml"])
    own, chatml = steps(found, "format")
    assert own["text"] == "the cat\nsaw the sea\n"
    assert "no chat template" in own["note"]
    assert chatml["special_as_one"]["split"] == 2
    assert steps(found, "start")[0]["model"]["template"] is False
    told = steps(found, "wrong")[0]
    assert told["against"] == min(told["perplexity"], key=told["perplexity"].get)


def test_a_conversation_beyond_the_context_is_shown_and_not_read(services: Services) -> None:
    talk = [{"role": "assistant", "content": "fox " * 4990}, {"role": "user", "content": "Go on."}]
    (one,) = steps(events(services, conversation=talk, formats=["chatml"]), "format")
    assert one["total"] > 4990
    assert len(one["tokens"]) == 2000
    assert len(one["text"]) == 20_000
    assert one["reply"] is None
    assert "512" in one["note"]


def test_an_encoder_is_refused_and_a_stopped_run_keeps_what_it_has(services: Services) -> None:
    with pytest.raises(BadInput, match="writes no text"):
        events(services, model="all-MiniLM-L6-v2")
    context = RunContext("run", "visitor")
    kept = []
    for event in render(request(), services.pool, context):
        kept.append(event.model_dump())
        if kept[-1].get("name") == "format":
            context.cancel()
    assert len(steps(kept, "format")) == 1
    assert kept[-1]["reason"] == "stopped"


def test_nothing_is_said_of_what_was_not_measured() -> None:
    refused = {"format": "mistral", "total": 0, "perplexity": None, "text": "", "reply": None, "special_as_one": None}
    assert conclusions([refused], True) == {"lines": [], "perplexity": {}, "against": None}


def test_the_script_gives_the_same(run: list[dict[str, Any]], plain: tuple[Any, Any]) -> None:
    text = "\n".join(IMPORTS) + "\n" + lines(request())
    ast.parse(text)
    assert "core." not in text
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = {"__name__": "__main__", "model": copy.copy(plain[0]), "tokenizer": plain[1]}
        exec(compile(text, "script", "exec"), names)  # noqa: S102
    found = [json.loads(line) for line in printed.getvalue().splitlines()]
    told = steps(run, "wrong")[0]["perplexity"]
    for said, one in zip(found, steps(run, "format"), strict=True):
        assert (said["format"], said["text"], said["total"]) == (one["format"], one["text"], one["total"])
        assert said["reply"] == one["reply"]["text"]
        assert said["perplexity"] == pytest.approx(told[one["format"]], rel=1e-3)


def test_what_was_typed_is_only_a_literal_in_the_script() -> None:
    typed = "'''\"\"\"\n{x}\\"
    text = lines(request(conversation=[{"role": "user", "content": typed}]))
    found = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    assert typed in found
