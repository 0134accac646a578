"""Facts are right to the last parameter, and what is no model says so."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.catalog.facts import architecture_tree, facts_from_folder
from core.catalog.headers import TensorInfo, read_header
from core.catalog.known import CONFIGS, is_known, known_facts
from core.catalog.parts import part_of
from core.catalog.shapes import tensors_of
from core.catalog.sizes import bytes_text, count_text
from core.errors import BadModel, NotFound
from tests.fakes_models import TINY_LLAMA, safetensors_bytes, write_model

PUBLISHED = {
    "distilgpt2": 81_912_576,
    "gpt2": 124_439_808,
    "gpt2-large": 774_030_080,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "HuggingFaceH4/zephyr-7b-beta": 7_241_732_096,
    "google/flan-t5-small": 76_961_152,
    "google/flan-t5-base": 247_577_856,
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": 66_955_010,
    "dslim/bert-base-NER": 107_726_601,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_known_models_have_their_published_size(name: str, parameters: int) -> None:
    facts = known_facts(name)
    assert facts.parameters == parameters
    assert sum(count for _, count in facts.parts) == parameters
    assert sum(node["parameters"] for node in architecture_tree(facts)) == parameters


@pytest.mark.parametrize("name", CONFIGS)
def test_implied_tensors_are_those_that_transformers_builds(name: str) -> None:
    import torch
    import transformers

    config: dict[str, Any] = dict(CONFIGS[name])
    built_class = getattr(transformers, config["architectures"][0])
    with torch.device("meta"):
        model = built_class(built_class.config_class(**config))
    built = {key: tuple(value.shape) for key, value in model.named_parameters()}
    if config.get("tie_word_embeddings") is False:  # flan-t5's files have a head of their own, which a fresh T5 ties
        built["lm_head.weight"] = tuple(model.get_parameter("lm_head.weight").shape)
    assert {t.name: t.shape for t in tensors_of(config)} == built


def test_facts_of_a_folder(tmp_path: Path) -> None:
    card = "---\ntitle: Story LM\nlicense: apache-2.0\n---\n# Story LM\n"
    facts = facts_from_folder(write_model(tmp_path / "story-lm", card=card))
    assert (facts.name, facts.title, facts.licence, facts.kind) == ("story-lm", "Story LM", "apache-2.0", "causal")
    assert (facts.layers, facts.heads, facts.kv_heads, facts.head_dim, facts.context) == (2, 2, 1, 8, 32)
    assert facts.stored_dtype == "float32"
    assert facts.weight_bytes == 4 * facts.parameters
    assert dict(facts.parts)["embeddings"] == 64 * 16
    assert not facts.has_chat_template
    (tmp_path / "story-lm" / "chat_template.jinja").write_text("{{ messages }}")
    assert facts_from_folder(tmp_path / "story-lm").has_chat_template


def test_the_tree_reads_from_input_to_output(tmp_path: Path) -> None:
    nodes = architecture_tree(facts_from_folder(write_model(tmp_path / "m")))
    assert [node["name"] for node in nodes] == ["embeddings", "layers ×2", "final norm", "head"]
    layer = {child["name"]: [leaf["name"] for leaf in child["children"]] for child in nodes[1]["children"]}
    assert layer == {
        "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
        "mlp": ["gate_proj", "up_proj", "down_proj"],
        "norms": ["input_layernorm", "post_attention_layernorm"],
    }
    assert nodes[1]["children"][0]["children"][1]["note"] == "8 × 16"
    assert nodes[3] == {"name": "head", "parameters": 0, "note": "tied to the embeddings", "children": []}


def test_an_encoder_decoder_shows_both_stacks() -> None:
    names = [node["name"] for node in architecture_tree(known_facts("google/flan-t5-small"))]
    assert names == ["embeddings", "encoder layers ×8", "decoder layers ×8", "final norm", "head"]


def test_a_roberta_reads_two_tokens_less_than_it_has_positions() -> None:
    facts = known_facts("cross-encoder/nli-distilroberta-base")
    assert (facts.context, facts.kind, facts.head) == (512, "encoder", "classification")


def test_a_head_is_read_from_the_architecture() -> None:
    heads = {name: known_facts(name).head for name in CONFIGS}
    assert [name for name, head in heads.items() if head == "tokens"] == ["dslim/bert-base-NER", "dslim/distilbert-NER"]
    assert heads["bert-base-uncased"] is heads["gpt2"] is None
    assert heads["distilbert/distilbert-base-uncased-finetuned-sst-2-english"] == "classification"
    assert (known_facts("dslim/bert-base-NER").licence, known_facts("dslim/distilbert-NER").licence) == (
        "mit", "apache-2.0",
    )  # fmt: skip


def test_what_one_page_shows_is_worked_out_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("core.catalog.facts.tree", lambda *given: asked.append("tree") or ())
    monkeypatch.setattr("core.catalog.facts.part_counts", lambda *given: asked.append("parts") or ())
    known_facts.cache_clear()
    facts = known_facts("gpt2")
    assert facts.parameters == PUBLISHED["gpt2"]
    assert asked == []
    assert (facts.tree, facts.parts, asked) == ((), (), ["tree", "parts"])
    known_facts.cache_clear()


def test_a_tied_head_in_the_file_counts_once(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {**TINY_LLAMA, "tie_word_embeddings": False})
    untied = facts_from_folder(folder)
    (folder / "config.json").write_text(json.dumps(TINY_LLAMA))
    tied = facts_from_folder(folder)
    assert untied.parameters - tied.parameters == 64 * 16
    assert dict(untied.parts)["head"] == 64 * 16
    assert "head" not in dict(tied.parts)


def test_shards_are_read_through_their_index(tmp_path: Path) -> None:
    whole = facts_from_folder(write_model(tmp_path / "whole"))
    folder = write_model(tmp_path / "shards")
    (folder / "model.safetensors").unlink()
    names = [t.name for t in tensors_of(TINY_LLAMA)]
    first, second = tuple(names[:4]), tuple(names[4:])
    (folder / "model-00001-of-00002.safetensors").write_bytes(safetensors_bytes(TINY_LLAMA, skip=second))
    (folder / "model-00002-of-00002.safetensors").write_bytes(safetensors_bytes(TINY_LLAMA, skip=first))
    weight_map = {n: f"model-0000{1 if n in first else 2}-of-00002.safetensors" for n in names}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert facts_from_folder(folder).parts == whole.parts
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadModel, match="lacks model-00002"):
        facts_from_folder(folder)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(BadModel, match="outside its folder"):
        facts_from_folder(folder)


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{not json")


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _cut_short(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def _lying_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")


def _header_of_another_kind(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 9) + b'{"a":[1]}')


def _no_layers(folder: Path) -> None:
    config = {k: v for k, v in TINY_LLAMA.items() if k != "num_hidden_layers"}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without_config, "no config.json"),
        (_broken_config, "no valid JSON"),
        (_pickle_only, "only in a pickle"),
        (_no_weights, "has no model.safetensors"),
        (_cut_short, "damaged or cut short"),
        (_lying_header, "damaged or cut short"),
        (_header_of_another_kind, "damaged or cut short"),
        (_no_layers, "gives no num_hidden_layers"),
    ],
)
def test_what_is_no_model_gets_one_sentence(tmp_path: Path, spoil: Any, words: str) -> None:
    folder = write_model(tmp_path / "m")
    spoil(folder)
    with pytest.raises(BadModel, match=words) as caught:
        facts_from_folder(folder)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.todo


def test_a_card_that_is_no_yaml_is_no_obstacle(tmp_path: Path) -> None:
    assert facts_from_folder(write_model(tmp_path / "m", card="---\na: [\n---\n")).title == "m"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("h.0.attn.c_attn.weight", "attention"),
        ("h.0.mlp.c_proj.weight", "mlp"),
        ("h.0.ln_1.bias", "norms"),
        ("wpe.weight", "embeddings"),
        ("bert.encoder.layer.3.output.dense.weight", "mlp"),
        ("bert.encoder.layer.3.attention.output.dense.weight", "attention"),
        ("bert.encoder.layer.3.attention.output.LayerNorm.gamma", "norms"),
        ("bert.pooler.dense.weight", "head"),
        ("vocab_layer_norm.weight", "head"),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "attention"),
        ("decoder.block.0.layer.2.DenseReluDense.wi_1.weight", "mlp"),
        ("something.else", "other"),
    ],
)
def test_parts(name: str, part: str) -> None:
    assert part_of(name) == part


def test_buffers_of_old_files_are_no_parameters() -> None:
    assert TensorInfo("h.0.attn.bias", (1, 1, 1024, 1024), "F32", 4 * 1024**2).is_buffer
    assert TensorInfo("embeddings.position_ids", (1, 512), "I64", 4096).is_buffer
    assert not TensorInfo("h.0.attn.c_attn.bias", (2304,), "F32", 9216).is_buffer


def test_an_unknown_name_is_not_known() -> None:
    assert not is_known("nobody/nothing")
    with pytest.raises(NotFound):
        known_facts("nobody/nothing")


def test_numbers_as_people_read_them() -> None:
    assert [bytes_text(n) for n in (0, 999, 17_048_576, 8_450_000, 6_200_000_000)] == [
        "0 B",
        "999 B",
        "17 MB",
        "8.4 MB",
        "6.2 GB",
    ]
    assert [count_text(n) for n in (768, 4_262_144, 999_999, 7_248_023_552)] == ["768", "4.3M", "1M", "7.2B"]


def test_a_header_has_shapes_and_bytes(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors_bytes(TINY_LLAMA))
    first = read_header(file)[0]
    assert (first.name, first.shape, first.dtype, first.bytes) == ("model.embed_tokens.weight", (64, 16), "F32", 4096)


def test_the_catalog_leaves_torch_alone() -> None:
    code = (
        "import sys, core.catalog.catalog, core.catalog.known as k, core.runtime.pool, core.runtime.placement;"
        "k.known_facts('gpt2'); sys.exit(int('torch' in sys.modules or 'transformers' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
