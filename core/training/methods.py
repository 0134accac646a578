"""What the parameters of a fine-tuning become in the libraries' own words: PEFT's configs and the trainers' arguments.

Promises
- Every field of ``TrainingParameters`` that a method uses reaches PEFT, TRL or transformers under its own name; the two
  functions that say how, ``adapter_arguments`` and ``training_arguments``, return plain keyword arguments, so that an
  exported script can write out the same ones.
- Which tensors are trained is decided here alone: adapters (and a new head), the head alone, or everything.
- Names of modules that the model does not have are refused with the names that it has.

Does not load, train or save anything. ``peft``'s ``prepare_model_for_kbit_training`` is not called: the models that
come here are frozen already, an nf4 model on a CPU keeps its other tensors in float32, and TRL leaves the ones on a
graphics card in bfloat16 as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from core.errors import BadInput
from core.training.parameters import LOW_RANK, Method, Task, TrainingParameters

TASK_TYPES = {Task.LANGUAGE: "CAUSAL_LM", Task.CLASSIFICATION: "SEQ_CLS", Task.TOKENS: "TOKEN_CLS"}
KINDS = {Method.PROMPT: "prompt", Method.PROBE: "head", Method.FULL: "full"}
"""What is saved in the end, as ``benchtop.json`` says it; every other method leaves an adapter."""
CHECKPOINTS_KEPT = 2


def kind_of(method: Method) -> str:
    """ "adapter", "prompt", "head" or "full"."""
    return KINDS.get(method, "adapter")


def adapter_arguments(
    parameters: TrainingParameters, *, heads: Sequence[str] = (), transposed: bool = False
) -> dict[str, Any]:
    """Keyword arguments of ``LoraConfig``, or ``PromptTuningConfig``; empty for methods without an adapter.

    ``heads`` are the names of a classifier's new layers, which are trained whole beside the adapter. ``transposed``
    says that the model's linear layers keep their weight as (in, out), as GPT-2's do.
    """
    common: dict[str, Any] = {"task_type": TASK_TYPES[parameters.task]}
    if parameters.method is Method.PROMPT:
        more = {"num_virtual_tokens": parameters.virtual_tokens, "prompt_tuning_init": "SAMPLE_VOCAB"}
        return common | more | ({"modules_to_save": list(heads)} if heads else {})
    if parameters.method not in LOW_RANK:
        return {}
    return common | {
        "r": parameters.r,
        "lora_alpha": parameters.lora_alpha,
        "lora_dropout": parameters.lora_dropout,
        "target_modules": list(parameters.target_modules) or "all-linear",
        "bias": parameters.bias,
        "rank_pattern": parameters.ranks,
        "use_rslora": parameters.method is Method.RSLORA,
        "use_dora": parameters.method is Method.DORA,
        "fan_in_fan_out": transposed,
        **({"modules_to_save": list(heads), "exclude_modules": list(heads)} if heads else {}),
    }


def training_arguments(
    parameters: TrainingParameters,
    *,
    output_dir: str,
    use_cpu: bool,
    bf16: bool,
    language: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Keyword arguments of ``SFTConfig`` for language, of ``TrainingArguments`` for the other tasks.

    ``language`` are the settings that ``encoding.language_data`` gives with the rows; None leaves what they say about
    masks out.
    """
    stopping = parameters.early_stopping > 0
    arguments: dict[str, Any] = {
        "output_dir": output_dir,
        "per_device_train_batch_size": parameters.batch_size,
        "per_device_eval_batch_size": parameters.batch_size,
        "gradient_accumulation_steps": parameters.gradient_accumulation,
        "learning_rate": parameters.learning_rate,
        "lr_scheduler_type": parameters.scheduler,
        "warmup_steps": parameters.warmup_ratio,
        "weight_decay": parameters.weight_decay,
        "num_train_epochs": parameters.epochs,
        "max_steps": parameters.max_steps or -1,
        "activation_checkpointing": parameters.activation_checkpointing,
        "bf16": bf16,
        "use_cpu": use_cpu,
        "eval_strategy": "steps",
        "eval_steps": parameters.eval_steps,
        "save_strategy": "best" if stopping else "steps",
        "save_steps": parameters.save_steps,
        "save_total_limit": CHECKPOINTS_KEPT,
        "load_best_model_at_end": stopping,
        "metric_for_best_model": "eval_loss" if stopping else None,
        "greater_is_better": False if stopping else None,
        "seed": parameters.seed,
        "data_seed": parameters.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": not use_cpu,
    }
    if parameters.scheduler == "polynomial":
        arguments["lr_scheduler_kwargs"] = {"lr_end": 0.0}  # the library's 1e-7 refuses smaller learning rates
    if parameters.task is not Task.LANGUAGE:
        return arguments | {"remove_unused_columns": False, "label_names": ["labels"]}
    plain = {"max_length": parameters.max_length, "packing": parameters.packing, "packing_strategy": "wrapped"}
    return arguments | plain | {"eval_packing": False, "prediction_loss_only": True} | (language or {})


