"""Before a training: what it would read, train and need, and how long one step of it takes on this machine.

Promises
- ``plan_and_preview`` loads no weights: rows as tokens, counts from safetensors headers, memory from the placement.
- ``measured_step`` takes real steps (forward, backward, AdamW at a learning rate of 0) on a lent model through its
  lane, one slice a step, so that others' work goes on between them. Nothing of it is kept: adapters and heads belong to
  a twin that shares the base's tensors, and no number of the base changes.

Does not start a training, nor refuse one: what does not fit is said in ``why``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from core.catalog.catalog import Catalog, Located
from core.catalog.linears import LinearGroup, head_parameters, linear_modules, low_rank_parameters
from core.errors import BadInput, Busy, DoesNotFit
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.run import model_spec
from core.runtime.devices import detect_devices
from core.runtime.pool import LoadedModel, ModelSpec, Pool
from core.runtime.uploads import Uploads
from core.settings import Settings
from core.training.datasets import Columns, Prepared, find_source, open_data
from core.training.parameters import LOW_RANK, Method, Task
from core.training.preview import preview, steps_of

if TYPE_CHECKING:
    import torch

ROWS = 8
STEPS = 3
"""Steps that are taken; the first one pays for what each step after it finds ready."""
_POOL_OF_ROWS = 500
"""Rows that batches are drawn from."""


def plan_and_preview(
    request: FinetuningRequest, pool: Pool, catalog: Catalog, uploads: Uploads, owner: str, token: str | None = None
) -> dict[str, Any]:
    """``core.training.preview.preview`` with ``method``, ``r``, ``targets``, ``modules``, ``parameters_trained``,
    ``parameters_total``, ``memory`` (bytes), ``free`` and ``why``; plain JSON.

    Raises ``LabError`` for data or a model that cannot be used.
    """
    prepared = opened(request, pool.settings, uploads, owner, token)
    located = catalog.locate(request.model, token)
    check_suitable(request, located)
    found = preview(prepared, _tokenizer(located), request, ROWS)
    spec = model_spec(request, located, prepared.labels)
    groups = linear_modules(located, spec.head)
    return found | {
        "method": request.method.value,
        "r": request.r,
        "targets": list(request.target_modules),
        "modules": [_module(group, groups, request) for group in groups] if request.method in LOW_RANK else [],
        **_counts(located, spec),
        **_memory(pool, spec, token),
    }


def measured_step(
    request: FinetuningRequest, pool: Pool, catalog: Catalog, uploads: Uploads, owner: str, token: str | None = None
) -> dict[str, Any]:
    """``{"step_seconds", "seconds"}``: of one optimizer step, and of all of them. Raises ``LabError``."""
    prepared = opened(request, pool.settings, uploads, owner, token)
    located = catalog.locate(request.model, token)
    check_suitable(request, located)
    with pool.lease(model_spec(request, located, prepared.labels), token) as loaded:
        steps = _Steps(request, prepared, loaded)
        try:
            times = [loaded.lane.call(steps.take, visitor=owner) for _ in range(STEPS)]
        finally:
            loaded.lane.call(steps.forget, visitor=owner)
    best = min(times[1:])
    return {"step_seconds": best, "seconds": best * steps_of(steps.sequences, request)}


def opened(request: FinetuningRequest, settings: Settings, uploads: Uploads, owner: str, token: str | None) -> Prepared:
    """The request's data, ready to train on."""
    source = find_source(
        request.data,
        settings,
        upload=partial(uploads.open, owner=owner),
        token=token,
    )
    columns = Columns(request.text_column, request.target_column)
    return open_data(source, columns, request.task, request.validation_share, request.seed)


def check_suitable(request: FinetuningRequest, located: Located) -> None:
    """Raise ``BadInput`` for a model that cannot do the task."""
    facts = located.facts
    if facts.kind == "seq2seq":
        raise BadInput(f"{facts.title} is an encoder-decoder, which is not trained here.", "Choose another model.")
    if request.task is Task.LANGUAGE and facts.kind == "encoder":
        raise BadInput(f"{facts.title} is an encoder: it reads text and writes none.", "Choose a language model.")


def _counts(located: Located, spec: ModelSpec) -> dict[str, int]:
    """How many numbers are trained, and how many there are: adapters and a new head come on top of the model's own."""
    facts = located.facts
    own = facts.parameters
    if spec.head is not None and facts.kind == "causal" and not facts.tied_embeddings:
        own -= facts.vocab_size * facts.hidden_size  # a classifier's head takes the place of the output layer
    if spec.trainable is None:
        whole = own + head_parameters(facts, spec.head, len(spec.labels))
        return {"parameters_trained": whole, "parameters_total": whole}
    return {"parameters_trained": spec.trainable, "parameters_total": own + spec.trainable}


