"""What a choice of target modules trains is what PEFT builds for it, to the last parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.catalog.catalog import Catalog, Located
from core.catalog.facts import facts_from_folder
from core.catalog.known import known_facts
from core.catalog.linears import (
    all_biases,
    head_parameters,
    known_linear_modules,
    linear_modules,
    low_rank_parameters,
    targeted,
)
from core.settings import Settings
from tests.fakes_models import TINY_LLAMA, write_model

GPT2: dict[str, Any] = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 64, "n_embd": 16, "n_layer": 2,
    "n_head": 2, "n_positions": 32,
}  # fmt: skip
BERT: dict[str, Any] = {
    "model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 64, "hidden_size": 16,
    "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 32,
    "type_vocab_size": 2,
}  # fmt: skip
CLASSES = {None: "AutoModelForCausalLM", "classification": "AutoModelForSequenceClassification",
           "tokens": "AutoModelForTokenClassification"}  # fmt: skip
TASKS = {None: "CAUSAL_LM", "classification": "SEQ_CLS", "tokens": "TOKEN_CLS"}


def _located(folder: Path, config: dict[str, Any]) -> Located:
    write_model(folder, config)
    return Located("m", folder, facts_from_folder(folder), "local")


def _trained_by_peft(folder: Path, head: Any, **lora: Any) -> int:
    import peft
    import transformers

    if head == "classification" and facts_from_folder(folder).architecture == "BertForMaskedLM":
        lora["modules_to_save"] = ["pooler.dense"]  # not in the files of a masked language model
    config = transformers.AutoConfig.from_pretrained(folder, **({"num_labels": 3} if head else {}))
    with torch.device("meta"):
        model = getattr(transformers, CLASSES[head]).from_config(config)
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type=TASKS[head], **lora))
    return sum(p.numel() for p in adapted.parameters() if p.requires_grad)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize(
    ("config", "head"),
    [(TINY_LLAMA, None), (TINY_LLAMA, "classification"), (GPT2, None), (GPT2, "tokens"), (BERT, "classification"),
     (BERT, "tokens")],
)  # fmt: skip
@pytest.mark.parametrize("choice", ["all", "each", "ranks", "dora", "lora_only"])
def test_counts_are_those_of_peft(tmp_path: Path, config: dict[str, Any], head: Any, choice: str) -> None:
    located = _located(tmp_path / "m", config)
    groups = linear_modules(located, head)
    labels = head_parameters(located.facts, head, 3)
    if choice == "each":
        for group in groups:
            counted = low_rank_parameters(groups, (group.name,), 4) + labels
            assert counted == _trained_by_peft(located.path, head, r=4, target_modules=[group.name]), group.name
        return
    ranks = {groups[0].name: 2} if choice == "ranks" else {}
    dora, biases = choice == "dora", choice == "lora_only"
    counted = low_rank_parameters(groups, (), 4, ranks, dora=dora, biases=biases) + labels
    extra: dict[str, Any] = {"rank_pattern": ranks, "use_dora": dora, "bias": "lora_only" if biases else "none"}
    everything: Any = "all-linear" if head != "tokens" else [group.name for group in groups]  # PEFT wraps heads twice
    assert counted == _trained_by_peft(located.path, head, r=4, target_modules=everything, **extra)


def test_all_biases_are_those_of_peft(tmp_path: Path) -> None:
    located = _located(tmp_path / "m", GPT2)
    counted = low_rank_parameters(linear_modules(located), (), 4) + all_biases(located)
    trained = _trained_by_peft(located.path, None, r=4, target_modules="all-linear", bias="all", fan_in_fan_out=True)
    assert counted == trained


def test_names_tell_the_layers_of_gpt2_apart() -> None:
    groups = {group.name: group for group in known_linear_modules("gpt2")}
    assert list(groups) == ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]
    assert (groups["mlp.c_proj"].in_features, groups["mlp.c_proj"].out_features) == (3072, 768)
    assert (groups["c_attn"].count, groups["c_attn"].biased) == (12, True)
    assert len(targeted(list(groups.values()), ("c_proj",))) == 24


def test_all_linear_layers_of_a_known_model() -> None:
    facts, groups = known_facts("HuggingFaceTB/SmolLM2-135M"), known_linear_modules("HuggingFaceTB/SmolLM2-135M")
    weights = sum(group.count * group.in_features * group.out_features for group in groups)
    assert weights == sum(count for part, count in facts.parts if part in ("attention", "mlp"))


@pytest.mark.parametrize("head", ["classification", "tokens"])
def test_the_bundled_encoder(head: Any) -> None:
    located = Catalog(Settings(offline=True)).locate("all-MiniLM-L6-v2")
    groups = linear_modules(located, head)
    assert {group.name for group in groups} >= {"query", "key", "value", "intermediate.dense"}
    assert sum(group.count for group in groups) == 36 + (head == "classification")
