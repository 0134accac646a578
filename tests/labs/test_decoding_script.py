"""The exported scripts give the ids of the engine, hold nothing of Benchtop, and run nothing that a visitor typed."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.generation.beams import BeamResult, beam_search
from core.generation.contrastive import contrastive_search
from core.generation.engine import generate
from core.generation.parameters import SAMPLING_STRATEGIES, Stage, Strategy
from core.generation.readings import TokenReading
from core.generation.speculative import speculate
from core.labs.decoding.request import DecodingRequest
from core.labs.decoding.script import script
from core.runtime.loading import LoadedModel
from tests.fakes_search import Architecture, model, tokenizer, wrap

CHAT_TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}>"
REORDERED = (Stage.TOP_P, Stage.TYPICAL, Stage.TEMPERATURE, Stage.TOP_K, Stage.PENALTIES, Stage.MIN_P)
PROMPT = 'ab ab abc, it\'s "x"'


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved models by name; "draft" is a second Llama with the same tokenizer."""
    places = {}
    architectures: dict[str, tuple[Architecture, int]] = {"llama": ("llama", 1), "draft": ("llama", 2), "t5": ("t5", 3)}
    for name, (architecture, seed) in architectures.items():
        places[name] = tmp_path_factory.mktemp(name)
        own = tokenizer()
        own.chat_template = CHAT_TEMPLATE
        made = model(architecture, seed=seed)
        made.generation_config.update(temperature=0.7, repetition_penalty=1.3, top_k=5)  # must not leak in
        made.generation_config.do_sample = True
        made.save_pretrained(places[name])
        own.save_pretrained(places[name])
    return places


def reopened(folder: Path) -> LoadedModel:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    auto: Any = AutoModelForSeq2SeqLM if "t5" in folder.name else AutoModelForCausalLM
    return wrap(auto.from_pretrained(folder).eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder))


