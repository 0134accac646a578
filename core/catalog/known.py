"""Well-known models of the Hub: their configs, from which they are sized and placed with no download.

A config here holds what sizes depend on, in transformers' own words. The files a visitor later downloads are read
afresh; nothing else relies on this list being complete or current. Models whose files on the Hub are only a pickle are
not on it, well known as some are: they could not be loaded here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from core.catalog.facts import ModelFacts, facts_from_config
from core.errors import NotFound

_GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 50257, "n_positions": 1024}
_MISTRAL = {
    "model_type": "mistral", "architectures": ["MistralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768,
    "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip
_LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
_LLAMA_1B = {
    **_LLAMA, "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131072,
}  # fmt: skip
_SMOL = {**_LLAMA, "vocab_size": 49152, "max_position_embeddings": 8192}
_SMOL_135M = {
    **_SMOL, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3,
}  # fmt: skip
_BERT = {
    "model_type": "bert", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
_DISTILBERT = {
    "model_type": "distilbert", "dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12,
    "max_position_embeddings": 512,
}  # fmt: skip
_DISTILROBERTA = {
    **_BERT, "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"], "vocab_size": 50265,
    "num_hidden_layers": 6, "max_position_embeddings": 514, "type_vocab_size": 1,
}  # fmt: skip
_DISTILBERT_SENTIMENT = {**_DISTILBERT, "architectures": ["DistilBertForSequenceClassification"]}
_FLAN = {
    "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "vocab_size": 32128, "d_kv": 64,
    "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "n_positions": 512, "is_encoder_decoder": True,
}  # fmt: skip

CONFIGS: dict[str, dict[str, Any]] = {
    "distilgpt2": {**_GPT2, "n_embd": 768, "n_layer": 6, "n_head": 12},
    "gpt2": {**_GPT2, "n_embd": 768, "n_layer": 12, "n_head": 12},
    "gpt2-large": {**_GPT2, "n_embd": 1280, "n_layer": 36, "n_head": 20},
    "HuggingFaceTB/SmolLM2-135M": _SMOL_135M,
    "HuggingFaceTB/SmolLM2-135M-Instruct": _SMOL_135M,
    "HuggingFaceTB/SmolLM2-360M": {
        **_SMOL, "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15,
        "num_key_value_heads": 5,
    },
    "HuggingFaceTB/SmolLM2-1.7B": {
        **_SMOL, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "Qwen/Qwen2.5-0.5B-Instruct": {
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151936, "hidden_size": 896,
        "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "max_position_embeddings": 32768, "tie_word_embeddings": True, "dtype": "bfloat16",
    },
    "meta-llama/Llama-3.2-1B": _LLAMA_1B,
    "meta-llama/Llama-3.2-1B-Instruct": _LLAMA_1B,
    "mistralai/Mistral-7B-Instruct-v0.3": {**_MISTRAL, "vocab_size": 32768},
    "HuggingFaceH4/zephyr-7b-beta": {**_MISTRAL, "vocab_size": 32000},
    "google/flan-t5-small": {**_FLAN, "d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
    "google/flan-t5-base": {**_FLAN, "d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},
    "distilbert-base-uncased": {**_DISTILBERT, "architectures": ["DistilBertForMaskedLM"], "vocab_size": 30522},
    "bert-base-uncased": {**_BERT, "architectures": ["BertForMaskedLM"], "vocab_size": 30522},
    "dslim/bert-base-NER": {
        **_BERT, "architectures": ["BertForTokenClassification"], "vocab_size": 28996, "num_labels": 9,
    },
    "dslim/distilbert-NER": {
        **_DISTILBERT, "architectures": ["DistilBertForTokenClassification"], "vocab_size": 28996, "num_labels": 9,
    },
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": {
        **_DISTILBERT_SENTIMENT, "vocab_size": 30522, "num_labels": 2,
    },
    "lxyuan/distilbert-base-multilingual-cased-sentiments-student": {
        **_DISTILBERT_SENTIMENT, "vocab_size": 119547, "num_labels": 3,
    },
    "cross-encoder/quora-distilroberta-base": {**_DISTILROBERTA, "num_labels": 1},
    "cross-encoder/nli-distilroberta-base": {**_DISTILROBERTA, "num_labels": 3},
    "cross-encoder/stsb-distilroberta-base": {**_DISTILROBERTA, "num_labels": 1},
}  # fmt: skip

_CHAT = ("Instruct", "zephyr")
_LICENCES = {
    "meta-llama": "llama3.2", "gpt2": "mit", "gpt2-large": "mit", "HuggingFaceH4": "mit", "dslim/bert-base-NER": "mit",
}  # fmt: skip


def is_known(name: str) -> bool:
    """Whether ``name`` is on the list."""
    return name in CONFIGS


@cache
def known_facts(name: str) -> ModelFacts:
    """The facts of a model on the list. Raises ``NotFound`` for any other."""
    if name not in CONFIGS:
        raise NotFound(f"{name} is not among the models whose size is known in advance.")
    return facts_from_config(
        name,
        CONFIGS[name],
        has_chat_template=any(word in name for word in _CHAT),
        licence=_LICENCES.get(name) or _LICENCES.get(name.split("/")[0], "apache-2.0"),
    )
