"""Fine-tuned models: whose they are, what they compute beside one base, and how they share the pool with others."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, TaskType
from transformers import AutoModelForSequenceClassification

from core.catalog.catalog import Catalog
from core.errors import BadInput, BadModel, NotFound
from core.generation import batching
from core.generation.batching import enqueue
from core.generation.engine import generate
from core.generation.llama_pass import is_plain_llama
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.rows import Row
from core.generation.slots import can_share
from core.runtime.attaching import merged_model
from core.runtime.lanes import Lanes
from core.runtime.ledger import Ledger
from core.runtime.pool import ModelSpec, Pool
from core.runtime.tuned import TunedModels
from tests.fakes_generation import gpt2
from tests.fakes_tuned import LABELS, OWNER, Home, lora, prompt, with_adapter

PROMPT = [5, 17, 40, 99, 3, 260]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


def logits(model: Any, ids: list[int] = PROMPT) -> torch.Tensor:
    """Logits of the real tokens, (T, vocabulary)."""
    rows = torch.tensor([ids])
    with torch.no_grad():
        out: torch.Tensor = model(input_ids=rows, attention_mask=torch.ones_like(rows)).logits
    return out[0, -len(ids) :]


def written(loaded: Any, count: int = 12) -> list[int]:
    stop = StopConditions(max_new_tokens=count, ignore_eos=True)
    readings = generate(loaded, PROMPT, SamplingParameters(), stop, visitor="", cancelled=lambda: False)
    return [reading.id for reading in readings]


def expected(reference: Any, count: int = 12) -> list[int]:
    rows = torch.tensor([PROMPT])
    out = reference.generate(
        input_ids=rows, attention_mask=torch.ones_like(rows), max_new_tokens=count, do_sample=False, eos_token_id=None
    )
    return out[0, len(PROMPT) :].tolist()


def test_a_model_is_listed_for_its_owner_and_for_nobody_else(home: Home) -> None:
    first, second = home.tuned(lora()), home.tuned(lora(), seed=2, title="Ahoy")
    home.tuned(lora(), visitor="a stranger")
    models = TunedModels(home.settings)
    assert {tuned.name: tuned.title for tuned in models.list(OWNER)} == {first: "Pirates", second: "Ahoy"}
    assert models.open(first, OWNER).base == "tiny"
    assert models.list("") == []
    with pytest.raises(NotFound) as strangers:
        models.open(first, "0" * 64)
    for name in ("tuned:0123456789abcdef", "tuned:../../x", "tuned:", "tiny", first.upper()):
        with pytest.raises(NotFound) as missing:
            models.open(name, OWNER)
        assert str(missing.value) == str(strangers.value)


def test_half_a_model_is_not_listed(home: Home) -> None:
    name = home.tuned(lora())
    card = home.settings.home / "runs" / name.removeprefix("tuned:") / "model" / "benchtop.json"
    card.write_text('{"base": "ti')
    assert TunedModels(home.settings).list(OWNER) == []
    card.unlink()
    with pytest.raises(NotFound):
        TunedModels(home.settings).open(name, OWNER)


@pytest.mark.parametrize("base", ["tiny", "tiny-gpt2"])
@pytest.mark.parametrize(
    "config",
    [lora(), lora(use_rslora=True, bias="all"), lora(use_dora=True), lora(r=2, rank_pattern={"q_proj": 6}), prompt()],
    ids=["lora", "rslora-bias", "dora", "ranks", "prompt"],
)
def test_it_computes_what_peft_computes(home: Home, base: str, config: Any) -> None:
    kind = "prompt" if not isinstance(config, LoraConfig) else "adapter"
    name = home.tuned(config, base=base, kind=kind)
    reference = home.reference(name, base)
    with home.pool.lease(ModelSpec(base)) as plain, home.pool.lease(ModelSpec(name), owner=OWNER) as tuned:
        before = logits(plain.model)
        assert torch.equal(logits(tuned.model), logits(reference))
        assert not torch.allclose(before, logits(tuned.model), atol=1e-2)
        assert written(tuned) == expected(reference)
        assert torch.equal(logits(plain.model), before)


def test_two_adapters_and_their_base_write_at_once_from_one_base(home: Home) -> None:
    names = [home.tuned(lora(), seed=1), home.tuned(lora(bias="all"), seed=2)]
    references = [expected(home.reference(name), 24) for name in names]
    lease = home.pool.lease
    with lease(ModelSpec("tiny")) as base, lease(ModelSpec(names[0]), owner=OWNER) as one:
        alone = written(base, 24)
        with lease(ModelSpec(names[1]), owner=OWNER) as two, ThreadPoolExecutor(6) as threads:
            together = threading.Barrier(6)

            def work(loaded: Any) -> list[int]:
                together.wait(30)
                return written(loaded, 24)

            done = [threads.submit(work, loaded) for loaded in (base, one, two, base, one, two)]
            assert [future.result(60) for future in done] == [alone, *references] * 2
            weights = {p.data_ptr() for p in base.model.parameters()}
            for tuned in (one, two):
                shared = [p for p in tuned.model.parameters() if p.data_ptr() in weights]
                assert sum(p.numel() for p in shared) == base.facts.parameters
                assert 0 < tuned.bytes < base.bytes / 2
    assert len({tuple(ids) for ids in (alone, *references)}) == 3


def test_adapted_layers_are_no_plain_llama_and_rows_share_a_pass(home: Home) -> None:
    adapted, prompted = home.tuned(lora()), home.tuned(prompt(), kind="prompt")
    with home.pool.lease(ModelSpec("tiny")) as base, home.pool.lease(ModelSpec(adapted), owner=OWNER) as tuned:
        assert is_plain_llama(base.model)
        assert not is_plain_llama(tuned.model)
        assert can_share(tuned.model)
    with home.pool.lease(ModelSpec(prompted), owner=OWNER) as tuned:
        assert not can_share(tuned.model)
        assert tuned.facts.context == base.facts.context - 5


def test_rows_of_different_adapters_never_meet_in_one_batch(home: Home) -> None:
    names = [home.tuned(lora(), seed=seed) for seed in (1, 2)]
    stop = StopConditions(max_new_tokens=2)
    lanes = Lanes()
    pool = Pool(home.settings, Catalog(home.settings), Ledger(home.settings), lanes)
    with pool.lease(ModelSpec(names[0]), owner=OWNER) as one, pool.lease(ModelSpec(names[1]), owner=OWNER) as two:
        held = threading.Event()
        blocker = threading.Thread(target=lambda: one.lane.call(held.wait))
        blocker.start()
        for loaded in (one, two, one):
            row = Row(loaded, tuple(PROMPT), SamplingParameters(), stop, limit=2, visitor="", cancelled=lambda: False)
            assert enqueue(loaded, row)
        waiting = {key: len(batch.waiting) for key, batch in batching._batches.items()}
        assert waiting == {id(one.model): 2, id(two.model): 1}
        held.set()
        blocker.join()
        lanes.close()
        assert (one.facts.name, one.facts.title) == (names[0], "Pirates")


def test_only_the_owner_borrows_it(home: Home) -> None:
    name = home.tuned(lora())
    for owner in ("", "0" * 64):
        with pytest.raises(NotFound), home.pool.lease(ModelSpec(name), owner=owner):
            pytest.fail("lent")
    with home.pool.lease(ModelSpec(name), owner=OWNER):
        with pytest.raises(NotFound), home.pool.lease(ModelSpec(name), owner="0" * 64):
            pytest.fail("lent although it is in memory")
        with pytest.raises(NotFound):
            home.pool.plan(ModelSpec(name), owner="0" * 64)
    with pytest.raises(BadInput, match="fine-tuned already"):
        home.pool.plan(ModelSpec(name, purpose="train"), owner=OWNER)
    assert home.pool.plan(ModelSpec(name), owner=OWNER).device == "cpu"


def test_a_base_stays_as_long_as_what_is_attached_to_it(home: Home) -> None:
    name = home.tuned(lora())
    with home.pool.lease(ModelSpec(name), owner=OWNER):
        assert home.pool.drop_idle() == 0
        assert {entry.spec.base: entry.borrowers for entry in home.pool.snapshot()} == {name: 1, "tiny": 1}
    with home.pool.lease(ModelSpec("tiny")):
        assert home.pool.drop_idle() == 1
        assert {entry.spec.base: entry.borrowers for entry in home.pool.snapshot()} == {"tiny": 1}
    with home.pool.lease(ModelSpec(name), owner=OWNER):
        pass
    assert home.pool.drop_idle() == 2
    assert home.pool.snapshot() == ()


def test_an_adapter_of_another_model_is_refused_and_leaves_nothing(home: Home) -> None:
    other = with_adapter(gpt2(), lora(target_modules=["c_attn"]), 0.1, 1)
    name = home.saved(other, "tiny")
    with pytest.raises(BadModel, match="does not fit tiny"), home.pool.lease(ModelSpec(name), owner=OWNER):
        pytest.fail("lent")
    assert {entry.spec.base: entry.borrowers for entry in home.pool.snapshot()} == {"tiny": 0}
    assert home.pool.drop_idle() == 1


def test_a_fully_trained_model_is_loaded_from_its_folder(home: Home) -> None:
    changed = gpt2()
    with torch.no_grad():
        changed.transformer.wpe.weight.add_(0.3)
    name = home.saved(changed, "tiny-gpt2", method="full")
    with home.pool.lease(ModelSpec(name), owner=OWNER) as loaded:
        assert torch.equal(logits(loaded.model), logits(changed))
    assert [entry.spec.base for entry in home.pool.snapshot()] == [name]


@pytest.mark.parametrize("task", ["classification", "tokens"])
def test_a_labelling_model_brings_its_head(home: Home, task: str) -> None:
    spec = ModelSpec("tiny-bert", head=task, labels=LABELS)  # type: ignore[arg-type]
    peft_task = TaskType.SEQ_CLS if task == "classification" else TaskType.TOKEN_CLS
    with home.pool.lease(spec) as fresh:
        config = LoraConfig(r=4, target_modules=["query", "value"], task_type=peft_task)
        trained = with_adapter(fresh.model, config, 0.3, 4)
        name = home.saved(trained, "tiny-bert", task=task, labels=list(LABELS))
        with home.pool.lease(ModelSpec(name), owner=OWNER) as tuned:
            assert torch.allclose(logits(tuned.model), logits(trained), atol=1e-6)
            assert not torch.allclose(logits(tuned.model)[-1], logits(fresh.model)[-1], atol=1e-2)
            assert tuned.model.config.id2label == dict(enumerate(LABELS))


def test_a_fully_trained_classifier_keeps_its_labels(home: Home) -> None:
    spec = ModelSpec("tiny-bert", head="classification", labels=LABELS, seed=3)
    with home.pool.lease(spec) as fresh:
        name = home.saved(fresh.model, "tiny-bert", task="classification", labels=list(LABELS), method="full")
        with home.pool.lease(ModelSpec(name), owner=OWNER) as tuned:
            assert type(tuned.model) is type(fresh.model)
            assert isinstance(tuned.model, type(AutoModelForSequenceClassification.from_config(fresh.model.config)))
            assert torch.equal(logits(tuned.model)[-1], logits(fresh.model)[-1])


def test_a_merged_model_has_weights_of_its_own(home: Home) -> None:
    name = home.tuned(lora())
    tuned = TunedModels(home.settings).open(name, OWNER)
    with home.pool.lease(ModelSpec("tiny")) as base:
        before = logits(base.model)
        model = merged_model(base.model, tuned)
        assert type(model) is type(base.model)
        assert torch.allclose(logits(model), logits(home.reference(name)), atol=1e-3)
        places = {p.data_ptr() for p in base.model.parameters()}
        assert not any(p.data_ptr() in places for p in model.parameters())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        assert torch.equal(logits(base.model), before)


def test_a_model_lent_for_training_is_lent_once_and_gone_afterwards(home: Home) -> None:
    spec = ModelSpec("tiny", purpose="train")
    with home.pool.lease(spec) as loaded:
        assert not isinstance(loaded.model, PeftModel)
        with pytest.raises(Exception, match="being trained"), home.pool.lease(spec):
            pytest.fail("lent twice")
    assert home.pool.snapshot() == ()


def test_what_a_card_says_more_is_left_alone(home: Home) -> None:
    name = home.tuned(lora(), steps=60, unknown={"a": 1})
    run = name.removeprefix("tuned:")
    assert json.loads((home.settings.home / "runs" / run / "model" / "benchtop.json").read_text())["steps"] == 60
    assert TunedModels(home.settings).open(name, OWNER).run == run
