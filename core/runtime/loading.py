"""From files to a model ready for forward passes, on the device and in the dtype that its placement says.

Promises
- Weights come from safetensors only, code from transformers only (``trust_remote_code`` never), and nothing from the
  network: what is loaded lies in ``located.path``.
- A model whose files lack weights is refused, not completed with random numbers. The one exception is a head that the
  spec asks for by its labels: it is new, drawn from the spec's seed.
- The model is in eval mode, needs no gradients, and attends with sdpa. Tokenizers of models that write pad on the left,
  those of models that label on the right.
- 4-bit weights that are loaded for training stay exact (see ``quantized``).
- A load for measuring is read: its seconds, and its memory at the peak and afterwards, every weight in memory.
- Every failure is a ``LabError``; torch and transformers are imported when the first model is loaded.

Does not decide where a model goes (``placement``), nor how long it stays (``pool``).
"""

from __future__ import annotations

import gc
import importlib
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.catalog.catalog import Located
from core.catalog.facts import ModelFacts
from core.catalog.headers import read_json
from core.catalog.parts import part_of
from core.errors import BadModel, Internal, LabError
from core.runtime.devices import give_back, small_heap
from core.runtime.lanes import InlineLane, Lane
from core.runtime.memory_readings import LoadReading, reading
from core.runtime.placement import Placement
from core.runtime.quantized import (
    keep_odd_plain,
    keep_plain,
    model_bytes,
    own_memory,
    quantization_config,
    quiet_libraries,
)
from core.runtime.schemes import SCHEMES, Dtype, Quantized
from core.runtime.translate import translate

if TYPE_CHECKING:
    import torch

_AUTO_CLASSES = {"causal": "AutoModelForCausalLM", "seq2seq": "AutoModelForSeq2SeqLM", "encoder": "AutoModel"}
HEAD_CLASSES = {
    "classification": "AutoModelForSequenceClassification", "tokens": "AutoModelForTokenClassification",
}  # fmt: skip
_MAY_BE_NEW = ("pooler.", "encoder.pooler.")
"""Encoders saved without a pooler get a fresh one, which nothing here reads."""
_NUMBERS_APART = 1024
"""How far apart numbers may be so that each page of memory (4096 bytes at least) has one."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, wanted for what. ``device`` and ``dtype`` are wishes to the placement; None leaves it free.

    ``head`` labels texts or tokens. With ``labels`` it is made anew where the files have none of that size, from
    ``seed``; without, it has to be in the files. ``trainable`` parameters (None: all), ``rows`` of ``context`` tokens
    in a pass and ``checkpointing`` are what memory is planned for. "measure" is a model by itself, loaded from the
    files to be read and gone when it comes back; ``turn`` tells such leases apart, and is the pool's to set.
    """

    base: str
    adapter: str | None = None
    head: Literal["classification", "tokens"] | None = None
    purpose: Literal["infer", "train", "measure"] = "infer"
    device: str | None = None
    dtype: Dtype | None = None
    labels: tuple[str, ...] = ()
    quantization: Quantized | None = None
    trainable: int | None = None
    rows: int | None = None
    context: int | None = None
    checkpointing: bool = False
    seed: int = 0
    turn: int = 0


@dataclass(slots=True, eq=False)
class LoadedModel:
    """A model in memory. Forward passes go through ``lane``; ``bytes`` is what parameters, buffers and constants take.

    A label's number is its place in ``spec.labels``, and ``model.config`` has the names. ``fresh`` are the modules, by
    their full names, that the files did not have: whoever keeps only a part of the model has to keep these too.
    ``loading`` is what was read while it was loaded to be measured.
    """

    spec: ModelSpec
    facts: ModelFacts
    placement: Placement
    model: Any
    tokenizer: Any
    lane: Lane
    device: torch.device
    bytes: int
    fresh: tuple[str, ...] = ()
    loading: LoadReading | None = None


def load(
    located: Located, placement: Placement, *, spec: ModelSpec | None = None, lane: Lane | None = None
) -> LoadedModel:
    """Load ``located`` as ``placement`` says. Without a ``lane`` the model works on its caller's thread.

    Raises ``BadModel`` for files that are no such model, ``OutOfMemory`` when they do not go in after all.
    """
    import torch

    spec = spec or ModelSpec(located.name)
    quiet_libraries()
    try:
        tokenizer = _tokenizer(located, spec)
        model, fresh, loading = _read_model(located, placement, spec)
        if spec.head is not None and model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id  # by it a language model finds each text's last token
    except Exception as error:
        explained = _explained(error, located)
        _let_go(error)
        raise explained from error
    return LoadedModel(
        spec=spec,
        facts=located.facts,
        placement=placement,
        model=model,
        tokenizer=tokenizer,
        lane=lane or InlineLane(placement.device),
        device=torch.device(placement.device),
        bytes=model_bytes(model),
        fresh=fresh,
        loading=loading,
    )


