"""What a model is, before a weight of it is loaded: its shape, its size and what it can be used for.

Promises
- Facts come from config.json, safetensors headers and the model card, never from running or unpickling anything.
- Parameters count each number once: tied matrices once, buffers not at all.
- What only one page shows, the parts and their tree, is worked out when it is asked for.

Raises ``BadModel`` with one sentence for folders that hold no usable model.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]  # ships no types

from core.catalog.headers import DTYPE_NAMES, TensorInfo, folder_tensors, read_json
from core.catalog.parts import Part, counted, part_counts, tree
from core.catalog.shapes import tensors_of
from core.errors import BadModel

Kind = Literal["causal", "seq2seq", "encoder"]
Source = Literal["bundled", "hub", "local"]
Head = Literal["classification", "tokens"]

_UNTIED_BY_DEFAULT = ("llama", "mistral", "mixtral", "qwen2", "qwen3", "phi", "phi3", "gpt_neox", "falcon_h1", "olmo")
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Families whose table of positions begins after the padding token's, so that two rows of it stand for no token."""
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model's shape and size. ``parameters`` counts tied ones once; ``weight_bytes`` is what the files store.

    ``tensors`` are those that count.
    """

    name: str
    title: str
    kind: Kind
    architecture: str
    parameters: int
    weight_bytes: int
    stored_dtype: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    context: int
    tied_embeddings: bool
    has_chat_template: bool
    source: Source
    licence: str | None
    tensors: tuple[TensorInfo, ...] = field(default=(), repr=False, compare=False)

    @property
    def head(self) -> Head | None:
        """What its files have a head for: labels of whole texts, or of tokens."""
        if self.architecture.endswith("ForSequenceClassification"):
            return "classification"
        return "tokens" if self.architecture.endswith("ForTokenClassification") else None

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """Parameters per part of the model, parts without any left out."""
        return part_counts(self.tensors)

    @property
    def tree(self) -> tuple[Part, ...]:
        """The model from input to output."""
        writes = self.architecture.endswith(("ForCausalLM", "LMHeadModel", "ConditionalGeneration"))
        return tree(self.tensors, self.tied_embeddings and writes)


def architecture_tree(facts: ModelFacts) -> list[dict[str, Any]]:
    """The model's parts as plain JSON: nested ``{"name", "parameters", "note", "children"}``, input to output."""

    def plain(part: Part) -> dict[str, Any]:
        children = [plain(child) for child in part.children]
        return {"name": part.name, "parameters": part.parameters, "note": part.note, "children": children}

    return [plain(part) for part in facts.tree]


def facts_from_folder(
    folder: Path, name: str | None = None, source: Source = "local", tensors: Sequence[TensorInfo] | None = None
) -> ModelFacts:
    """Facts of the model in ``folder``, called ``name`` (by default the folder's own).

    ``tensors`` are its own where its weights are elsewhere.
    """
    if not (folder / "config.json").is_file():
        raise BadModel(f"{name or folder.name} has no config.json.", "Choose a folder that from_pretrained can load.")
    config = read_json(folder / "config.json")
    card = _card(folder)
    return _facts(
        name=name or folder.name,
        title=str(card.get("title") or (name or folder.name)),
        config=config,
        tensors=folder_tensors(folder) if tensors is None else tensors,
        has_chat_template=_has_chat_template(folder),
        source=source,
        licence=_one_word(card.get("license") or card.get("licence")),
    )


def facts_from_config(
    name: str, config: Mapping[str, Any], *, has_chat_template: bool, licence: str | None
) -> ModelFacts:
    """Facts of a Hub model whose config is known and whose weights are not here."""
    return _facts(
        name=name,
        title=name,
        config=config,
        tensors=tensors_of(config),
        has_chat_template=has_chat_template,
        source="hub",
        licence=licence,
    )


def _facts(
    *,
    name: str,
    title: str,
    config: Mapping[str, Any],
    tensors: Sequence[TensorInfo],
    has_chat_template: bool,
    source: Source,
    licence: str | None,
) -> ModelFacts:
    config = {**config, **config.get("text_config", {})}  # models that also see pictures keep the text part apart
    model_type = str(config.get("model_type", ""))
    architecture = str((config.get("architectures") or [""])[0])
    tied = bool(config.get("tie_word_embeddings", model_type not in _UNTIED_BY_DEFAULT))
    own = counted(tensors, tied)
    shape = _Shape(name, config)
    hidden = shape.number("hidden_size", "n_embd", "dim", "d_model")
    heads = shape.number("num_attention_heads", "n_head", "n_heads", "num_heads")
    return ModelFacts(
        name=name,
        title=title,
        kind=_kind(name, model_type, architecture, bool(config.get("is_encoder_decoder"))),
        architecture=architecture,
        parameters=sum(t.count for t in own),
        weight_bytes=sum(t.bytes for t in own),
        stored_dtype=_main_dtype(own),
        layers=shape.number("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        hidden_size=hidden,
        heads=heads,
        kv_heads=shape.number("num_key_value_heads", default=heads),
        head_dim=shape.number("head_dim", "d_kv", default=max(1, hidden // heads)),
        intermediate_size=shape.number("intermediate_size", "n_inner", "hidden_dim", "d_ff", default=4 * hidden),
        vocab_size=shape.number("vocab_size"),
        context=shape.number("max_position_embeddings", "n_positions", "n_ctx", default=512)
        - (2 if model_type in _OFFSET_POSITIONS else 0),
        tied_embeddings=tied,
        has_chat_template=has_chat_template,
        source=source,
        licence=licence,
        tensors=own,
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """Sizes from a config, whatever its family calls them."""

    name: str
    config: Mapping[str, Any]

    def number(self, *keys: str, default: int | None = None) -> int:
        for key in keys:
            value = self.config.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        if default is None:
            raise BadModel(f"{self.name}'s config.json gives no {keys[0]}.", "Choose a transformer language model.")
        return default


def _kind(name: str, model_type: str, architecture: str, encoder_decoder: bool) -> Kind:
    if encoder_decoder or (architecture.endswith("ForConditionalGeneration") and "T5" in architecture):
        return "seq2seq"
    if architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        return "causal"
    if architecture or model_type in ("bert", "distilbert", "roberta", "electra", "deberta-v2", "mpnet"):
        return "encoder"
    raise BadModel(f"{name}'s config.json names no architecture.", 'Add the model\'s class under "architectures".')


def _main_dtype(tensors: Sequence[TensorInfo]) -> str:
    """The dtype that most bytes are stored in, in torch's words."""
    totals: Counter[str] = Counter()
    for tensor in tensors:
        totals[tensor.dtype] += tensor.bytes
    dtype = totals.most_common(1)[0][0]
    return DTYPE_NAMES.get(dtype, dtype.lower())


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(read_json(settings).get("chat_template"))


def _card(folder: Path) -> dict[str, Any]:
    """The YAML block at the top of the model card; empty when there is none or it cannot be read."""
    path = folder / "README.md"
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    fenced = text.split("\n---", 1)[0].removeprefix("\ufeff")
    if not fenced.startswith("---\n") or "\n---" not in text:
        return {}
    try:
        block = yaml.load(fenced.removeprefix("---\n"), Loader=_YAML)  # noqa: S506 - the safe loader, in C where it is
    except yaml.YAMLError as error:
        _LOG.warning("The card of %s has a front matter that is no YAML: %s", folder.name, error)
        return {}
    return block if isinstance(block, dict) else {}


def _one_word(value: object) -> str | None:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or None
    return str(value) if value else None
