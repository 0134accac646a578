"""Classifiers beside one base without a head: what they compute, what is theirs, and what is in memory once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as T
from peft import LoraConfig, PeftModel, PromptTuningConfig, TaskType
from safetensors.torch import load_file, save_file

from core.catalog.catalog import Catalog
from core.errors import BadInput, BadModel
from core.runtime.attaching import merged_model
from core.runtime.devices import detect_devices
from core.runtime.loading import LoadedModel, load
from core.runtime.placement import Policy, place
from core.runtime.pool import ModelSpec
from core.runtime.tuned import TunedModels
from tests.fakes_generation import VOCABULARY, byte_level_tokenizer
from tests.fakes_tuned import LABELS, OWNER, Home, prompt, with_adapter

TAGS = ("O", "B-SHIP", "I-SHIP", "B-SEA")
IDS = torch.tensor([[5, 17, 40, 99, 3, 260], [7, 8, 200, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
_TASKS = {"classification": TaskType.SEQ_CLS, "tokens": TaskType.TOKEN_CLS}
_BERT = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 0,
    "intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip
MAKE: dict[str, Any] = {
    "bare-bert": lambda: T.BertModel(T.BertConfig(**_BERT), add_pooling_layer=False),
    "masked-bert": lambda: T.BertForMaskedLM(T.BertConfig(**_BERT)),
    "roberta": lambda: T.RobertaModel(T.RobertaConfig(**{**_BERT, "pad_token_id": 1})),
    "distilbert": lambda: T.DistilBertModel(
        T.DistilBertConfig(vocab_size=VOCABULARY, dim=32, hidden_dim=48, n_layers=2, n_heads=4, initializer_range=0.3)
    ),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


def base_named(home: Home, name: str) -> str:
    """The name of a base in the home, made there if it is one of this file's."""
    if name in MAKE:
        torch.manual_seed(3)
        MAKE[name]().save_pretrained(home.model_folder(name))
        byte_level_tokenizer().save_pretrained(home.model_folder(name))
    return name


def alone(home: Home, base: str, head: Any, labels: tuple[str, ...], seed: int = 0) -> LoadedModel:
    """The classifier as training gets it: loaded whole, with a head drawn from the seed."""
    located = Catalog(home.settings).locate(base)
    here = [device for device in detect_devices() if device.type == "cpu"]
    spec = ModelSpec(base, head=head, labels=labels, seed=seed)
    return load(located, place(located.facts, here, Policy()), spec=spec)


def heads_of(model: Any) -> list[str]:
    parts = ((n, m) for n, m in model.named_children() if n != model.base_model_prefix)
    return [name for name, module in parts if any(True for _ in module.parameters())]


def trained(home: Home, base: str, head: Any, labels: tuple[str, ...], config: Any = None, seed: int = 4) -> str:
    """A finished fine-tuning with every head of the model beside its adapter."""
    model = alone(home, base, head, labels, seed).model
    heads = heads_of(model)
    config = config or LoraConfig(r=4, target_modules="all-linear", modules_to_save=heads, exclude_modules=heads)
    config.task_type = _TASKS[head]
    kind = "prompt" if isinstance(config, PromptTuningConfig) else "adapter"
    return home.saved(
        with_adapter(model, config, 0.2, seed), base, task=head, labels=list(labels), seed=seed, kind=kind
    )


def reference(home: Home, name: str, base: str, head: Any, labels: tuple[str, ...], seed: int = 4) -> Any:
    """The model as PEFT loads it onto a base that was loaded for it alone."""
    folder = home.settings.home / "runs" / name.removeprefix("tuned:") / "model"
    return PeftModel.from_pretrained(alone(home, base, head, labels, seed).model, str(folder)).eval()


def logits(model: Any, ids: torch.Tensor = IDS, mask: torch.Tensor = MASK) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return out


def places(model: Any) -> set[int]:
    return {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}


