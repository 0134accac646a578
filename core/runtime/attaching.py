"""What was trained beside a base becomes a model of its own without a second copy of the base.

The attached model has modules of its own around the very tensors of the base: both decode at the same time, and so do
any number of others. Promises: nothing that is attached or done to the attached model changes a number of the base;
what an adapter replaces (trained biases, a head) is its own. Weights come from safetensors only.

A low-rank adapter's model is the base's own class with adapted layers inside, so that its rows share forward passes. A
trained prompt's model reads its virtual tokens before the first real one and shows logits of real tokens only. What
labels is a classifier of the base's family around the base without a head (``heads``), so that one base serves heads
with any labels.

Does not merge (``core.training.merging``) and does not decide what stays in memory (``pool``).
"""

from __future__ import annotations

import copy
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.catalog.facts import ModelFacts
from core.catalog.headers import folder_tensors, read_header
from core.catalog.parts import part_of
from core.errors import BadModel
from core.runtime.heads import load_head, shared_tensors, unwrapped, with_head
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.placement import Placement
from core.runtime.translate import is_out_of_memory
from core.runtime.tuned import ADAPTER_WEIGHTS, Tuned

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

_PEFT_PREFIX = "base_model.model."
_PROMPT = "prompt_embeddings"


def attach(base: LoadedModel, tuned: Tuned, placement: Placement, spec: ModelSpec) -> LoadedModel:
    """``tuned`` beside ``base``, ready for forward passes; ``spec.adapter`` names it.

    ``bytes`` counts what is not the base's.

    Raises ``BadModel`` when the two do not belong together.
    """
    model, tokenizer = attached_model(base.model, tuned, base.fresh), _tokenizer(base, tuned)
    if tuned.head is not None and model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id  # by it a language model finds each text's last token
    shared = {tensor.data_ptr() for tensor in (*base.model.parameters(), *base.model.buffers())}
    return LoadedModel(
        spec=replace(spec, adapter=tuned.name, head=tuned.head, labels=tuned.card.labels),
        facts=attached_facts(base.facts, tuned),
        placement=placement,
        model=model,
        tokenizer=tokenizer,
        lane=base.lane,
        device=base.device,
        bytes=_own_bytes(model, shared),
    )


def attached_facts(base: ModelFacts, tuned: Tuned) -> ModelFacts:
    """The base's facts under the model's own name; virtual tokens leave less room for others."""
    context = base.context - virtual_tokens(tuned) if tuned.kind == "prompt" else base.context
    return replace(base, name=tuned.name, title=tuned.title, context=context)


def adapter_bytes(tuned: Tuned) -> int:
    """What an adapter or a probe's head takes in memory, in bytes: what its file stores, as float32 at most."""
    if tuned.attaches:
        return sum(4 * tensor.count for tensor in _stored(tuned))
    return sum(4 * tensor.count for tensor in folder_tensors(tuned.folder) if part_of(tensor.name) == "head")


def virtual_tokens(tuned: Tuned) -> int:
    """How many vectors a trained prompt has."""
    return next((tensor.shape[0] for tensor in _stored(tuned) if tensor.name == _PROMPT), 0)


def attached_model(base: Any, tuned: Tuned, fresh: Collection[str] = ()) -> Any:
    """The model by itself: modules of its own around the base's tensors. Raises as ``attach`` does.

    ``fresh`` are the base's modules that its files do not have: a classifier has its own.
    """
    return _attached(base, tuned, fresh).eval().requires_grad_(False)


def _attached(base: Any, tuned: Tuned, fresh: Collection[str]) -> Any:
    if tuned.head is not None and not tuned.attaches:
        return load_head(with_head(base, tuned, fresh=fresh), tuned, fresh)
    replaced = _replaced([tensor.name for tensor in _stored(tuned)])
    if tuned.head is not None:
        twin = with_head(base, tuned, replaced, fresh)
    else:
        twin = structural_copy(base, replaced)
        if tuned.kind == "prompt":
            return with_prompt(twin, _prompt_of(tuned))
    wrapped = _wrapped(twin, tuned)
    return wrapped if tuned.kind == "prompt" else unwrapped(wrapped.get_base_model())


def merged_model(base: Any, tuned: Tuned, fresh: Collection[str] = ()) -> Any:
    """A plain model of the base's class with the adapter worked into weights of its own: twice the base's memory.

    A classifier is one of the base's family, whatever head ``base`` has or has not; ``fresh`` as above.
    """
    own = copy.deepcopy(base) if tuned.head is None else with_head(base, tuned, fresh=fresh, share=False)
    return _wrapped(own, tuned).merge_and_unload(safe_merge=True).eval().requires_grad_(False)


def _wrapped(twin: Any, tuned: Tuned) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(twin, str(tuned.folder), is_trainable=False)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise BadModel(
            f"{tuned.title} does not fit {tuned.base}: its adapter was trained on another model.",
            "Train it again on the model as it is now.",
        ) from error


def structural_copy(model: Any, own: Collection[str] = ()) -> Any:
    """New modules around the same parameters and buffers; only those named in ``own`` are copied."""
    return copy.deepcopy(model, shared_tensors(model, own))


def with_prompt(model: Any, prompt: torch.Tensor) -> Any:
    """Make ``model`` (a twin of nobody else's) read ``prompt`` (virtual tokens, hidden size) before every text."""
    from core.runtime.prompted import prompted_class

    model_class: Any = type(model)
    model.__class__ = prompted_class(model_class)
    model.register_buffer("virtual_tokens", prompt.to(model.device))
    return model


def _stored(tuned: Tuned) -> Any:
    path = tuned.folder / ADAPTER_WEIGHTS
    if not path.is_file():
        raise BadModel(f"{tuned.title} has no adapter in safetensors.", "Train it again.")
    return read_header(path)


def _replaced(stored: Collection[str]) -> set[str]:
    """Names of the base's own numbers that an adapter's file brings anew: loading writes into them."""
    return {name.removeprefix(_PEFT_PREFIX).replace(".base_layer.", ".") for name in stored}


def _prompt_of(tuned: Tuned) -> torch.Tensor:
    from safetensors.torch import load_file

    return load_file(tuned.folder / ADAPTER_WEIGHTS)[_PROMPT]


def _tokenizer(base: LoadedModel, tuned: Tuned) -> Any:
    """The tokenizer that the model was trained with, where it was saved; else the base's.

    It pads as the base's does, a classifier's where the training did.
    """
    from transformers import AutoTokenizer

    side = base.tokenizer.padding_side if tuned.head is None else tuned.card.padding or "right"
    if not (tuned.folder / "tokenizer_config.json").is_file():
        if side == base.tokenizer.padding_side:
            return base.tokenizer
        own = copy.deepcopy(base.tokenizer)
        own.padding_side = side
        return own
    tokenizer = AutoTokenizer.from_pretrained(
        tuned.folder, local_files_only=True, trust_remote_code=False, padding_side=side
    )
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _own_bytes(model: Any, shared: Collection[int]) -> int:
    own = {tensor.data_ptr(): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for place, tensor in own.items() if place not in shared)
