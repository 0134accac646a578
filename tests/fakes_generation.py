"""Tiny models with random weights and tokenizers made in memory, loaded as the engine gets them."""

from __future__ import annotations

from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from core.catalog.facts import ModelFacts
from core.runtime.lanes import InlineLane, Lane
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.placement import Placement

VOCABULARY = 320
CONTEXT = 96
END = 0
SENTENCES = (
    "The cat sat on the mat and the dog ran to the shop.",
    "Once upon a time there was a girl who stopped at the station.",
    "naïve café, 你好 and 🙂 are written with more than one byte.",
)


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of some 320 tokens, so that most characters outside ASCII take several tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>")


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """A vocabulary in SentencePiece's manner: words with their space, characters, and a token for each byte."""
    words = ["▁Once", "▁the", "▁cat", "▁", *"abcdefghijklmnopqrstuvwxyzO.,"]
    pieces = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    merges = [("▁", "t"), ("▁", "c")]
    merges += [("▁t", "h"), ("▁th", "e"), ("▁c", "a"), ("▁ca", "t")]
    for first, second in merges:
        vocabulary.setdefault(first + second, len(vocabulary))
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>", eos_token="</s>", pad_token="</s>")


def llama(**changes: Any) -> LlamaForCausalLM:
    """Two layers, grouped-query attention; weights large enough that what came before matters."""
    torch.manual_seed(11)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.3,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": END,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


def gpt2() -> GPT2LMHeadModel:
    """Two layers with learned positions."""
    torch.manual_seed(12)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=CONTEXT,
        initializer_range=0.3,
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=END,
    )
    return GPT2LMHeadModel(config).eval()


def sliding_mistral() -> MistralForCausalLM:
    """A model whose layers see only the last eight tokens: it cannot share a pass."""
    torch.manual_seed(13)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        sliding_window=8,
        initializer_range=0.3,
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=END,
    )
    return MistralForCausalLM(config).eval()


def t5() -> T5ForConditionalGeneration:
    """An encoder-decoder with two layers on each side."""
    torch.manual_seed(14)
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        initializer_factor=2.0,
        decoder_start_token_id=END,
        pad_token_id=END,
        eos_token_id=1,
    )
    return T5ForConditionalGeneration(config).eval()


def loaded(model: Any, tokenizer: Any = None, lane: Lane | None = None, context: int = CONTEXT) -> LoadedModel:
    """``model`` as the pool would lend it, on an inline lane unless another is given."""
    kind: Literal["causal", "seq2seq"] = "seq2seq" if model.config.is_encoder_decoder else "causal"
    facts = ModelFacts(
        name="tiny",
        title="Tiny",
        kind=kind,
        architecture=type(model).__name__,
        parameters=model.num_parameters(),
        weight_bytes=4 * model.num_parameters(),
        stored_dtype="float32",
        layers=2,
        hidden_size=32,
        heads=4,
        kv_heads=2,
        head_dim=8,
        intermediate_size=48,
        vocab_size=VOCABULARY,
        context=context,
        tied_embeddings=False,
        has_chat_template=False,
        source="local",
        licence=None,
    )
    return LoadedModel(
        spec=ModelSpec("tiny"),
        facts=facts,
        placement=Placement("cpu", "float32", 0, 0, 0, 0, 0, ""),
        model=model,
        tokenizer=tokenizer,
        lane=lane or InlineLane(),
        device=torch.device("cpu"),
        bytes=0,
    )
