"""A fine-tuning run: find the rows, lend the model for training, train, and say what happens.

The run is a job. One that resumes another takes over its last checkpoint and the curve up to it. Importing this loads
neither torch nor trl.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.catalog.catalog import Catalog, Located
from core.catalog.linears import all_biases, head_parameters, linear_modules, low_rank_parameters
from core.errors import BadInput, NotFound
from core.events import Event, Progress
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.script import script
from core.runtime.loading import LoadedModel, ModelSpec
from core.runtime.run_context import RunContext
from core.runtime.run_log import RunLog, read_meta
from core.settings import Settings
from core.training.methods import weights_dtype
from core.training.parameters import LOW_RANK, Method, Task

if TYPE_CHECKING:
    from core.catalog.linears import Head
    from core.runtime.pool import Pool
    from core.training.datasets import Prepared

__all__ = ["model_spec", "prepare", "run", "script"]

_HEADS: dict[Task, Head] = {Task.CLASSIFICATION: "classification", Task.TOKENS: "tokens"}
_KEPT_ON_RESUME = (
    "model", "data", "text_column", "target_column", "validation_share", "seed", "task", "method", "r",
    "target_modules", "rank_pattern", "bias", "virtual_tokens", "batch_size", "gradient_accumulation", "max_length",
    "packing", "completion_only_loss", "label_all_tokens",
)  # fmt: skip
"""What a checkpoint and its place in the data depend on; the rest may be changed when a run goes on."""


def run(request: FinetuningRequest, pool: Pool, context: RunContext) -> Iterator[Event]:
    """The events of one fine-tuning, from ``Step("start")`` to ``Done``. Raises ``LabError``."""
    yield Progress(done=0, note="Reading the data")
    settings = pool.settings
    earlier = _earlier(request, context)
    prepared = prepare(request, settings, context)
    located = Catalog(settings).locate(request.model, context.secret)
    _refuse_unsuitable(request, located)
    spec = model_spec(request, located, prepared.labels)
    yield Progress(done=0, note=f"Getting {request.model} ready")
    with pool.lease(spec, token=context.secret, cancelled=context.cancelled, owner=context.owner) as loaded:
        yield from _train(request, context, loaded, prepared, earlier)


def prepare(request: FinetuningRequest, settings: Settings, context: RunContext) -> Prepared:
    """The rows of a request: a bundled set, a Hub dataset, or the owner's upload."""
    from core.training.datasets import Columns, find_source, open_data

    source = find_source(request.data, settings, upload=context.upload, token=context.secret)
    columns = Columns(request.text_column, request.target_column)
    return open_data(source, columns, request.task, request.validation_share, request.seed)


def model_spec(request: FinetuningRequest, located: Located, labels: tuple[str, ...] = ()) -> ModelSpec:
    """How the model is lent: its head, its dtype, and what its memory is planned for."""
    head = _HEADS.get(request.task)
    virtual = request.virtual_tokens if request.method is Method.PROMPT else 0
    return ModelSpec(
        base=request.model,
        head=head,
        purpose="train",
        dtype=weights_dtype(request),
        labels=labels,
        quantization="nf4" if request.method is Method.QLORA else None,
        trainable=_trainable(request, located, head, len(labels)),
        rows=request.batch_size,
        context=min(request.max_length + virtual, located.facts.context),
        checkpointing=request.activation_checkpointing,
        seed=request.seed,
    )


def _trainable(request: FinetuningRequest, located: Located, head: Head | None, labels: int) -> int | None:
    """How many numbers are trained; None is all of them."""
    if request.method is Method.FULL:
        return None
    whole = head_parameters(located.facts, head, labels)
    if request.method is Method.PROMPT:
        return whole + request.virtual_tokens * located.facts.hidden_size
    if request.method not in LOW_RANK:
        return whole
    adapters = low_rank_parameters(
        linear_modules(located, head),
        request.target_modules,
        request.r,
        request.ranks,
        dora=request.method is Method.DORA,
        biases=request.bias == "lora_only",
    )
    return whole + adapters + (all_biases(located) if request.bias == "all" else 0)


def _refuse_unsuitable(request: FinetuningRequest, located: Located) -> None:
    facts = located.facts
    if facts.kind == "seq2seq":
        raise BadInput(
            f"{facts.title} is an encoder-decoder, which is not fine-tuned here.",
            "Choose a language model of the GPT-2 or Llama kind, or an encoder such as BERT.",
        )
    if facts.kind == "encoder" and request.task is Task.LANGUAGE:
        raise BadInput(
            f"{facts.title} is an encoder: it reads text and writes none.",
            "Choose a language model, or the task that labels texts or words.",
        )
    if request.max_length > facts.context and request.packing:
        raise BadInput(
            f"{facts.title} reads at most {facts.context:,} tokens; packed rows would have {request.max_length:,}.",
            f"Set the longest row to {facts.context:,} or less.",
        )


def _earlier(request: FinetuningRequest, context: RunContext) -> RunLog | None:
    """The run to go on from. Raises ``BadInput`` when it trained something else."""
    if not request.resume:
        return None
    log = _log_of(context.own_run_folder(request.resume))
    before = FinetuningRequest.model_validate(log.meta.request).model_dump()
    now = request.model_dump()
    changed = [name for name in _KEPT_ON_RESUME if before[name] != now[name]]
    if changed:
        title = FinetuningRequest.model_fields[changed[0]].title or changed[0]
        raise BadInput(f"{title} is not what the run was started with.", "Resume with the same, or start a new run.")
    return log


def _log_of(folder: Path) -> RunLog:
    meta = read_meta(folder.parent, folder.name)
    if meta is None:
        raise NotFound("That run cannot be read any more.", "Start a new one.")
    return RunLog(folder, meta)


def _train(
    request: FinetuningRequest, context: RunContext, loaded: LoadedModel, prepared: Prepared, earlier: RunLog | None
) -> Iterator[Event]:
    from core.training.checkpoints import adopt
    from core.training.trainer import Limits, TrainingJob, train

    if context.folder is None:
        raise BadInput("A training needs a folder to leave its model in.", "Start it as a run.")
    job = TrainingJob(
        loaded=loaded,
        parameters=request,
        prepared=prepared,
        folder=context.folder,
        prompts=request.prompts,
        title=request.summary(),
        base=request.model,
        data=request.data,
        resume_from=adopt(earlier.folder, context.folder) if earlier is not None else None,
        resumed=request.resume,
        curve=earlier.read() if earlier is not None else [],
        cancelled=context.cancelled,
        limits=Limits(steps=context.limits.steps),
    )
    yield from train(job)
