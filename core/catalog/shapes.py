"""The tensors that a config implies, without the weights: what lets a model be sized before it is downloaded.

Covered: Llama and its relatives (Mistral, Qwen2), GPT-2, BERT, RoBERTa, DistilBERT and T5, with the heads that the
known models carry. Each list equals what ``transformers`` builds from the same config (a test compares them on the meta
device). Anything else raises ``BadModel``: such a model is sized from its own files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

from core.catalog.headers import TensorInfo
from core.errors import BadModel

Config = Mapping[str, Any]
Shapes = Iterator[tuple[str, tuple[int, ...]]]

_STORED = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}


def tensors_of(config: Config) -> tuple[TensorInfo, ...]:
    """All parameters of the model that ``config`` describes, tied ones once, as they would be stored."""
    rule = _RULES.get(str(config["model_type"]))
    if rule is None:
        raise BadModel(f"The shapes of {config['model_type']} models are not known before a download.")
    dtype, size = _STORED[str(config.get("dtype", "float32"))]
    return tuple(TensorInfo(name, shape, dtype, prod(shape) * size) for name, shape in rule(config))


def _linear(name: str, outputs: int, inputs: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _norm(name: str, size: int) -> Shapes:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def _llama(c: Config) -> Shapes:
    width, inner, heads = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"]
    head = c.get("head_dim") or width // heads
    kv = c.get("num_key_value_heads") or heads
    attention_bias = c["model_type"] == "qwen2" or bool(c.get("attention_bias"))
    yield "model.embed_tokens.weight", (c["vocab_size"], width)
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        yield f"{layer}.input_layernorm.weight", (width,)
        yield from _linear(f"{layer}.self_attn.q_proj", heads * head, width, attention_bias)
        yield from _linear(f"{layer}.self_attn.k_proj", kv * head, width, attention_bias)
        yield from _linear(f"{layer}.self_attn.v_proj", kv * head, width, attention_bias)
        yield from _linear(f"{layer}.self_attn.o_proj", width, heads * head, bool(c.get("attention_bias")))
        yield f"{layer}.post_attention_layernorm.weight", (width,)
        for name, outputs, inputs in (("gate", inner, width), ("up", inner, width), ("down", width, inner)):
            yield from _linear(f"{layer}.mlp.{name}_proj", outputs, inputs, bool(c.get("mlp_bias")))
    yield "model.norm.weight", (width,)
    if not c.get("tie_word_embeddings", False):
        yield "lm_head.weight", (c["vocab_size"], width)


def _gpt2(c: Config) -> Shapes:
    width = c["n_embd"]
    inner = c.get("n_inner") or 4 * width
    yield "transformer.wte.weight", (c["vocab_size"], width)
    yield "transformer.wpe.weight", (c["n_positions"], width)
    for n in range(c["n_layer"]):
        layer = f"transformer.h.{n}"
        yield from _norm(f"{layer}.ln_1", width)
        for name, inputs, outputs in (
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, inner),
            ("mlp.c_proj", inner, width),
        ):
            yield f"{layer}.{name}.weight", (inputs, outputs)  # GPT-2 stores its matrices transposed
            yield f"{layer}.{name}.bias", (outputs,)
        yield from _norm(f"{layer}.ln_2", width)
    yield from _norm("transformer.ln_f", width)


def _bert(c: Config) -> Shapes:
    """BERT and RoBERTa: one body under two names, with heads that differ."""
    width, inner, stem = c["hidden_size"], c["intermediate_size"], str(c["model_type"])
    for name, rows in (
        ("word", c["vocab_size"]),
        ("position", c["max_position_embeddings"]),
        ("token_type", c["type_vocab_size"]),
    ):
        yield f"{stem}.embeddings.{name}_embeddings.weight", (rows, width)
    yield from _norm(f"{stem}.embeddings.LayerNorm", width)
    for n in range(c["num_hidden_layers"]):
        layer = f"{stem}.encoder.layer.{n}"
        for name in ("query", "key", "value"):
            yield from _linear(f"{layer}.attention.self.{name}", width, width)
        yield from _linear(f"{layer}.attention.output.dense", width, width)
        yield from _norm(f"{layer}.attention.output.LayerNorm", width)
        yield from _linear(f"{layer}.intermediate.dense", inner, width)
        yield from _linear(f"{layer}.output.dense", width, inner)
        yield from _norm(f"{layer}.output.LayerNorm", width)
    architecture = c["architectures"][0]
    if architecture == "BertForMaskedLM":
        yield from _linear("cls.predictions.transform.dense", width, width)
        yield from _norm("cls.predictions.transform.LayerNorm", width)
        yield "cls.predictions.bias", (c["vocab_size"],)
    elif architecture == "RobertaForSequenceClassification":
        yield from _linear("classifier.dense", width, width)
        yield from _linear("classifier.out_proj", c["num_labels"], width)
    elif architecture.endswith(("ForTokenClassification", "ForSequenceClassification")):
        if architecture == "BertForSequenceClassification":
            yield from _linear("bert.pooler.dense", width, width)
        yield from _linear("classifier", c["num_labels"], width)


def _distilbert(c: Config) -> Shapes:
    width, inner = c["dim"], c["hidden_dim"]
    yield "distilbert.embeddings.word_embeddings.weight", (c["vocab_size"], width)
    yield "distilbert.embeddings.position_embeddings.weight", (c["max_position_embeddings"], width)
    yield from _norm("distilbert.embeddings.LayerNorm", width)
    for n in range(c["n_layers"]):
        layer = f"distilbert.transformer.layer.{n}"
        for name in ("q", "k", "v", "out"):
            yield from _linear(f"{layer}.attention.{name}_lin", width, width)
        yield from _norm(f"{layer}.sa_layer_norm", width)
        yield from _linear(f"{layer}.ffn.lin1", inner, width)
        yield from _linear(f"{layer}.ffn.lin2", width, inner)
        yield from _norm(f"{layer}.output_layer_norm", width)
    if c["architectures"] == ["DistilBertForMaskedLM"]:
        yield from _linear("vocab_transform", width, width)
        yield from _norm("vocab_layer_norm", width)
        yield "vocab_projector.bias", (c["vocab_size"],)
        return
    if c["architectures"] == ["DistilBertForSequenceClassification"]:
        yield from _linear("pre_classifier", width, width)
    yield from _linear("classifier", c["num_labels"], width)


def _t5(c: Config) -> Shapes:
    yield "shared.weight", (c["vocab_size"], c["d_model"])
    for stack, layers in (("encoder", c["num_layers"]), ("decoder", c.get("num_decoder_layers") or c["num_layers"])):
        for n in range(layers):
            yield from _t5_block(c, f"{stack}.block.{n}", decoder=stack == "decoder", first=n == 0)
        yield f"{stack}.final_layer_norm.weight", (c["d_model"],)
    if not c.get("tie_word_embeddings", True):
        yield "lm_head.weight", (c["vocab_size"], c["d_model"])


def _t5_block(c: Config, block: str, decoder: bool, first: bool) -> Shapes:
    width, attention, inner = c["d_model"], c["num_heads"] * c["d_kv"], c["d_ff"]
    kinds = ("SelfAttention", "EncDecAttention") if decoder else ("SelfAttention",)
    for number, kind in enumerate(kinds):
        for name in "qkv":
            yield from _linear(f"{block}.layer.{number}.{kind}.{name}", attention, width, bias=False)
        yield from _linear(f"{block}.layer.{number}.{kind}.o", width, attention, bias=False)
        if first and kind == "SelfAttention":
            buckets = c.get("relative_attention_num_buckets", 32)
            yield f"{block}.layer.{number}.{kind}.relative_attention_bias.weight", (buckets, c["num_heads"])
        yield f"{block}.layer.{number}.layer_norm.weight", (width,)
    feed_forward = f"{block}.layer.{len(kinds)}"
    for name in ("wi_0", "wi_1") if "gated" in c.get("feed_forward_proj", "relu") else ("wi",):
        yield from _linear(f"{feed_forward}.DenseReluDense.{name}", inner, width, bias=False)
    yield from _linear(f"{feed_forward}.DenseReluDense.wo", width, inner, bias=False)
    yield f"{feed_forward}.layer_norm.weight", (width,)


_RULES: dict[str, Callable[[Config], Shapes]] = {
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "gpt2": _gpt2,
    "bert": _bert,
    "roberta": _bert,
    "distilbert": _distilbert,
    "t5": _t5,
}
