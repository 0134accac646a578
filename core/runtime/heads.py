"""A classifier around a base that is in memory: a plain ``XForSequenceClassification`` or ``XForTokenClassification``.

Promises: the classifier's modules are its own, its base's numbers are the base's very tensors (or copies, where it is
made to be merged); nothing of a second base is ever allocated. Its head, and a pooler that the base's files do not
have, are its own, drawn from the card's seed exactly as the loader draws them, until the file's numbers are put there.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from core.catalog.headers import weight_files
from core.errors import BadModel
from core.runtime.loading import HEAD_CLASSES
from core.runtime.tuned import Tuned

if TYPE_CHECKING:
    import torch


def with_head(
    base: Any, tuned: Tuned, replaced: Collection[str] = (), fresh: Collection[str] = (), *, share: bool = True
) -> Any:
    """The classifier that ``tuned`` was trained as, with a head that has yet to be loaded.

    ``base`` may have a head of its own, which is left out. ``replaced`` names tensors of the classifier that will be
    written into, ``fresh`` modules of the base that its files lack: both are the classifier's own even with ``share``.
    """
    body = base.base_model
    model = _skeleton(body, tuned)
    prefix = model.base_model_prefix
    if not hasattr(model, prefix):
        raise BadModel(f"{tuned.base} takes no head of this kind.", "Train it again on another model.")
    unused = [name for name, _ in body.named_children() if getattr(getattr(model, prefix), name, None) is None]
    setattr(model, prefix, body)
    fresh = [name for name in _below(body, prefix, fresh) if name.split(".")[0] not in unused]
    own = {*replaced, *(f"{prefix}.{name}.{leaf}" for name in fresh for leaf in ("weight", "bias"))}
    memo = shared_tensors(model, own) if share else {}
    memo |= {id(config): model.config for config in (body.config, model.config)}  # one config for the whole model
    twin = copy.deepcopy(model, memo)
    new_body = getattr(twin, prefix)
    for name in unused:  # a pooler that this kind of classifier does not read
        setattr(new_body, name, None)
    _draw(twin, [*(new_body.get_submodule(name) for name in fresh), *heads_of(twin)], tuned.card.seed, body.device)
    return twin


def heads_of(model: Any) -> Iterator[Any]:
    """What a classifier has beside its base."""
    return (child for name, child in model.named_children() if name != model.base_model_prefix)


def load_head(model: Any, tuned: Tuned, fresh: Collection[str] = ()) -> Any:
    """``model`` with a probe's own numbers, read from files that hold its base's too.

    Raises ``BadModel`` if they lack some.
    """
    import torch
    from safetensors import safe_open

    prefix = model.base_model_prefix
    own = [f"{prefix}.{name}." for name in _below(getattr(model, prefix), prefix, fresh)]
    wanted = {
        name: tensor
        for name, tensor in model.named_parameters()
        if not name.startswith(f"{prefix}.") or name.startswith(tuple(own))
    }
    for path in weight_files(tuned.folder):
        with safe_open(path, "pt") as file, torch.no_grad():
            for name in set(file.keys()) & set(wanted):
                stored = file.get_tensor(name)
                if stored.shape == wanted[name].shape:
                    wanted.pop(name).copy_(stored)
    if wanted:
        what = f"{tuned.title} lacks {len(wanted)} of its head's weights (first {min(wanted)})."
        raise BadModel(what, "Train it again.")
    return model


def unwrapped(model: Any) -> Any:
    """``model`` with the layers that PEFT trained whole in the places of PEFT's wrappers around them."""
    from peft.utils import ModulesToSaveWrapper

    for name, module in list(model.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            model.set_submodule(name, module.modules_to_save[module.active_adapters[0]])
    return model


def shared_tensors(model: Any, own: Collection[str] = ()) -> dict[int, Any]:
    """What ``copy.deepcopy`` takes as its memo so that it copies modules and only those tensors named in ``own``."""
    memo: dict[int, Any] = {}
    for name, tensor in (*model.named_parameters(remove_duplicate=False), *model.named_buffers()):
        if name not in own:
            memo[id(tensor)] = tensor
    return memo


def _skeleton(body: Any, tuned: Tuned) -> Any:
    """The classifier without numbers: all its tensors are on the meta device."""
    import torch
    import transformers

    config = copy.deepcopy(body.config)
    names = dict(enumerate(tuned.card.labels))
    config.num_labels = len(names)
    config.id2label, config.label2id = names, {label: number for number, label in names.items()}
    assert tuned.head is not None
    with torch.device("meta"):
        return getattr(transformers, HEAD_CLASSES[tuned.head]).from_config(config, dtype=body.dtype)


def _below(body: Any, prefix: str, fresh: Collection[str]) -> list[str]:
    """The fresh modules that are the body's, by their names in it: a base with a head calls them by longer ones."""
    known = {name for name, _ in body.named_modules()}
    return sorted({name.removeprefix(f"{prefix}.") for name in fresh} & known)


def _draw(model: Any, modules: list[Any], seed: int, device: torch.device) -> None:
    """First numbers for ``modules``, as ``from_pretrained`` gives them to what a file does not have."""
    import torch

    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(seed)
        for module in modules:
            module.to_empty(device="cpu")
            module.apply(model._init_weights)
            module.to(device)