def mixed_precision(parameters: TrainingParameters, *, graphics: bool, computes_bf16: bool) -> bool:
    """Whether passes compute in bfloat16: asked for, or a graphics card's own choice."""
    if parameters.precision == "auto":
        return graphics and computes_bf16
    return parameters.precision == "bfloat16"


def weights_dtype(parameters: TrainingParameters) -> Literal["float32"] | None:
    """The dtype that the weights must have, None where the placement may choose.

    Weights that are trained themselves are kept in float32, since bfloat16 swallows small updates; frozen ones under an
    adapter may have the device's own dtype.
    """
    trained = parameters.method in (Method.FULL, Method.PROBE)
    return "float32" if trained or parameters.precision == "float32" else None


def adapter_config(parameters: TrainingParameters, model: Any) -> Any:
    """The PEFT config for this model, or None. Raises ``BadInput`` for modules that it does not have."""
    from peft import LoraConfig, PromptTuningConfig
    from transformers.pytorch_utils import Conv1D

    if parameters.method is Method.PROMPT:
        return PromptTuningConfig(**adapter_arguments(parameters, heads=head_names(model, parameters.task)))
    if parameters.method not in LOW_RANK:
        return None
    _check_modules(parameters, model)
    transposed = any(isinstance(module, Conv1D) for module in model.modules())
    heads = head_names(model, parameters.task)
    return LoraConfig(**adapter_arguments(parameters, heads=heads, transposed=transposed))


def head_names(model: Any, task: Task) -> list[str]:
    """Names of the layers that a classifier has on top of its base; none for a language model."""
    if task is Task.LANGUAGE:
        return []
    return [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and any(True for _ in child.parameters())
    ]


def linear_names(model: Any) -> list[str]:
    """The last parts of the names of all layers that can get a low-rank adapter, sorted."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear | Conv1D) and module is not output
        }
    )


def _check_modules(parameters: TrainingParameters, model: Any) -> None:
    targets = parameters.target_modules
    names = {name for name, _ in model.named_modules() if name}
    known = linear_names(model)
    choice = f"This model has {', '.join(known)}."
    for target in targets:
        if not _matches(target, names):
            raise BadInput(f"Target modules: this model has no module named {target}.", choice)
        if target.rpartition(".")[2] not in known:
            raise BadInput(f"Target modules: {target} gets no low-rank adapter.", choice)
    for name in parameters.ranks:
        if not _matches(name, names) or (targets and not any(_matches(name, {target}) for target in targets)):
            raise BadInput(f"Rank pattern: {name} is none of the modules that get an adapter.", choice)


def _matches(name: str, names: Collection[str]) -> bool:
    return any(whole == name or whole.endswith(f".{name}") for whole in names)


def choose_trained(model: Any, parameters: TrainingParameters) -> None:
    """Mark the tensors that learn, for methods without an adapter; with one, PEFT marks them."""
    if parameters.method is Method.FULL:
        model.requires_grad_(True)
    elif parameters.method is Method.PROBE:
        model.requires_grad_(False)
        for name in head_names(model, parameters.task):
            getattr(model, name).requires_grad_(True)


def new_head(model: Any, parameters: TrainingParameters) -> None:
    """Give a classifier's head its first numbers from the seed: N(0, initializer_range), biases zero."""
    import torch
    from transformers import set_seed

    set_seed(parameters.seed)
    for name in head_names(model, parameters.task):
        for module in getattr(model, name).modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=model.config.initializer_range)
                if module.bias is not None:
                    torch.nn.init.zeros_(module.bias)


def counts(model: Any) -> tuple[int, int]:
    """(parameters trained, parameters in all); four-bit weights are counted by what they stand for."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += state.shape.numel() if state is not None else parameter.numel()
    return trained, total