@pytest.mark.parametrize("head", ["classification", "tokens"])
@pytest.mark.parametrize("base", ["tiny-bert", *MAKE, "tiny", "tiny-gpt2"])
def test_it_computes_what_peft_computes_on_a_base_of_its_own(home: Home, base: str, head: str) -> None:
    labels = LABELS if head == "classification" else TAGS
    name = trained(home, base_named(home, base), head, labels)
    expected = reference(home, name, base, head, labels)
    with home.pool.lease(ModelSpec(name), owner=OWNER) as loaded, home.pool.lease(ModelSpec(base)) as plain:
        assert torch.equal(logits(loaded.model), logits(expected))
        assert type(loaded.model) is type(expected.get_base_model())
        assert (loaded.spec.head, loaded.spec.labels) == (head, labels)
        assert loaded.model.config.id2label == dict(enumerate(labels))
        assert loaded.model.base_model.config is loaded.model.config
        assert loaded.tokenizer.padding_side == "right"
        own = [p for p in loaded.model.parameters() if p.data_ptr() not in places(plain.model)]
        assert loaded.bytes == sum(4 * p.numel() for p in own)
        layers = [p for name, p in plain.model.named_parameters() if "layer" in name or ".h." in name]
        assert {p.data_ptr() for p in layers} <= places(loaded.model)
    assert sum(entry.spec.base == base for entry in home.pool.snapshot()) == 1


def test_heads_with_other_labels_share_one_base(home: Home) -> None:
    one = trained(home, "tiny-bert", "classification", LABELS, seed=1)
    two = trained(home, "tiny-bert", "tokens", TAGS, seed=2)
    lease = home.pool.lease
    expected = [
        logits(reference(home, one, "tiny-bert", "classification", LABELS, 1)),
        logits(reference(home, two, "tiny-bert", "tokens", TAGS, 2)),
    ]
    with (
        lease(ModelSpec("tiny-bert")) as base,
        lease(ModelSpec(one), owner=OWNER) as first,
        lease(ModelSpec(two, head="tokens"), owner=OWNER) as second,
        lease(ModelSpec(two), owner=OWNER) as again,
    ):
        before = base.model(input_ids=IDS, attention_mask=MASK).last_hidden_state
        for _ in range(2):
            assert torch.equal(logits(first.model), expected[0])
            assert torch.equal(logits(second.model), expected[1])
        assert torch.equal(base.model(input_ids=IDS, attention_mask=MASK).last_hidden_state, before)
        assert again is second
        models = (base.model, first.model, second.model)
        assert len({model.base_model.embeddings.word_embeddings.weight.data_ptr() for model in models}) == 1
        assert 0 < second.bytes < base.bytes / 2
        assert {e.spec.base: (e.bytes, e.borrowers) for e in home.pool.snapshot()} == {
            "tiny-bert": (base.bytes, 3), one: (first.bytes, 1), two: (second.bytes, 2),
        }  # fmt: skip
        assert first.model.config.num_labels != second.model.config.num_labels


def test_trained_biases_are_the_classifiers_own(home: Home) -> None:
    biases = LoraConfig(r=2, target_modules=["query"], bias="all")
    name = trained(home, "tiny-bert", "classification", LABELS, biases)
    expected = reference(home, name, "tiny-bert", "classification", LABELS)
    with home.pool.lease(ModelSpec("tiny-bert")) as base, home.pool.lease(ModelSpec(name), owner=OWNER) as loaded:
        key = base.model.encoder.layer[0].attention.self.key
        before = key.bias.clone()
        assert torch.equal(logits(loaded.model), logits(expected))
        own = loaded.model.bert.encoder.layer[0].attention.self.key
        assert own.weight.data_ptr() == key.weight.data_ptr()
        assert not torch.equal(own.bias, key.bias)
        assert torch.equal(key.bias, before)


@pytest.mark.parametrize("base", ["tiny-bert", "bare-bert"])
def test_a_probe_brings_its_head_and_leaves_its_copy_of_the_base_on_disk(home: Home, base: str) -> None:
    whole = alone(home, base_named(home, base), "classification", LABELS, 9)
    torch.nn.init.normal_(whole.model.classifier.weight, generator=torch.Generator().manual_seed(1))
    card = {"task": "classification", "labels": list(LABELS), "kind": "head", "method": "probe", "seed": 9}
    name = home.saved(whole.model, base, **card)
    with home.pool.lease(ModelSpec(name), owner=OWNER) as loaded, home.pool.lease(ModelSpec(base)) as plain:
        assert torch.equal(logits(loaded.model), logits(whole.model))
        assert loaded.bytes < plain.bytes / 10
        assert loaded.model.config.id2label == dict(enumerate(LABELS))
    assert {entry.spec.base for entry in home.pool.snapshot()} == {name, base}
    assert home.pool.plan(ModelSpec(name), owner=OWNER).device == "cpu"
    home.pool.drop_idle()
    folder = TunedModels(home.settings).open(name, OWNER).folder
    kept = {key: value for key, value in load_file(folder / "model.safetensors").items() if key != "classifier.weight"}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadModel, match="lacks 1 of its head's weights"), home.pool.lease(ModelSpec(name), owner=OWNER):
        pytest.fail("lent")
    assert [entry.borrowers for entry in home.pool.snapshot()] == [0]


