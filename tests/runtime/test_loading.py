"""Real loading of tiny models: what goes in comes out as placed, and what is no model is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.catalog.catalog import Located
from core.catalog.facts import facts_from_folder
from core.errors import BadModel, OutOfMemory
from core.runtime.lanes import InlineLane
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Dtype, Placement, Policy, place
from tests.fakes_models import TINY_LLAMA, cpu, write_model


def _located(folder: Path) -> Located:
    return Located(folder.name, folder, facts_from_folder(folder), "local")


def _placed(located: Located, dtype: Dtype | None = None) -> Placement:
    return place(located.facts, (cpu(),), Policy(dtype=dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_is_loaded_as_it_is_placed(tmp_path: Path, dtype: Dtype) -> None:
    located = _located(write_model(tmp_path / "m"))
    lane = InlineLane("cpu")
    loaded = load(located, _placed(located, dtype), spec=ModelSpec("m", dtype=dtype), lane=lane)
    assert loaded.lane is lane
    assert loaded.spec == ModelSpec("m", dtype=dtype)
    assert loaded.device == torch.device("cpu")
    assert {p.dtype for p in loaded.model.parameters()} == {getattr(torch, dtype)}
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training
    assert loaded.model.config._attn_implementation == "sdpa"
    assert (loaded.tokenizer.padding_side, loaded.tokenizer.pad_token) == ("left", "<|endoftext|>")
    assert 0 <= loaded.bytes - loaded.placement.weight_bytes < 1000  # the rotary frequencies are a buffer
    ids = torch.tensor([loaded.tokenizer("once upon")["input_ids"]])
    assert loaded.lane.call(lambda: loaded.model(ids).logits).shape == (1, 2, 64)


def test_without_a_lane_the_caller_works(tmp_path: Path) -> None:
    located = _located(write_model(tmp_path / "m"))
    loaded = load(located, _placed(located))
    assert loaded.spec == ModelSpec("m")
    assert loaded.lane.call(lambda: 5) == 5


BERT: dict[str, Any] = {
    "model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 64, "hidden_size": 16,
    "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32,
    "type_vocab_size": 2,
}  # fmt: skip
T5: dict[str, Any] = {
    "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "vocab_size": 64, "d_model": 16, "d_kv": 8,
    "d_ff": 32, "num_layers": 1, "num_heads": 2, "is_encoder_decoder": True, "decoder_start_token_id": 0,
}  # fmt: skip


@pytest.mark.parametrize(("config", "built"), [(BERT, "BertModel"), (T5, "T5ForConditionalGeneration")])
def test_the_kind_decides_the_class(tmp_path: Path, config: dict[str, Any], built: str) -> None:
    located = _located(write_model(tmp_path / "m", config))
    assert type(load(located, _placed(located)).model).__name__ == built


def _lacks_a_layer(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**TINY_LLAMA, "num_hidden_layers": 3}))


def _another_width(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**TINY_LLAMA, "intermediate_size": 48}))


def _own_code(folder: Path) -> None:
    auto_map = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.XForCausalLM"}
    config = {**TINY_LLAMA, "model_type": "x", "architectures": ["XForCausalLM"], "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("configuration_x.py", "modeling_x.py"):
        (folder / name).write_text("raise SystemExit('code of the model was run')")


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize("spoil", [_lacks_a_layer, _another_width, _own_code, _no_tokenizer])
def test_what_is_no_model_is_refused(tmp_path: Path, spoil: Any) -> None:
    folder = write_model(tmp_path / "m")
    spoil(folder)
    located = _located(folder)
    with pytest.raises(BadModel, match=r"^m ") as caught:
        load(located, _placed(located))
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.todo


def test_memory_that_runs_out_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    located = _located(write_model(tmp_path / "m"))

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(OutOfMemory):
        load(located, _placed(located))


GPT2: dict[str, Any] = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 64, "n_embd": 64, "n_layer": 2,
    "n_head": 2, "n_positions": 32, "dtype": "float32",
}  # fmt: skip
NER: dict[str, Any] = {**BERT, "architectures": ["BertForTokenClassification"], "num_labels": 5}
LABELS = ("sad", "glad", "cross")


def _with_head(folder: Path, config: dict[str, Any], **wishes: Any) -> LoadedModel:
    located = _located(write_model(folder, config))
    return load(located, _placed(located), spec=ModelSpec("m", **wishes))


@pytest.mark.parametrize("config", [TINY_LLAMA, GPT2, BERT, NER], ids=["llama", "gpt2", "bert", "other labels"])
@pytest.mark.parametrize("head", ["classification", "tokens"])
def test_a_head_is_made_for_the_labels(tmp_path: Path, config: dict[str, Any], head: Any) -> None:
    loaded = _with_head(tmp_path / "m", config, head=head, labels=LABELS, seed=3)
    model = loaded.model
    assert (model.config.id2label, model.config.label2id["cross"]) == ({0: "sad", 1: "glad", 2: "cross"}, 2)
    assert loaded.tokenizer.padding_side == "right"
    batch = loaded.tokenizer(["once", "once upon"], padding=True, return_tensors="pt")
    shape = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.shape
    assert shape == ((2, 3) if head == "classification" else (2, 2, 3))
    new = getattr(model, "score", None) or model.classifier
    assert new.weight.abs().sum() > 0
    name = "score" if config is TINY_LLAMA or (config is GPT2 and head == "classification") else "classifier"
    pooler = {"bert.pooler.dense"} if head == "classification" and name == "classifier" else set()
    assert set(loaded.fresh) == {name, *pooler}


def test_a_new_head_is_drawn_from_the_seed_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    first, again, other = (
        _with_head(tmp_path / name, TINY_LLAMA, head="classification", labels=LABELS, seed=seed).model.score.weight
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_a_head_without_labels_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"^m has no head for labels: its files lack score\.weight"):
        _with_head(tmp_path / "m", TINY_LLAMA, head="classification")
    trained = _with_head(tmp_path / "trained", NER, head="tokens")
    assert trained.model.config.num_labels == 5


def test_a_new_head_excuses_nothing_else(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    _lacks_a_layer(folder)
    located = _located(folder)
    with pytest.raises(BadModel, match=r"^m lacks 9 of the weights"):
        load(located, _placed(located), spec=ModelSpec("m", head="tokens", labels=LABELS))
