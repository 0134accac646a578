"""A fine-tuning as a Python script of its own: plain trl and peft (or transformers' Trainer), no Benchtop.

Promises: the script needs the data file, the model and the libraries, nothing else, and ends with the same training and
evaluation loss as the run (to rounding, on the same kind of machine); whatever a visitor typed appears only as a Python
literal; no token is in it. The numbers that decide the result come from ``methods``, which the trainer uses too. Its
last line is JSON, ``{"steps", "loss", "eval_loss"}``.

Not in a script: samples while it trains, readings, checkpoints to resume from.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.catalog.catalog import ENCODER, Catalog, Located
from core.labs.finetuning import script_text
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.script_data import DataPart, data_part
from core.runtime.devices import detect_devices
from core.runtime.loading import ModelSpec
from core.runtime.placement import Placement
from core.runtime.quantized import UNQUANTIZED
from core.training.methods import adapter_arguments, mixed_precision, training_arguments, weights_dtype
from core.training.parameters import LOW_RANK, METHOD_TITLES, Method, Task

if TYPE_CHECKING:
    from core.runtime.pool import Pool

_BESIDE_THE_RESULT = (
    "save_steps", "save_total_limit", "logging_nan_inf_filter", "include_num_input_tokens_seen", "disable_tqdm",
    "log_level", "dataloader_num_workers", "dataloader_pin_memory",
)  # fmt: skip
"""Arguments of the trainer that a script has no use for."""
_NEUTRAL: dict[str, Any] = {
    "gradient_accumulation_steps": 1, "weight_decay": 0.0, "max_steps": -1, "load_best_model_at_end": False,
    "metric_for_best_model": None, "greater_is_better": None, "packing": False, "use_cpu": False, "lora_dropout": 0.0,
    "bias": "none", "rank_pattern": {}, "use_rslora": False, "use_dora": False, "fan_in_fan_out": False,
    "dataset_text_field": "text", "assistant_only_loss": False, "data_seed": None, "report_to": "none",
}  # fmt: skip
"""Values that say nothing: the libraries' own."""
_HEADS = {Task.CLASSIFICATION: "AutoModelForSequenceClassification", Task.TOKENS: "AutoModelForTokenClassification"}
_COLLATORS = {Task.CLASSIFICATION: "DataCollatorWithPadding", Task.TOKENS: "DataCollatorForTokenClassification"}
Upload = Callable[[str], tuple[Path, str]]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request with what the script must know of model, data and machine."""

    request: FinetuningRequest
    located: Located
    placement: Placement
    data: DataPart

    @property
    def language(self) -> bool:
        return self.request.task is Task.LANGUAGE

    @property
    def every_subword(self) -> bool:
        return self.request.task is Task.TOKENS and self.request.label_all_tokens

    @property
    def quantized(self) -> bool:
        return self.request.method is Method.QLORA

    @property
    def on_cpu(self) -> bool:
        return self.placement.device == "cpu"

    @property
    def transposed(self) -> bool:
        return "gpt2" in self.located.facts.architecture.lower()

    @property
    def adapter(self) -> str:
        """The PEFT config's class, empty for a method without an adapter."""
        if self.request.method is Method.PROMPT:
            return "PromptTuningConfig"
        return "LoraConfig" if self.request.method in LOW_RANK else ""


def script(
    request: FinetuningRequest, pool: Pool, catalog: Catalog, token: str | None = None, upload: Upload | None = None
) -> str:
    """The script's text. ``upload`` gives the path and the original name of an uploaded file that the request names.

    Reads the data, for its columns and labels. Raises what ``open_data`` and the catalog raise.
    """
    located = catalog.locate(request.model, token)
    quantization: Literal["nf4"] | None = "nf4" if request.method is Method.QLORA else None
    spec = ModelSpec(base=request.model, purpose="train", dtype=weights_dtype(request), quantization=quantization)
    data = data_part(request, located.path, token, upload, pool.settings)
    plan = _Plan(request, located, pool.plan(spec, token), data)
    parts = [_imports(plan), _constants(plan), _data(plan), _model(plan), _trainer(plan), script_text.END]
    return _spaced("\n".join(part.strip("\n") + "\n" for part in parts))


