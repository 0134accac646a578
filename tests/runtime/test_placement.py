"""Where models go on imaginary machines. No machine is asked, nothing is loaded."""

from __future__ import annotations

import pytest

from core.catalog.facts import ModelFacts
from core.catalog.known import known_facts
from core.errors import DoesNotFit
from core.runtime.devices import Device
from core.runtime.placement import Policy, kv_cache_bytes, place, planned_context
from tests.fakes_models import GB, cpu, cuda, mps

LAPTOP = (cpu(free=12 * GB, total=16 * GB),)
T4 = (cuda(0, 15.8 * GB, bf16=False, label="Tesla T4"), cpu(free=10 * GB, total=13 * GB))
TWO_CARDS = (cuda(0, 24 * GB, label="RTX 4090"), cuda(1, 24 * GB, label="RTX 4090"), cpu(60 * GB, 64 * GB))
FIRST_CARD_BUSY = (cuda(0, 24 * GB, free=6 * GB), cuda(1, 24 * GB), cpu(60 * GB, 64 * GB))
MAC = (mps(total=11 * GB, free=8 * GB), cpu(free=8 * GB, total=16 * GB))
H100 = (cuda(0, 80 * GB, label="H100"), cpu(200 * GB, 256 * GB))

MISTRAL, LLAMA_1B = "mistralai/Mistral-7B-Instruct-v0.3", "meta-llama/Llama-3.2-1B"
SMOL, BERT, FLAN = "HuggingFaceTB/SmolLM2-135M", "bert-base-uncased", "google/flan-t5-base"


@pytest.mark.parametrize(
    ("machine", "name", "device", "dtype"),
    [
        pytest.param(LAPTOP, SMOL, "cpu", "float32", id="laptop, small: exact"),
        pytest.param(LAPTOP, "gpt2-large", "cpu", "float32", id="laptop, 3.1 GB of 16: exact"),
        pytest.param(LAPTOP, LLAMA_1B, "cpu", "bfloat16", id="laptop, over a billion: half"),
        pytest.param((cpu(3 * GB, 4 * GB),), "gpt2-large", "cpu", "bfloat16", id="small laptop: half"),
        pytest.param(LAPTOP, BERT, "cpu", "float32", id="laptop, encoder"),
        pytest.param(T4, LLAMA_1B, "cuda:0", "float16", id="T4 has no bfloat16"),
        pytest.param(T4, FLAN, "cuda:0", "float16", id="T4, encoder-decoder"),
        pytest.param(TWO_CARDS, MISTRAL, "cuda:0", "bfloat16", id="7B on one 24 GB card"),
        pytest.param(FIRST_CARD_BUSY, MISTRAL, "cuda:1", "bfloat16", id="7B beside a busy card"),
        pytest.param(MAC, LLAMA_1B, "mps", "bfloat16", id="Mac"),
        pytest.param((mps(bf16=False), cpu()), LLAMA_1B, "mps", "float16", id="old macOS"),
        pytest.param(H100, MISTRAL, "cuda:0", "bfloat16", id="80 GB"),
    ],
)
def test_where_a_model_runs(machine: tuple[Device, ...], name: str, device: str, dtype: str) -> None:
    placement = place(known_facts(name), machine, Policy())
    assert (placement.device, placement.dtype) == (device, dtype)
    assert placement.why.startswith(dtype)