def _module(group: LinearGroup, groups: Sequence[LinearGroup], request: FinetuningRequest) -> dict[str, Any]:
    dora = request.method is Method.DORA
    trained = low_rank_parameters(groups, (group.name,), request.r, request.ranks, dora=dora)
    return {
        "name": group.name,
        "count": group.count,
        "in_features": group.in_features,
        "out_features": group.out_features,
        "trained": trained,
    }


def _memory(pool: Pool, spec: ModelSpec, token: str | None) -> dict[str, Any]:
    try:
        placement = pool.plan(spec, token)
    except (DoesNotFit, Busy) as refusal:
        return {"memory": None, "why": str(refusal), "fits": False}
    device = next((device for device in detect_devices() if device.name == placement.device), None)
    return {
        "memory": {
            "weights": placement.weight_bytes,
            "gradients": placement.gradient_bytes,
            "optimizer": placement.optimizer_bytes,
            "activations": placement.activation_bytes,
            "total": placement.total_bytes,
        },
        "free": device.free_bytes if device else None,
        "why": placement.why,
        "fits": True,
    }


def _tokenizer(located: Located) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(located.path, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


class _Steps:
    """Training steps of a request on a twin of a lent model."""

    def __init__(self, request: FinetuningRequest, prepared: Prepared, loaded: LoadedModel) -> None:
        self._request, self._loaded = request, loaded
        rows, self.sequences = _encoded(request, prepared, loaded.tokenizer)
        self._batches = self._drawn(rows)
        self._model: Any = None
        self._optimizer: Any = None

    def take(self) -> float:
        """One optimizer step; its seconds. The first call makes the twin, outside of the time."""
        import torch

        if self._model is None:
            self._model = self._twin()
            trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
            self._optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=0.0)
        begin = time.perf_counter()
        for _ in range(self._request.gradient_accumulation):
            batch = {name: values.to(self._loaded.device) for name, values in next(self._batches).items()}
            with self._precision(), torch.enable_grad():
                self._model(**batch).loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._loaded.device.type == "cuda":
            torch.cuda.synchronize(self._loaded.device)
        return time.perf_counter() - begin

    def forget(self) -> None:
        """Let go of everything, and leave the lent model as it was."""
        self._model = self._optimizer = None
        self._loaded.model.requires_grad_(False)
        for parameter in self._loaded.model.parameters():
            parameter.grad = None

    def _twin(self) -> Any:
        from peft import get_peft_model

        from core.runtime.attaching import structural_copy
        from core.training.methods import adapter_config, choose_trained

        model = structural_copy(self._loaded.model)
        choose_trained(model, self._request)
        config = adapter_config(self._request, model)
        if config is not None:
            model = get_peft_model(model, config)
        if self._request.activation_checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        return model.train()

    def _precision(self) -> Any:
        import torch

        from core.training.methods import mixed_precision

        kind, name = self._loaded.device.type, self._loaded.placement.device
        able = any(device.bf16 for device in detect_devices() if device.name == name)
        mixed = mixed_precision(self._request, graphics=kind == "cuda", computes_bf16=able)
        return torch.autocast(kind, torch.bfloat16) if mixed else nullcontext()

    def _drawn(self, rows: list[dict[str, list[int]]]) -> Iterator[dict[str, torch.Tensor]]:
        """Batches of rows drawn by the seed, padded as a training pads them."""
        from core.training.batches import PadBatch

        collate = PadBatch(self._loaded.tokenizer.pad_token_id or 0)
        chance = random.Random(self._request.seed)
        while True:
            yield collate(chance.choices(rows, k=self._request.batch_size))


def _encoded(request: FinetuningRequest, prepared: Prepared, tokenizer: Any) -> tuple[list[dict[str, list[int]]], int]:
    """Some rows as ids, masks and labels, and how many rows the training has."""
    from core.training.encoding import IGNORED, encode, language_data, language_rows

    if request.task is not Task.LANGUAGE:
        encoded = encode(prepared, tokenizer, request).train
        return encoded.select(range(min(_POOL_OF_ROWS, len(encoded)))).to_list(), len(encoded)
    data = language_data(prepared, tokenizer, request)
    some = data.train.select(range(min(_POOL_OF_ROWS, len(data.train))))
    made = language_rows(some, tokenizer, data.settings)
    rows = [
        {
            "input_ids": row.ids,
            "attention_mask": [1] * len(row.ids),
            "labels": [token if trained else IGNORED for token, trained in zip(row.ids, row.trained, strict=True)],
        }
        for row in made
    ]
    return rows, round(len(made) * len(data.train) / max(1, len(some)))