def _spaced(text: str) -> str:
    """Two blank lines around each function, one elsewhere at most."""
    lines: list[str] = []
    inside = False  # of a function
    for line in text.splitlines():
        begins = line.startswith("def ")
        if line and (begins or (inside and not line[0].isspace())):
            while lines and not lines[-1]:
                lines.pop()
            lines += ["", ""]
            inside = begins
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines) + "\n"


def _imports(plan: _Plan) -> str:
    request, data = plan.request, plan.data
    plain = {"json", *data.modules, *(["importlib.util"] if _model_package(plan) else [])}
    transformers = {"AutoTokenizer", "AutoModelForCausalLM" if plan.language else _HEADS[request.task]}
    if not plan.language:
        transformers |= {"Trainer", "TrainingArguments", "set_seed", _COLLATORS[request.task]}
    if plan.quantized:
        transformers.add("BitsAndBytesConfig")
    if request.early_stopping:
        transformers.add("EarlyStoppingCallback")
    from_peft = sorted({plan.adapter, *([] if plan.language else ["get_peft_model"])}) if plan.adapter else []
    where = "in Benchtop's folder" if plan.data.bundled or plan.located.source == "bundled" else "anywhere"
    lines = [
        f'"""{METHOD_TITLES[request.method]} with plain {"trl" if plan.language else "transformers"}; run it {where}.',
        "",
        f"Needs: pip install torch transformers datasets{' peft' if from_peft else ''}{' trl' if plan.language else ''}"
        + (" bitsandbytes" if plan.quantized else ""),
        '"""',
        "",
        *(f"import {name}" for name in sorted(plain)),
        "",
        "import torch",
        f"from datasets import {', '.join(sorted({'Dataset', *data.from_datasets}))}",
        *([f"from peft import {', '.join(from_peft)}"] if from_peft else []),
        _from("transformers", sorted(transformers)),
        *(["from trl import SFTConfig, SFTTrainer"] if plan.language else []),
    ]
    return "\n".join(lines)


