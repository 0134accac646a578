"""Real models of two small layers with random weights, loaded by the real loader, and a few rows to train them on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

from core.catalog.catalog import Located
from core.catalog.facts import facts_from_folder
from core.runtime.devices import detect_devices
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Policy, place
from core.training.datasets import Prepared
from core.training.parameters import Method, Task, TrainingParameters

_TEXT = "the a cat dog sea ship sailed slept saw big small red blue and on in happy sad angry day night arr hello"
WORDS = tuple(_TEXT.split())
LABELS = ("calm", "wild")
TAGS = ("O", "B-ANIMAL", "B-THING")
Family = Literal["gpt2", "llama", "bert"]


@cache
def folder_of(family: Family) -> Path:
    """The files of a model, written once in the test process."""
    import torch
    import transformers as T

    folder = Path(mkdtemp(prefix=f"tiny-{family}-"))
    _tokenizer(family).save_pretrained(folder)
    shape = {"vocab_size": len(WORDS) + 4, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    torch.manual_seed(0)
    model: Any
    if family == "gpt2":
        config = T.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=128, **shape)
        model = T.GPT2LMHeadModel(config)
    elif family == "llama":
        config = T.LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            max_position_embeddings=128, **shape,
        )  # fmt: skip
        model = T.LlamaForCausalLM(config)
    else:
        config = T.BertConfig(
            vocab_size=len(WORDS) + 4, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=128, pad_token_id=0,
        )  # fmt: skip
        model = T.BertModel(config)
    model.save_pretrained(folder)
    return folder


def _tokenizer(family: Family) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate(["<pad>", "<end>", "<unk>", "<cls>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if family == "bert":
        words.post_processor = processors.TemplateProcessing(
            single="<cls> $A <end>", pair="<cls> $A <end> $B <end>", special_tokens=[("<cls>", 3), ("<end>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", model_max_length=128
    )


def loaded(family: Family, parameters: TrainingParameters) -> LoadedModel:
    """The model as the pool would lend it for this training."""
    folder = folder_of(family)
    located = Located(family, folder, facts_from_folder(folder, family, "local"), "local")
    heads: dict[Task, Any] = {Task.CLASSIFICATION: "classification", Task.TOKENS: "tokens"}
    spec = ModelSpec(
        base=family,
        purpose="train",
        head=heads.get(parameters.task),
        labels={Task.CLASSIFICATION: LABELS, Task.TOKENS: TAGS}.get(parameters.task, ()),
        quantization="nf4" if parameters.method is Method.QLORA else None,
        rows=parameters.batch_size,
        context=parameters.max_length,
    )
    devices = [device for device in detect_devices() if device.type == "cpu"]
    placement = place(located.facts, devices, Policy(purpose="train", batch=2, context=32))
    return load(located, placement, spec=spec)


def rows(task: Task, count: int = 24, form: str = "text") -> Prepared:
    """Rows that can be learned: the words of a calm text differ from those of a wild one, animals are tagged."""
    from datasets import Dataset

    rng = random.Random(5)
    made = [_row(rng, task, form, i) for i in range(count + 8)]
    labels: Sequence[str] = {Task.CLASSIFICATION: LABELS, Task.TOKENS: TAGS}.get(task, ())
    kept: Any = {Task.CLASSIFICATION: "labels", Task.TOKENS: "tags"}.get(task, form)
    return Prepared(Dataset.from_list(made[:count]), Dataset.from_list(made[count:]), kept, tuple(labels), ())


def _row(rng: random.Random, task: Task, form: str, i: int) -> dict[str, Any]:
    wild = i % 2
    animal = rng.choice(["cat", "dog"])
    middle = [rng.choice(["big", "small", "red", "blue"]) for _ in range(rng.randint(1, 4))]
    words = ["the", *middle, animal, *(["saw", "the", "angry", "sea"] if wild else ["slept", "in", "the", "night"])]
    if task is Task.CLASSIFICATION:
        return {"text": " ".join(words), "label": wild}
    if task is Task.TOKENS:
        tags = [1 if word == animal else 2 if word == "sea" else 0 for word in words]
        return {"words": words, "tags": tags}
    if form == "completion":
        return {"prompt": " ".join(words[:-3]), "completion": " " + " ".join(words[-3:])}
    if form == "messages":
        turns = [{"role": "user", "content": words[0]}, {"role": "assistant", "content": " ".join(words[1:])}]
        return {"messages": turns}
    return {"text": " ".join(words)}
