"""That every field of the parameters reaches the libraries, and that the right numbers are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.training.methods import (
    adapter_arguments,
    adapter_config,
    choose_trained,
    counts,
    head_names,
    kind_of,
    linear_names,
    mixed_precision,
    new_head,
    training_arguments,
    weights_dtype,
)
from core.training.parameters import Method, Task, TrainingParameters
from tests.training.tiny_models import loaded

ADAPTER_FIELDS: dict[str, tuple[Any, str, Any]] = {
    "r": (5, "r", 5),
    "lora_alpha": (11, "lora_alpha", 11),
    "lora_dropout": (0.3, "lora_dropout", 0.3),
    "target_modules": (("q_proj", "v_proj"), "target_modules", {"q_proj", "v_proj"}),
    "bias": ("lora_only", "bias", "lora_only"),
    "rank_pattern": (("q_proj=3",), "rank_pattern", {"q_proj": 3}),
}
ARGUMENT_FIELDS: dict[str, tuple[Any, str, Any]] = {
    "learning_rate": (0.0123, "learning_rate", 0.0123),
    "scheduler": ("cosine", "lr_scheduler_type", "cosine"),
    "warmup_ratio": (0.2, "warmup_steps", 0.2),
    "batch_size": (3, "per_device_train_batch_size", 3),
    "gradient_accumulation": (4, "gradient_accumulation_steps", 4),
    "activation_checkpointing": (True, "activation_checkpointing", True),
    "epochs": (2.5, "num_train_epochs", 2.5),
    "max_steps": (9, "max_steps", 9),
    "weight_decay": (0.07, "weight_decay", 0.07),
    "eval_steps": (6, "eval_steps", 6),
    "save_steps": (12, "save_steps", 12),
    "early_stopping": (2, "load_best_model_at_end", True),
    "seed": (99, "seed", 99),
}
LANGUAGE_FIELDS: dict[str, tuple[Any, str, Any]] = {
    "max_length": (33, "max_length", 33),
    "packing": (True, "packing", True),
}
ELSEWHERE = {
    "task": "which trainer, and the adapter's task_type",
    "method": "test_the_method_decides_what_is_trained",
    "virtual_tokens": "test_prompt_tuning_has_its_virtual_tokens",
    "precision": "test_precision",
    "completion_only_loss": "the data's settings: tests of encoding, and test_trainer",
    "label_all_tokens": "how words are encoded: tests of encoding",
}


def test_no_field_is_forgotten() -> None:
    told = {*ADAPTER_FIELDS, *ARGUMENT_FIELDS, *LANGUAGE_FIELDS, *ELSEWHERE}
    assert told == set(TrainingParameters.model_fields)


@pytest.mark.parametrize("name", ADAPTER_FIELDS)
def test_a_field_reaches_the_lora_config(name: str) -> None:
    from peft import LoraConfig

    given, option, expected = ADAPTER_FIELDS[name]
    config = LoraConfig(**adapter_arguments(TrainingParameters(**{name: given})))
    assert getattr(config, option) == expected
    assert getattr(LoraConfig(**adapter_arguments(TrainingParameters())), option) != expected


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("name", [*ARGUMENT_FIELDS, *LANGUAGE_FIELDS])
def test_a_field_reaches_the_trainers_arguments(name: str, task: Task, tmp_path: Path) -> None:
    if name in LANGUAGE_FIELDS and task is not Task.LANGUAGE:
        pytest.skip("rows of labelled texts are cut while they are encoded, and never packed")
    given, option, expected = {**ARGUMENT_FIELDS, **LANGUAGE_FIELDS}[name]
    assert getattr(library_arguments(TrainingParameters(task=task, **{name: given}), tmp_path), option) == expected
    assert getattr(library_arguments(TrainingParameters(task=task), tmp_path), option) != expected


def library_arguments(parameters: TrainingParameters, folder: Path, bf16: bool = False) -> Any:
    """What the library itself makes of our arguments."""
    from transformers import TrainingArguments
    from trl.trainer.sft_config import SFTConfig

    values = training_arguments(parameters, output_dir=str(folder), use_cpu=True, bf16=bf16)
    return SFTConfig(**values) if parameters.task is Task.LANGUAGE else TrainingArguments(**values)


def test_what_no_field_decides(tmp_path: Path) -> None:
    found = library_arguments(TrainingParameters(early_stopping=3, seed=5), tmp_path)
    assert (found.logging_steps, found.report_to, found.dataloader_num_workers) == (1, [], 0)
    assert (found.save_total_limit, found.data_seed, found.per_device_eval_batch_size) == (2, 5, 8)
    assert (found.metric_for_best_model, found.greater_is_better) == ("eval_loss", False)
    assert found.packing_strategy == "wrapped"
    assert found.eval_packing is False
    assert found.disable_tqdm
    assert found.gradient_checkpointing is False


def test_a_small_learning_rate_may_fall_polynomially(tmp_path: Path) -> None:
    found = library_arguments(TrainingParameters(scheduler="polynomial", learning_rate=1e-8), tmp_path)
    assert found.lr_scheduler_kwargs == {"lr_end": 0.0}


def test_precision(tmp_path: Path) -> None:
    asked = {name: TrainingParameters(precision=name) for name in ("auto", "float32", "bfloat16")}
    on_card = {name: mixed_precision(p, graphics=True, computes_bf16=True) for name, p in asked.items()}
    assert on_card == {"auto": True, "float32": False, "bfloat16": True}
    on_cpu = {name: mixed_precision(p, graphics=False, computes_bf16=True) for name, p in asked.items()}
    assert on_cpu == {"auto": False, "float32": False, "bfloat16": True}
    assert not mixed_precision(asked["auto"], graphics=True, computes_bf16=False)
    assert library_arguments(asked["bfloat16"], tmp_path, bf16=True).bf16
    assert weights_dtype(asked["auto"]) is None
    assert weights_dtype(asked["float32"]) == "float32"
    assert weights_dtype(TrainingParameters(method=Method.FULL)) == "float32"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Method.LORA, {"use_rslora": False, "use_dora": False}),
        (Method.RSLORA, {"use_rslora": True, "use_dora": False}),
        (Method.DORA, {"use_rslora": False, "use_dora": True}),
        (Method.QLORA, {"use_rslora": False, "use_dora": False}),
    ],
)
def test_the_method_decides_what_is_trained(method: Method, expected: dict[str, bool]) -> None:
    found = adapter_arguments(TrainingParameters(method=method))
    assert {name: found[name] for name in expected} == expected
    assert found["target_modules"] == "all-linear"
    assert kind_of(method) == "adapter"


def test_prompt_tuning_has_its_virtual_tokens() -> None:
    parameters = TrainingParameters(method=Method.PROMPT, virtual_tokens=7)
    config = adapter_config(parameters, loaded("llama", parameters).model)
    assert config.num_virtual_tokens == 7
    assert config.peft_type == "PROMPT_TUNING"
    assert kind_of(Method.PROMPT) == "prompt"


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.TOKENS])
def test_a_probe_trains_the_head_alone(family: Any, task: Task) -> None:
    parameters = TrainingParameters(task=task, method=Method.PROBE)
    model = loaded(family, parameters).model
    choose_trained(model, parameters)
    heads = head_names(model, task)
    assert len(heads) == 1
    trained = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if name.startswith(heads[0])}
    assert kind_of(Method.PROBE) == "head"


def test_full_trains_everything_and_counts_four_bit_weights_by_what_they_stand_for() -> None:
    parameters = TrainingParameters(method=Method.FULL)
    model = loaded("llama", parameters).model
    choose_trained(model, parameters)
    trained, total = counts(model)
    assert trained == total
    quantized = loaded("llama", TrainingParameters(method=Method.QLORA)).model
    assert counts(quantized) == (0, total)


def test_a_new_head_comes_from_the_seed() -> None:
    def head(seed: int) -> list[float]:
        parameters = TrainingParameters(task=Task.CLASSIFICATION, seed=seed)
        model = loaded("bert", parameters).model
        new_head(model, parameters)
        numbers: list[float] = model.classifier.weight.flatten().tolist()
        return numbers

    assert head(3) == head(3) != head(4)


def test_modules_that_are_not_there_are_refused_with_those_that_are() -> None:
    parameters = TrainingParameters(target_modules=("q_proj", "query_key"))
    model = loaded("llama", parameters).model
    with pytest.raises(BadInput, match="no module named query_key") as refused:
        adapter_config(parameters, model)
    assert "q_proj" in refused.value.todo
    with pytest.raises(BadInput, match="lm_head gets no low-rank adapter"):
        adapter_config(TrainingParameters(target_modules=("lm_head",)), model)
    with pytest.raises(BadInput, match="Rank pattern: k_proj"):
        adapter_config(TrainingParameters(target_modules=("q_proj",), rank_pattern=("k_proj=2",)), model)
    assert adapter_config(TrainingParameters(target_modules=("layers.0.self_attn.q_proj",)), model) is not None


def test_gpt2_keeps_its_weights_transposed_unless_they_are_four_bit() -> None:
    parameters = TrainingParameters()
    model = loaded("gpt2", parameters).model
    assert adapter_config(parameters, model).fan_in_fan_out
    assert linear_names(model) == ["c_attn", "c_fc", "c_proj"]
    quantized = TrainingParameters(method=Method.QLORA)
    assert not adapter_config(quantized, loaded("gpt2", quantized).model).fan_in_fan_out