def test_a_trained_prompt_labels_beside_the_base_too(home: Home) -> None:
    soft = prompt()
    soft.modules_to_save = ["classifier"]
    name = trained(home, "tiny-bert", "classification", LABELS, soft)
    expected = reference(home, name, "tiny-bert", "classification", LABELS)
    with home.pool.lease(ModelSpec(name), owner=OWNER) as loaded, home.pool.lease(ModelSpec("tiny-bert")) as base:
        assert torch.allclose(logits(loaded.model), logits(expected), atol=1e-6)
        assert base.model.encoder.layer[0].output.dense.weight.data_ptr() in places(loaded.model)
        assert loaded.facts.context == base.facts.context - 5


@pytest.mark.parametrize("base", ["tiny-bert", "bare-bert", "tiny"])
def test_a_merged_classifier_says_the_same_in_weights_of_its_own(home: Home, base: str) -> None:
    name = trained(home, base_named(home, base), "classification", LABELS)
    tuned = TunedModels(home.settings).open(name, OWNER)
    expected = logits(reference(home, name, base, "classification", LABELS))
    with home.pool.lease(home.pool.base_of(tuned)) as loaded:
        before = {n: p.clone() for n, p in loaded.model.named_parameters()}
        merged = merged_model(loaded.model, tuned, loaded.fresh)
        assert not any("lora" in n for n, _ in merged.named_parameters())
        assert torch.allclose(logits(merged), expected, atol=1e-4 * float(expected.abs().max()))
        assert not places(merged) & places(loaded.model)
        assert all(torch.equal(p, before[n]) for n, p in loaded.model.named_parameters())


def test_it_pads_where_it_was_trained(home: Home) -> None:
    for padding, side in ((None, "right"), ("left", "left"), ("right", "right")):
        name = trained(home, "tiny", "classification", LABELS)
        folder = TunedModels(home.settings).open(name, OWNER).folder
        (folder / "tokenizer_config.json").unlink()
        card = json.loads((folder / "benchtop.json").read_text())
        (folder / "benchtop.json").write_text(json.dumps(card | ({"padding": padding} if padding else {})))
        with home.pool.lease(ModelSpec(name), owner=OWNER) as loaded, home.pool.lease(ModelSpec("tiny")) as base:
            assert (loaded.tokenizer.padding_side, base.tokenizer.padding_side) == (side, "left")


def test_a_head_of_another_base_is_refused(home: Home) -> None:
    name = trained(home, base_named(home, "distilbert"), "classification", LABELS)
    card = TunedModels(home.settings).open(name, OWNER).folder / "benchtop.json"
    card.write_text(card.read_text().replace('"distilbert"', '"tiny-bert"'))
    with pytest.raises(BadModel, match="does not fit tiny-bert"), home.pool.lease(ModelSpec(name), owner=OWNER):
        pytest.fail("lent")
    with pytest.raises(BadInput, match="labels whole texts"):
        home.pool.plan(ModelSpec(name, head="tokens"), owner=OWNER)


def test_one_model_asked_for_in_two_ways_is_in_memory_once(home: Home) -> None:
    with home.pool.lease(ModelSpec("tiny-bert")) as free:
        with home.pool.lease(ModelSpec("tiny-bert", dtype="float32")) as wished:
            assert wished is free
        with home.pool.lease(ModelSpec("tiny-bert", device="cpu", dtype="bfloat16")) as other:
            assert other.model.dtype is torch.bfloat16
        with home.pool.lease(ModelSpec("tiny-bert", purpose="train")) as own:
            assert own is not free
    assert len(home.pool.snapshot()) == 2