def said(text: str) -> dict[str, list[int]]:
    """Run a script in this process: the ids of its JSON lines."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "script", "exec"), {"__name__": "__main__"})  # noqa: S102 - what is tested
    return parsed(printed.getvalue())


def parsed(output: str) -> dict[str, list[int]]:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"strategy"')]
    return {line["strategy"]: line["ids"] for line in lines}


def prompt_ids(loaded: LoadedModel, request: DecodingRequest) -> list[int]:
    if not request.chat:
        return [*loaded.tokenizer(request.prompt)["input_ids"]]
    turns = [{"role": "user", "content": request.prompt}]
    if request.system_prompt:
        turns.insert(0, {"role": "system", "content": request.system_prompt})
    return [*loaded.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)]


def engine_ids(
    loaded: LoadedModel, request: DecodingRequest, strategy: Strategy, draft: LoadedModel | None
) -> list[int]:
    prompt, forced = prompt_ids(loaded, request), request.forced_ids
    asked = (request.sampling(strategy), request.stop())
    whole = [*prompt, *forced]
    found: Iterable[Any]
    if strategy is Strategy.BEAM:
        width, penalty = request.num_beams, request.length_penalty
        *_, last = beam_search(loaded, prompt, *asked, num_beams=width, length_penalty=penalty, prefix_ids=forced)
        assert isinstance(last, BeamResult)
        return [*last.hypotheses[0].ids]
    if strategy is Strategy.CONTRASTIVE:
        found = contrastive_search(
            loaded, whole, *asked, penalty_alpha=request.penalty_alpha, top_k=request.contrastive_k
        )
    elif strategy is Strategy.SPECULATIVE:
        found = speculate(loaded, whole, *asked, draft=draft, draft_tokens=request.draft_tokens)
    else:
        found = generate(loaded, prompt, *asked, prefix_ids=forced, visitor="", cancelled=lambda: False)
    return [reading.id for reading in found if isinstance(reading, TokenReading)]


def check(folders: dict[str, Path], name: str = "llama", **settings: Any) -> str:
    """The script of a request finds what the engine finds; returns its text."""
    request = DecodingRequest(**{"prompt": PROMPT, "max_new_tokens": 20, "top_k": 50, **settings})
    loaded = reopened(folders[name])
    draft = reopened(folders["draft"]) if request.draft == "smaller" else None
    kind: Any = loaded.facts.kind
    text = script(request, str(folders[name]), "float32", kind=kind, draft_path=str(folders["draft"]))
    expected = {s.value: engine_ids(loaded, request, s, draft) for s in request.strategies}
    assert said(text) == expected
    assert all(expected.values())
    return text


def test_plain_strategies(folders: dict[str, Path]) -> None:
    text = check(folders, strategies=("greedy", "sampling", "beam", "speculative"))
    assert "def sample" not in text
    assert "top_k=50" in text
    assert "early_stopping=False" in text


@pytest.mark.parametrize("order", [None, REORDERED])
def test_each_kind_of_sampling(folders: dict[str, Path], order: tuple[Stage, ...] | None) -> None:
    settings: dict[str, Any] = {
        "temperature": 1.7, "top_k": 30, "top_p": 0.8, "min_p": 0.03, "typical_p": 0.9, "repetition_penalty": 1.2,
    }  # fmt: skip
    if order:
        settings["stage_order"] = order
    text = check(folders, strategies=SAMPLING_STRATEGIES[:4], seed=5, **settings)
    check(folders, strategies=SAMPLING_STRATEGIES[4:], seed=6, no_repeat_ngram_size=2, **settings)
    assert ("def sample" in text) == bool(order)


def test_sampling_with_everything_off(folders: dict[str, Path]) -> None:
    text = check(folders, strategies=("sampling",), temperature=1.0, top_k=0, top_p=1.0)
    assert "top_k=0" in text
    check(folders, strategies=("sampling",), temperature=1.0, top_k=0, top_p=1.0, stage_order=REORDERED)


def test_penalties_reach_every_strategy(folders: dict[str, Path]) -> None:
    check(
        folders, strategies=("greedy", "beam", "contrastive", "speculative"), repetition_penalty=1.4,
        no_repeat_ngram_size=2, num_beams=3, length_penalty=-0.5, contrastive_k=6, penalty_alpha=0.4,
    )  # fmt: skip


def test_speculation_with_a_smaller_model(folders: dict[str, Path]) -> None:
    text = check(folders, strategies=("speculative", "greedy"), draft="smaller", draft_tokens=3, prompt="ab")
    assert "assistant_model" in text


@pytest.mark.parametrize("draft", ["prompt lookup", "smaller"])
def test_stop_strings(folders: dict[str, Path], draft: str) -> None:
    loaded = reopened(folders["llama"])
    request = DecodingRequest(prompt=PROMPT, max_new_tokens=20, ignore_eos=True, strategies=("greedy",))
    characters = [loaded.tokenizer.decode([i]) for i in engine_ids(loaded, request, Strategy.GREEDY, None)]
    stop = next(c for c in characters[6:] if len(c) == 1 and c.isprintable() and c != "\ufffd")
    check(
        folders, strategies=("greedy", "beam", "contrastive", "speculative"), stop_strings=(stop, "\"'\\"),
        draft=draft, ignore_eos=True,
    )  # fmt: skip
    check(folders, strategies=("sampling", "top_p_sampling"), stop_strings=(stop,), stage_order=REORDERED)


def test_end_tokens(folders: dict[str, Path], tmp_path: Path) -> None:
    loaded = reopened(folders["llama"])
    request = DecodingRequest(prompt=PROMPT, max_new_tokens=20, ignore_eos=True, strategies=("greedy",))
    ids = engine_ids(loaded, request, Strategy.GREEDY, None)
    ends = [ids[7], 3]
    loaded.model.generation_config.eos_token_id = ends
    loaded.model.generation_config.do_sample = True  # so that saving does not object to the temperature
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    places = {**folders, "llama": tmp_path}
    strategies = ("greedy", "beam", "contrastive", "speculative")
    check(places, strategies=strategies, ignore_eos=False)
    assert "END = None" in check(places, strategies=strategies, ignore_eos=True)
    check(places, strategies=("sampling",), stage_order=REORDERED)


def test_branches_and_chats(folders: dict[str, Path]) -> None:
    four = ("greedy", "sampling", "beam", "contrastive")
    text = check(folders, strategies=four, forced_ids=(5, 6, 7), chat=True, system_prompt="be 'brief'", prompt="hi")
    assert '"role": "system"' in text
    assert '"role": "system"' not in check(folders, strategies=("greedy",), chat=True)


def test_the_context_limits_the_script_too(folders: dict[str, Path]) -> None:
    request = {"strategies": ("greedy", "sampling", "contrastive", "speculative"), "ignore_eos": True}
    check(folders, prompt="x" * 55, max_new_tokens=30, **request)


def test_encoder_decoders(folders: dict[str, Path]) -> None:
    check(folders, "t5", strategies=("greedy", "sampling", "beam"), repetition_penalty=1.2)
    check(folders, "t5", strategies=("greedy", "sampling", "beam"), forced_ids=(4, 5), stage_order=REORDERED)
    for strategy in ("contrastive", "speculative"):
        with pytest.raises(BadInput, match="causal"):
            script(DecodingRequest(strategies=(strategy,)), "x", "float32", kind="seq2seq")


HOSTILE = [
    "'''\"\"\"\\",
    '"); import os; os.abort()  #',
    "line\nbreak\r\n\u2028{braces} {0} %s $x",
    "\\N{BULLET} \\x41 \\",
    "snowman \u2603 \U0001f600",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_was_typed_stays_a_literal(text: str) -> None:
    request = DecodingRequest(
        prompt=text, model="m", strategies=("greedy", "speculative", "contrastive"), chat=True, system_prompt=text,
        stop_strings=(text,), draft=text, reference=text,
    )  # fmt: skip
    tree = ast.parse(script(request, text, "bfloat16", draft_path=text, device=text))
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
        and node.targets[0].id != "END"
    }  # fmt: skip
    assert values["MODEL"] == values["PROMPT"] == values["SYSTEM_PROMPT"] == values["DRAFT_MODEL"] == text
    assert values["STOP_STRINGS"] == [text]
    plain = ast.parse(
        script(
            request.model_copy(update={"prompt": "p", "system_prompt": "p", "stop_strings": ("p",), "draft": "p"}),
            "p",
            "bfloat16",
            device="p",
        )
    )
    assert shape(tree) == shape(plain)


def shape(tree: ast.AST) -> list[str]:
    """The kinds of a program's nodes in order: what it does, whatever its literals say."""
    return [type(node).__name__ for node in ast.walk(tree)]


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(BadInput, match="number format"):
        script(DecodingRequest(), "m", "float32; import os")


def test_a_script_runs_by_itself(folders: dict[str, Path], tmp_path: Path) -> None:
    """In a fresh Python, away from the repository: nothing of Benchtop is needed."""
    request = DecodingRequest(prompt=PROMPT, max_new_tokens=8, strategies=("greedy", "contrastive"), top_k=50)
    file = tmp_path / "decode.py"
    file.write_text(script(request, str(folders["llama"]), "float32"), encoding="utf-8")
    ran = subprocess.run([sys.executable, "-I", str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    loaded = reopened(folders["llama"])
    assert parsed(ran.stdout) == {s.value: engine_ids(loaded, request, s, None) for s in request.strategies}
    assert "--- greedy" in ran.stdout
    assert "core" not in file.read_text(encoding="utf-8").replace("scores", "")
