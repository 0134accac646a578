"""Tiny models with random weights and a byte-level tokenizer in memory, for tests of searches and scripts.

The weights are drawn wide enough that near ties, which rounding could flip, hardly occur.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from core.catalog.facts import ModelFacts
from core.runtime.lanes import InlineLane
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.placement import Placement

Architecture = Literal["llama", "gpt2", "t5"]
END = 256
VOCABULARY = 260


def tokenizer(size: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """One token a byte, then an end token, a padding token and some that no text makes."""
    specials = ["<|end|>", "<|pad|>", *(f"<|{i}|>" for i in range(size - 258))]
    vocabulary = {character: i for i, character in enumerate(sorted(ByteLevel.alphabet()))}
    vocabulary |= {token: 256 + i for i, token in enumerate(specials)}
    backend = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevelDecoder()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        extra_special_tokens=specials[2:],
    )


def model(architecture: Architecture, *, seed: int = 0, vocabulary: int = VOCABULARY, context: int = 64) -> Any:
    """Two layers of random weights in float32. The same seed gives the same model."""
    torch.manual_seed(seed)
    made: Any
    shared: dict[str, Any] = {
        "vocab_size": vocabulary,
        "eos_token_id": END % vocabulary,
        "pad_token_id": (END + 1) % vocabulary,
    }
    wide: dict[str, Any] = {
        **shared,
        "initializer_range": 0.4,
        "bos_token_id": None,
        "max_position_embeddings": context,
    }
    if architecture == "llama":
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        made = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, **wide))
    elif architecture == "gpt2":
        made = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, **wide))
    else:
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "n_positions": context}
        start = (END + 1) % vocabulary
        made = T5ForConditionalGeneration(
            T5Config(**sizes, initializer_factor=3.0, decoder_start_token_id=start, **shared)
        )
    return made.eval().requires_grad_(False)


def loaded(architecture: Architecture = "llama", **options: Any) -> LoadedModel:
    """The same as the pool lends it, on an inline lane."""
    made = model(architecture, **options)
    return wrap(made, tokenizer(max(options.get("vocabulary", VOCABULARY), 258)))


def wrap(made: Any, own_tokenizer: Any) -> LoadedModel:
    """A model and its tokenizer as a ``LoadedModel``."""
    config = made.config
    facts = ModelFacts(
        name="tiny", title="Tiny", kind="seq2seq" if config.is_encoder_decoder else "causal",
        architecture=type(made).__name__, parameters=made.num_parameters(), weight_bytes=0, stored_dtype="float32",
        layers=2, hidden_size=32, heads=4, kv_heads=4, head_dim=8, intermediate_size=64, vocab_size=config.vocab_size,
        context=getattr(config, "max_position_embeddings", None) or config.n_positions, tied_embeddings=False,
        has_chat_template=False, source="local", licence=None,
    )  # fmt: skip
    placement = Placement("cpu", "float32", 0, 0, 0, 0, 0, "a test")
    return LoadedModel(
        ModelSpec("tiny"), facts, placement, made, own_tokenizer, InlineLane("cpu"), torch.device("cpu"), 0
    )