def _from(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= 100 else f"from {module} import (\n" + "".join(f"    {n},\n" for n in names) + ")"


def _model_package(plan: _Plan) -> bool:
    """Whether the model lies in a Python package of its own."""
    return plan.located.source == "bundled" and plan.located.name == ENCODER


def _constants(plan: _Plan) -> str:
    located = plan.located
    if _model_package(plan):
        package = located.path.parent.name
        model = f'importlib.util.find_spec({package!r}).submodule_search_locations[0] + "/model"  # {ENCODER}'
    elif located.source == "bundled":
        model = repr(f"assets/models/{located.name}")
    else:
        model = repr(located.name if located.source == "hub" else str(located.path))
    lines = [f"MODEL = {model}", *plan.data.constants, f"SEED = {plan.request.seed}"]
    if not plan.language:
        lines.append(f"MAX_LENGTH = {plan.data.max_length}")
    return "\n".join(lines)


def _data(plan: _Plan) -> str:
    return "\n".join(part.strip("\n") + "\n" for part in plan.data.code)


def _model(plan: _Plan) -> str:
    request, place = plan.request, f"dtype=torch.{plan.placement.dtype}"
    labels = ", num_labels=len(LABELS), id2label=dict(enumerate(LABELS))" if not plan.language else ""
    side = "" if plan.language else f', padding_side="{_padding(plan)}"'
    options = f"{place}{labels}"
    if plan.quantized:
        options += (
            script_text.QUANTIZATION.replace("DTYPE", plan.placement.dtype)
            .replace("DEVICE", repr(plan.placement.device))
            .replace("SKIPPED", _unquantized())
        )
    auto = "AutoModelForCausalLM" if plan.language else _HEADS[request.task]
    loading = f"model = {auto}.from_pretrained(MODEL, {options})"
    if len(loading) > 100 and not plan.quantized:
        loading = f"model = {auto}.from_pretrained(\n    MODEL, {options}\n)"
    lines = [
        f"tokenizer = AutoTokenizer.from_pretrained(MODEL{side})",
        "if tokenizer.pad_token is None:\n    tokenizer.pad_token = tokenizer.eos_token",
        loading,
    ]
    if plan.quantized:
        lines.append(script_text.PLAIN_NF4.strip("\n"))
    if not plan.language:
        lines.append("if model.config.pad_token_id is None:\n    model.config.pad_token_id = tokenizer.pad_token_id")
        lines.append(script_text.HEADS)
        if request.method is Method.PROBE:
            lines.append(script_text.PROBE)
    return "\n".join(line.strip("\n") for line in lines) + "\n"


def _padding(plan: _Plan) -> str:
    """Virtual tokens hide padding from a causal model's search for the last token, so there it stands on the left."""
    left = plan.request.method is Method.PROMPT and plan.located.facts.kind == "causal"
    return "left" if left else "right"


def _unquantized() -> str:
    return textwrap.fill(repr(list(UNQUANTIZED)), 90, subsequent_indent=" " * 12)


def _trainer(plan: _Plan) -> str:
    lines = []
    adapter = _adapter(plan)
    if adapter and plan.language:
        lines.append(f"adapter = {adapter}")
    elif adapter:
        lines.append(f"adapter = {adapter}\nset_seed(SEED)\nmodel = get_peft_model(model, adapter)")
    if not plan.language:
        lines += [*_encoding(plan), script_text.ACCURACY]
    lines.append(f"arguments = {_arguments(plan)}")
    every = "encode({}, every=True)" if plan.every_subword else "encode({})"
    rows = ("Dataset.from_list({})", "Dataset.from_list({})") if plan.language else (every, "encode({})")
    given = {
        "model": "model",
        "args": "arguments",
        "train_dataset": rows[0].format("train_rows"),
        "eval_dataset": rows[1].format("validation_rows"),
        "processing_class": "tokenizer",
    }
    if not plan.language:
        given["data_collator"] = f"{_COLLATORS[plan.request.task]}(tokenizer)"
        given["compute_metrics"] = "accuracy"
    if adapter and plan.language:
        given["peft_config"] = "adapter"
    if plan.request.early_stopping:
        given["callbacks"] = f"[EarlyStoppingCallback(early_stopping_patience={plan.request.early_stopping})]"
    name = "SFTTrainer" if plan.language else "Trainer"
    lines.append(f"trainer = {name}(\n" + "".join(f"    {key}={value},\n" for key, value in given.items()) + ")")
    return "\n\n".join(line.strip("\n") for line in lines)


def _encoding(plan: _Plan) -> list[str]:
    """How rows with labels become token ids."""
    if plan.every_subword:
        return [script_text.LATER, script_text.ENCODE_SUBWORDS]
    return [script_text.ENCODE_WORDS if plan.request.task is Task.TOKENS else script_text.ENCODE_TEXTS]


def _adapter(plan: _Plan) -> str:
    """The PEFT config as a call; empty for a method without one."""
    if not plan.adapter:
        return ""
    found = adapter_arguments(
        plan.request, heads=() if plan.language else ("HEADS",), transposed=plan.transposed and not plan.quantized
    )
    told = {name: value for name, value in found.items() if name not in _NEUTRAL or value != _NEUTRAL[name]}
    lines = [f"    {name}={'heads' if value == ['HEADS'] else repr(value)},\n" for name, value in told.items()]
    return f"{plan.adapter}(\n{''.join(lines)})"


def _arguments(plan: _Plan) -> str:
    """The trainer's arguments as a call, without those at the libraries' own values."""
    request = plan.request
    found = training_arguments(
        request, output_dir="training", use_cpu=plan.on_cpu, bf16=_bfloat16(plan), language=plan.data.settings
    )
    if not request.early_stopping:
        found["save_strategy"] = "no"
    unsaid = _BESIDE_THE_RESULT if request.packing else (*_BESIDE_THE_RESULT, "packing_strategy", "eval_packing")
    told = {
        name: value
        for name, value in found.items()
        if name not in unsaid and (name not in _NEUTRAL or value != _NEUTRAL[name])
    }
    lines = [f"    {name}={'SEED' if name.endswith('seed') else repr(value)},\n" for name, value in told.items()]
    return f"{'SFTConfig' if plan.language else 'TrainingArguments'}(\n{''.join(lines)})"


def _bfloat16(plan: _Plan) -> bool:
    """Whether the passes are computed in mixed precision."""
    name = plan.placement.device
    able = any(device.bf16 for device in detect_devices() if device.name == name)
    return mixed_precision(plan.request, graphics=name.startswith("cuda"), computes_bf16=able)