@pytest.mark.parametrize(
    ("machine", "name", "policy"),
    [
        pytest.param(T4, MISTRAL, Policy(), id="7B on a 16 GB card and 13 GB of memory"),
        pytest.param(MAC, MISTRAL, Policy(), id="7B on a small Mac"),
        pytest.param(LAPTOP, LLAMA_1B, Policy(purpose="train"), id="training 1B whole on a laptop"),
        pytest.param(TWO_CARDS, MISTRAL, Policy(purpose="train"), id="training 7B whole on 24 GB cards"),
        pytest.param(LAPTOP, SMOL, Policy(budget_bytes=10**8), id="over the budget"),
        pytest.param(LAPTOP, SMOL, Policy(promised=(("cpu", 16 * GB),)), id="all promised"),
        pytest.param(LAPTOP, SMOL, Policy(batch=4000), id="too many rows"),
    ],
)
def test_what_is_refused(machine: tuple[Device, ...], name: str, policy: Policy) -> None:
    with pytest.raises(DoesNotFit, match=r"needs .+ GB? to|needs .+B to") as caught:
        place(known_facts(name), machine, policy)
    assert "to give" in caught.value.what
    assert "smaller model" in caught.value.todo


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(device="cuda:3"), "no device cuda:3"),
        (Policy(device="cpu", dtype="float16"), "float16 is not computed on a CPU"),
        (Policy(device="cuda", dtype="bfloat16"), "does not compute in bfloat16"),
    ],
)
def test_wishes_that_cannot_be_kept(policy: Policy, words: str) -> None:
    with pytest.raises(DoesNotFit, match=words):
        place(known_facts(SMOL), T4, policy)


def test_wishes_are_kept() -> None:
    facts = known_facts(SMOL)
    assert place(facts, T4, Policy(device="cpu")).device == "cpu"
    assert place(facts, TWO_CARDS, Policy(device="cuda:1")).device == "cuda:1"
    assert place(facts, H100, Policy(dtype="float32")).weight_bytes == 4 * facts.parameters
    assert place(facts, LAPTOP, Policy(dtype="bfloat16")).weight_bytes == 2 * facts.parameters


def test_a_large_model_goes_where_there_is_room_and_says_why() -> None:
    machine = (cuda(0, 8 * GB, label="RTX 3070"), cpu(60 * GB, 64 * GB))
    placement = place(known_facts(MISTRAL), machine, Policy())
    assert placement.device == "cpu"
    assert "too little elsewhere: RTX 3070 has 7 GB to give" in placement.why


def test_the_sentence_has_the_numbers() -> None:
    placement = place(known_facts(SMOL), LAPTOP, Policy(batch=4, context=1024))
    assert placement.why == (
        "float32 on CPU: 538 MB of weights + 189 MB of KV cache for 4 rows of 1,024 tokens + 89 MB of activations "
        "of 12 GB free."
    )


def test_the_kv_cache_is_counted_by_the_formula() -> None:
    facts = known_facts(MISTRAL)
    assert kv_cache_bytes(facts, "bfloat16", 32768, 1) == 2 * 32 * 8 * 128 * 32768 * 2
    assert kv_cache_bytes(facts, "float32", 100, 3) == 2 * 32 * 8 * 128 * 100 * 3 * 4
    assert kv_cache_bytes(known_facts(BERT), "float32", 512, 8) == 0
    flan = known_facts(FLAN)
    assert kv_cache_bytes(flan, "float32", 512, 1) == 2 * (2 * 12 * 12 * 64 * 512 * 4)


def test_training_adds_gradients_and_moments() -> None:
    facts = known_facts(SMOL)
    whole = place(facts, H100, Policy(purpose="train", context=512))
    assert (whole.gradient_bytes, whole.optimizer_bytes) == (4 * facts.parameters, 8 * facts.parameters)
    assert whole.kv_bytes == 0
    few = place(facts, H100, Policy(purpose="train", context=512, trainable=1000))
    assert (few.gradient_bytes, few.optimizer_bytes) == (4000, 8000)
    assert few.total_bytes == few.weight_bytes + few.activation_bytes + 12_000
    assert place(facts, LAPTOP, Policy(purpose="train", context=128)).dtype == "float32"


@pytest.mark.parametrize(("policy", "tokens"), [(Policy(), 4096), (Policy(context=100), 100)])
def test_long_contexts_are_planned_in_part(policy: Policy, tokens: int) -> None:
    facts: ModelFacts = known_facts(LLAMA_1B)
    assert facts.context == 131_072
    assert planned_context(facts, policy) == tokens
