"""Small random models that label, loaded by the real loader; weights are wide, so that labels differ."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

from core.catalog.catalog import Catalog, Located
from core.catalog.facts import facts_from_folder
from core.runtime.devices import detect_devices
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Policy, place
from core.settings import Settings
from tests.fakes_generation import VOCABULARY, byte_level_tokenizer

Family = Literal["bert", "bytes", "distilbert", "roberta", "gpt2"]
TOKEN_LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
CONTEXT = 192


@cache
def labeller(family: Family, head: Literal["classification", "tokens"], labels: tuple[str, ...]) -> LoadedModel:
    """A model of one layer or two with a head for ``labels``. "bert" has MiniLM's vocabulary, the others bytes."""
    folder = Path(mkdtemp(prefix=f"labels-{family}-"))
    _save(family, folder)
    located = Located(family, folder, facts_from_folder(folder, family, "local"), "local")
    spec = ModelSpec(family, head=head, labels=labels, seed=11)
    here = [device for device in detect_devices() if device.type == "cpu"]
    loaded = load(located, place(located.facts, here, Policy(dtype="float32")), spec=spec)
    _widen(loaded.model)
    return loaded


def _save(family: Family, folder: Path) -> None:
    import torch
    import transformers as T

    torch.manual_seed(5)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    wide = {"initializer_range": 0.4, "max_position_embeddings": CONTEXT}
    model: Any
    if family == "bert":
        tokenizer = T.AutoTokenizer.from_pretrained(Catalog(Settings(home=folder)).locate("all-MiniLM-L6-v2").path)
        model = T.BertModel(T.BertConfig(**sizes, **wide, vocab_size=len(tokenizer), pad_token_id=0))
    else:
        tokenizer = byte_level_tokenizer()
        if family == "bytes":
            model = T.BertModel(T.BertConfig(**sizes, **wide, vocab_size=VOCABULARY, pad_token_id=0))
        elif family == "roberta":
            wide["max_position_embeddings"] = CONTEXT + 2
            model = T.RobertaModel(T.RobertaConfig(**sizes, **wide, vocab_size=VOCABULARY, pad_token_id=1))
        elif family == "distilbert":
            shape = {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}
            model = T.DistilBertModel(T.DistilBertConfig(**shape, **wide, vocab_size=VOCABULARY))
        else:
            model = T.GPT2LMHeadModel(
                T.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT, vocab_size=VOCABULARY)
            )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _widen(model: Any) -> None:
    """The head's numbers larger, from one seed."""
    import torch

    chance = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if not name.startswith(model.base_model_prefix):
            parameter.data = torch.randn(parameter.shape, generator=chance)
