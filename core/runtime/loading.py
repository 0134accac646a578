"""From files to a model ready for forward passes, on the device and in the dtype that its placement says.

Promises
- Weights come from safetensors only, code from transformers only (``trust_remote_code`` never), and nothing from the
  network: what is loaded lies in ``located.path``.
- A model whose files lack weights is refused, not completed with random numbers.
- The model is in eval mode, needs no gradients, and attends with sdpa; the tokenizer pads on the left.
- Every failure is a ``LabError``; torch and transformers are imported when the first model is loaded.

Does not decide where a model goes (``placement``), nor how long it stays (``pool``).
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.catalog.catalog import Located
from core.catalog.facts import ModelFacts
from core.errors import BadModel, Internal, LabError
from core.runtime.lanes import InlineLane, Lane
from core.runtime.placement import Dtype, Placement
from core.runtime.translate import translate

if TYPE_CHECKING:
    import torch

_AUTO_CLASSES = {"causal": "AutoModelForCausalLM", "seq2seq": "AutoModelForSeq2SeqLM", "encoder": "AutoModel"}
_MAY_BE_NEW = ("pooler.", "encoder.pooler.")
"""Encoders saved without a pooler get a fresh one, which nothing here reads."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, wanted for what. ``device`` and ``dtype`` are wishes to the placement; None leaves it free."""

    base: str
    adapter: str | None = None
    head: str | None = None
    purpose: Literal["infer", "train"] = "infer"
    device: str | None = None
    dtype: Dtype | None = None


@dataclass(slots=True, eq=False)
class LoadedModel:
    """A model in memory. Forward passes go through ``lane``; ``bytes`` is what parameters and buffers take."""

    spec: ModelSpec
    facts: ModelFacts
    placement: Placement
    model: Any
    tokenizer: Any
    lane: Lane
    device: torch.device
    bytes: int


def load(
    located: Located, placement: Placement, *, spec: ModelSpec | None = None, lane: Lane | None = None
) -> LoadedModel:
    """Load ``located`` as ``placement`` says. Without a ``lane`` the model works on its caller's thread.

    Raises ``BadModel`` for files that are no such model, ``OutOfMemory`` when they do not go in after all.
    """
    import torch

    try:
        tokenizer = _tokenizer(located)
        model = _model(located, placement)
        model.to(torch.device(placement.device))
    except Exception as error:
        explained = _explained(error, located)
        _let_go(error)
        raise explained from error
    return LoadedModel(
        spec=spec or ModelSpec(located.name),
        facts=located.facts,
        placement=placement,
        model=model,
        tokenizer=tokenizer,
        lane=lane or InlineLane(placement.device),
        device=torch.device(placement.device),
        bytes=_bytes(model),
    )


def _tokenizer(located: Located) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        located.path, local_files_only=True, trust_remote_code=False, padding_side="left"
    )
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so any token that exists will do
    return tokenizer


def _model(located: Located, placement: Placement) -> Any:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # a server's log is no place for bars
    auto_class = getattr(transformers, _AUTO_CLASSES[located.facts.kind])
    model, info = auto_class.from_pretrained(
        located.path,
        dtype=getattr(torch, placement.dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    _check_complete(located, sorted(info["missing_keys"]), sorted(map(str, info.get("mismatched_keys", ()))))
    return model.eval().requires_grad_(False)


def _check_complete(located: Located, missing: Sequence[str], mismatched: Sequence[str]) -> None:
    absent = [key for key in missing if not (located.facts.kind == "encoder" and key.startswith(_MAY_BE_NEW))]
    if absent or mismatched:
        raise BadModel(
            f"{located.name} lacks {len(absent) + len(mismatched)} of the weights that its config asks for "
            f"(first {(absent or list(mismatched))[0]}).",
            "Download or copy the model again, or choose another.",
        )


def _explained(error: Exception, located: Located) -> LabError:
    """Whatever transformers raises about a folder that is no model is the folder's fault, not ours."""
    explained = translate(error)
    if not isinstance(explained, Internal):
        return explained
    return BadModel(
        f"{located.name} cannot be loaded: transformers does not take its files for a {located.facts.architecture}.",
        "Choose another model, or one that needs no code of its own.",
    )


def _let_go(error: BaseException) -> None:
    """Drop the frames that still hold half-loaded tensors, so that a failed load leaves nothing behind."""
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    gc.collect()


def _bytes(model: Any) -> int:
    tensors = {tensor.data_ptr(): tensor for tensor in (*model.parameters(), *model.buffers())}  # tied ones once
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
