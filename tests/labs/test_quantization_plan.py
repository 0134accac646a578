"""The memory plan: its numbers against placement's and against arithmetic by hand, its verdicts, its script."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.catalog.known import CONFIGS, known_facts
from core.catalog.linears import known_linear_modules, low_rank_parameters
from core.errors import BadInput, NotFound
from core.labs.quantization import planning
from core.labs.quantization.choices import Use
from core.labs.quantization.footprints import Footprint, adapter_parameters, needed, verdict
from core.labs.quantization.planning import memory_plan, plan
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.script_plan import IMPORTS, lines
from core.runtime.placement import Policy, place
from core.runtime.run_context import RunContext
from core.settings import Settings
from tests.fakes_models import GB, cpu, cuda

MISTRAL = "mistralai/Mistral-7B-Instruct-v0.3"
LLAMA = "meta-llama/Llama-3.2-1B"
CARD = cuda(total=141 * GB)


def request(**fields: Any) -> QuantizationRequest:
    return QuantizationRequest.model_validate({"mode": "plan", **fields})


def planned(name: str, here: Any = (), **fields: Any) -> dict[str, Any]:
    return memory_plan(request(model=name, **fields), known_facts(name), here)[0]


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["scheme"] if one["use"] == "inference" else one["use"]: one for one in found["rows"]}


def test_mistral_7b_by_hand() -> None:
    found = rows(planned(MISTRAL, context=8192, batch=2))
    parameters = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336 + 2 * 4096) + 2 * 32768 * 4096 + 4096
    packed = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336)
    assert found["bfloat16"]["parts"]["weights"] == 2 * parameters == 14_496_047_104
    assert found["bfloat16"]["parts"]["kv"] == 2 * 32 * 8 * 128 * 8192 * 2 * 2
    assert found["float32"]["parts"]["weights"] == 4 * parameters
    nf4 = packed // 2 + packed // 64 * 4 + 2 * (parameters - packed)
    assert found["nf4"]["parts"]["weights"] == pytest.approx(nf4, rel=1e-4)
    assert found["nf4-double"]["parts"]["weights"] == pytest.approx(nf4 - packed // 64 * 3, rel=5e-3)
    trained = 16 * 32 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    assert found["lora"]["parts"]["gradients"] == 4 * trained
    assert found["lora"]["parts"]["optimizer"] == 8 * trained
    assert found["lora"]["parts"]["weights"] == 2 * parameters + 4 * trained
    assert found["full"]["parts"]["gradients"] == found["full"]["parts"]["weights"] == 4 * parameters
    assert all(one["total"] == sum(one["parts"].values()) for one in found.values())
    assert list(found) == [*(scheme.value for scheme in request().schemes), "lora", "qlora", "full"]


def test_llama_1b_by_hand() -> None:
    found = planned(LLAMA, context=4096, batch=3)
    assert rows(found)["bfloat16"]["parts"]["weights"] == 2 * 1_235_814_400
    assert found["kv"]["per_token"] == 2 * 16 * 8 * 64 * 2
    by_context = {one["context"]: one["bytes"] for one in found["kv"]["by_context"]}
    assert by_context[131_072] == 131_072 * 3 * found["kv"]["per_token"]
    assert max(by_context) == 131_072


def test_rows_are_what_placement_would_decide() -> None:
    facts = known_facts(LLAMA)
    found = rows(planned(LLAMA, context=2048, batch=2, rank=8))
    trained = low_rank_parameters(known_linear_modules(LLAMA), r=8)
    policies = {
        "int8": Policy(batch=2, context=2048, dtype="bfloat16", quantization="int8"),
        "qlora": Policy("train", 2, 2048, dtype="bfloat16", trainable=trained, quantization="nf4-double"),
        "full": Policy("train", 2, 2048, dtype="float32"),
    }
    for name, policy in policies.items():
        placed = place(facts, [CARD], policy)
        parts = found[name]["parts"]
        assert (parts["weights"], parts["kv"]) == (placed.weight_bytes, placed.kv_bytes)
        assert found[name]["total"] == placed.total_bytes


@pytest.mark.parametrize("name", [MISTRAL, LLAMA, "HuggingFaceH4/zephyr-7b-beta", "gpt2-large", "bert-base-uncased"])
def test_the_courses_models_can_be_planned(name: str) -> None:
    found, refused = memory_plan(request(model=name, batch=4), known_facts(name))
    assert [one["bytes"] for one in found["devices"]] == [size * GB for size in (8, 16, 24, 40, 80, 141)]
    assert len(found["verdicts"]) == len(found["rows"])
    assert all(len(line) == 6 for line in found["verdicts"])
    assert "estimate" in found["sentence"].lower()
    for line in found["verdicts"]:  # a larger card is never worse
        ranks = [("not", "with", "fits").index(one["verdict"]) for one in line]
        assert ranks == sorted(ranks)
    assert bool(refused) == (name == "gpt2-large")
    json.dumps(found, allow_nan=False)


def test_an_encoder_has_no_cache_and_reads_no_more_than_it_can() -> None:
    found = planned("bert-base-uncased", context=100_000)
    assert found["kv"] == {"per_token": 0, "by_context": []}
    assert {one["parts"]["kv"] for one in found["rows"]} == {0}
    assert "512 tokens (the most it reads, of the 100,000 asked for)" in found["sentence"]
    assert found["rows"] == planned("bert-base-uncased", context=512)["rows"]


def test_torchao_and_gpt2_are_told_apart() -> None:
    found, refused = memory_plan(request(model="gpt2-large"), known_facts("gpt2-large"))
    assert not {"int8-weight-only", "int8-dynamic"} & set(rows(found))
    assert len(refused) == 2
    assert all("Conv1D" in text for text in refused)
    with pytest.raises(BadInput, match="Nothing can be planned"):
        memory_plan(request(model="gpt2-large", schemes=["int8-dynamic"], use=["inference"]), known_facts("gpt2-large"))


@pytest.mark.parametrize("gigabytes", [5, 7, 8, 12, 16, 24, 40])
@pytest.mark.parametrize("use", ["inference", "qlora", "full"])
def test_what_it_fits_with_does_fit_and_no_more(use: str, gigabytes: int) -> None:
    facts, device = known_facts(LLAMA), cuda(total=gigabytes * GB, free=gigabytes * GB)
    trained = adapter_parameters(facts, 16) if use == "qlora" else None
    scheme = {"inference": "bfloat16", "qlora": "nf4-double", "full": "float32"}[use]
    one = Footprint(scheme, Use(use), 4, 16_384, trained)
    told, room = verdict(one, facts, device), int(0.9 * gigabytes * GB)
    change = told["with"]
    if told["verdict"] == "fits":
        assert needed(one, facts, device).total_bytes <= room
        return
    assert needed(one, facts, device).total_bytes > room
    assert told["share"] == pytest.approx(needed(one, facts, device).total_bytes / (gigabytes * GB), abs=1e-4)
    if told["verdict"] == "not":
        assert "alone take" in change or "shortest context" in change
        shortest = replace(one, batch=1, context=128)
        assert needed(shortest, facts, device, checkpointing=use != "inference").total_bytes > room
        return
    kept = "activation checkpointing" in change
    changed = replace(one, batch=1) if "one row" in change else one
    if "context of" in change:
        tokens = int(change.split("context of ")[1].split(" tokens")[0].replace(",", ""))
        longer = replace(changed, context=tokens + 128)
        changed = replace(changed, context=tokens)
        assert needed(longer, facts, device, checkpointing=kept).total_bytes > room
    assert needed(changed, facts, device, checkpointing=kept).total_bytes <= room


def test_this_machines_devices_give_what_is_free_within_the_budget() -> None:
    here = [cuda(total=80 * GB, free=10 * GB, bf16=False, label="T4"), cpu(free=12 * GB)]
    found = planned(LLAMA, here, schemes=["float16", "bfloat16", "nf4"], use=["inference", "lora"])
    assert [one["title"] for one in found["devices"][-2:]] == ["T4 (free here)", "CPU, 8 cores (free here)"]
    assert [one["bytes"] for one in found["devices"][-2:]] == [10 * GB, 12 * GB]
    by_scheme = dict(zip(rows(found), found["verdicts"], strict=True))
    assert [one["verdict"] for one in by_scheme["float16"][-2:]] == ["fits", "not"]
    assert "not computed on a CPU" in by_scheme["float16"][-1]["with"]
    assert by_scheme["bfloat16"][-2] == {
        "verdict": "not", "with": "T4 does not compute in bfloat16.", "share": None,
    }  # fmt: skip
    assert by_scheme["nf4"][-2]["verdict"] == "fits"  # what is not packed is float16 there
    tight, _ = memory_plan(request(model=LLAMA, use=["inference"]), known_facts(LLAMA), [cpu()], budget=10**9)
    assert {line[-1]["verdict"] for line in tight["verdicts"]} <= {"not", "with"}


def pool_of(settings: Settings) -> Any:
    return SimpleNamespace(settings=settings, named=lambda name, owner="": None)


def test_a_run_tells_the_plan_and_loads_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "detect_devices", lambda: (cpu(),))
    asked = request(model="story-lm", schemes=["float32", "nf4"], use=["inference", "full"])
    events = [event.model_dump() for event in plan(asked, pool_of(settings), RunContext("run", ""))]
    assert [event.get("name", event["kind"]) for event in events] == ["progress", "start", "plan", "done"]
    shown = events[2]["values"]
    assert shown["exact"] is True
    assert shown["model"]["licence"]
    assert (shown["model"]["parameters"], shown["model"]["context"]) == (4_262_144, 512)
    assert shown["rows"][0]["parts"]["weights"] == 4 * 4_262_144
    assert len(shown["devices"]) == 7
    known = list(plan(request(model=MISTRAL), pool_of(settings), RunContext("run", "")))[1].model_dump()
    assert known["values"]["model"]["title"] == MISTRAL


def test_an_unknown_model_without_a_network_is_one_sentence(settings: Settings) -> None:
    with pytest.raises(Exception, match="switched off or out of reach") as caught:
        list(plan(request(model="org/unknown"), pool_of(settings), RunContext("run", "")))
    assert caught.value.todo  # type: ignore[attr-defined]
    with pytest.raises((BadInput, NotFound)):
        list(plan(request(model="../etc"), pool_of(settings), RunContext("run", "")))


def said(asked: QuantizationRequest, facts: Any, name: str) -> list[dict[str, Any]]:
    """Run the script in this process: its JSON lines."""
    text = "from __future__ import annotations\n\n" + "\n".join(IMPORTS) + "\n\n" + lines(asked, facts, name)
    ast.parse(text)
    assert "core." not in text
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "script", "exec"), {"__name__": "__main__"})  # noqa: S102
    return [json.loads(line) for line in printed.getvalue().splitlines()]


@pytest.mark.parametrize("name", ["story-lm", "gpt2", "bert-base-uncased", "google/flan-t5-small"])
def test_the_script_gives_the_same_bytes(name: str, settings: Settings) -> None:
    from core.catalog.catalog import Catalog

    asked = request(model=name, context=300, batch=3, rank=4)
    facts = Catalog(settings).facts(name)
    where = name if name in CONFIGS else str(Path("assets") / "models" / name)
    found = memory_plan(asked, facts)[0]
    printed = said(asked, facts, where)
    kept = ("scheme", "use", "parts", "total")
    assert printed[:-1] == [{key: one[key] for key in kept} for one in found["rows"]]
    assert printed[-1] == {"kv_bytes_per_token": found["kv"]["per_token"]}