def _tokenizer(located: Located, spec: ModelSpec) -> Any:
    from transformers import AutoTokenizer

    labels = spec.head is not None or located.facts.kind == "encoder"
    tokenizer = AutoTokenizer.from_pretrained(
        located.path, local_files_only=True, trust_remote_code=False, padding_side="right" if labels else "left"
    )
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so any token that exists will do
    return tokenizer


def _read_model(
    located: Located, placement: Placement, spec: ModelSpec
) -> tuple[Any, tuple[str, ...], LoadReading | None]:
    """The model, its new modules, and what its loading took where that is asked for."""
    if spec.purpose != "measure":
        return *_model(located, placement, spec), None
    _import_libraries(located, spec)
    with reading(placement.device) as taken:
        model, fresh = _model(located, placement, spec)
        if spec.quantization is None and placement.device == "cpu":
            touch(model)
    return model, fresh, taken


def touch(model: Any) -> None:
    """Bring every weight into memory: in a mapped file they come there one by one, when they are first used."""
    for parameter in model.parameters():
        parameter.data.flatten()[::_NUMBERS_APART].sum()


def _import_libraries(located: Located, spec: ModelSpec) -> None:
    """Import what the load would, so that no library's own memory is taken for the model's."""
    import transformers
    import transformers.quantizers.auto

    getattr(transformers, located.facts.architecture, None)
    if spec.quantization is not None:
        importlib.import_module(SCHEMES[spec.quantization].library)


def _model(located: Located, placement: Placement, spec: ModelSpec) -> tuple[Any, tuple[str, ...]]:
    """The model, and the names of its modules that are new."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # a server's log is no place for bars
    name = _AUTO_CLASSES[located.facts.kind] if spec.head is None else HEAD_CLASSES[spec.head]
    saved = spec.quantization is not None and "quantization_config" in read_json(located.path / "config.json")
    options = {**_head_options(spec), **_quantization_options(placement, spec, saved)}
    with torch.random.fork_rng(devices=()), small_heap() if spec.quantization else nullcontext():
        torch.manual_seed(spec.seed)
        model, info = getattr(transformers, name).from_pretrained(
            located.path,
            dtype=getattr(torch, placement.dtype),
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    mismatched = [key if isinstance(key, str) else key[0] for key in info.get("mismatched_keys", ())]
    _check_complete(located, sorted(info["missing_keys"]), sorted(mismatched), spec)
    if spec.quantization is None:
        model.to(torch.device(placement.device))  # 4-bit weights are made where they belong, and must not be moved
    else:
        if not saved:
            own_memory(model)
        if spec.purpose != "measure":  # the reading does
            give_back(placement.device)  # packing left the full-precision copies behind
        (keep_plain if spec.purpose == "train" else keep_odd_plain)(model)
    new = {key.rpartition(".")[0] for key in (*info["missing_keys"], *mismatched)}
    return model.eval().requires_grad_(False), tuple(sorted(new))


def _head_options(spec: ModelSpec) -> dict[str, Any]:
    if spec.head is None or not spec.labels:
        return {}
    names = dict(enumerate(spec.labels))
    return {
        "num_labels": len(names),
        "id2label": names,
        "label2id": {label: number for number, label in names.items()},
        "ignore_mismatched_sizes": True,  # a head for other labels is left behind; anything else is refused below
    }


def _quantization_options(placement: Placement, spec: ModelSpec, saved: bool) -> dict[str, Any]:
    """``saved``: the files are quantized already, and their own config says how."""
    import torch

    if spec.quantization is None:
        return {}
    options: dict[str, Any] = {"device_map": {"": placement.device}}
    if not saved:
        dtype = getattr(torch, placement.dtype)
        options["quantization_config"] = quantization_config(spec.quantization, dtype)
    return options


def _check_complete(located: Located, missing: Sequence[str], mismatched: Sequence[str], spec: ModelSpec) -> None:
    may_be_new = _MAY_BE_NEW if located.facts.kind == "encoder" else ()
    absent = [key for key in missing if not key.startswith(may_be_new)]
    wrong = [key for key in (*absent, *mismatched) if not (spec.labels and part_of(key) == "head")]
    if wrong and spec.head is not None and all(part_of(key) == "head" for key in wrong):
        raise BadModel(
            f"{located.name} has no head for labels: its files lack {wrong[0]}.",
            "Choose a model that has one, or fine-tune this one first.",
        )
    if wrong:
        raise BadModel(
            f"{located.name} lacks {len(wrong)} of the weights that its config asks for (first {wrong[0]}).",
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
