"""Real trainings of tiny models: what they say, what they leave, and that stopping and going on changes no number."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.events import Artifact, Done, Event, Metric, Step, Warning, dump, parse  # noqa: A004 - the event's name
from core.training.checkpoints import adopt, checkpoint_step, last_checkpoint
from core.training.parameters import Method, Task, TrainingParameters
from core.training.trainer import Limits, TrainingJob, train
from tests.training.tiny_models import loaded, rows

LANGUAGE, CLASSIFICATION, TOKENS = Task.LANGUAGE, Task.CLASSIFICATION, Task.TOKENS
COMBINATIONS = [
    *((family, LANGUAGE, method) for family in ("llama", "gpt2") for method in Method if method is not Method.PROBE),
    *((family, CLASSIFICATION, method) for family in ("bert", "llama", "gpt2") for method in Method),
    *(("bert", TOKENS, method) for method in Method if method is not Method.PROMPT),
    *((family, TOKENS, method) for family in ("llama", "gpt2") for method in (Method.LORA, Method.FULL)),
]


@dataclass
class Ran:
    """The events of a training and the folder that it left."""

    events: list[Event]
    folder: Path

    def steps(self, name: str) -> list[Step]:
        return [event for event in self.events if isinstance(event, Step) and event.name == name]

    def losses(self, name: str = "train") -> dict[int, float]:
        return {step.index: step.values["loss"] for step in self.steps(name)}

    @property
    def done(self) -> Done:
        last = self.events[-1]
        assert isinstance(last, Done)
        return last

    @property
    def records(self) -> list[dict[str, Any]]:
        return [dump(event) for event in self.events]


def ran(
    folder: Path,
    family: Any = "llama",
    task: Task = LANGUAGE,
    method: Method = Method.LORA,
    *,
    form: str = "text",
    job: dict[str, Any] | None = None,
    until: Callable[[Event], bool] = lambda event: False,
    **given: Any,
) -> Ran:
    """Train; ``until`` asks for a stop when it says so of an event."""
    usual = {"max_steps": 6, "batch_size": 4, "eval_steps": 3, "save_steps": 3, "learning_rate": 5e-3, "max_length": 32}
    parameters = TrainingParameters(task=task, method=method, **{**usual, **given})
    folder.mkdir(exist_ok=True, parents=True)
    stop: list[bool] = []
    work = TrainingJob(
        loaded(family, parameters),
        parameters,
        rows(task, form=form),
        folder,
        prompts=("the big",) if task is LANGUAGE else (),
        title="a title",
        base=family,
        data="words",
        cancelled=lambda: bool(stop),
        **(job or {}),
    )
    events = []
    for event in train(work):
        events.append(event)
        stop += [True] * until(event)
    return Ran(events, folder)


def is_step(name: str, index: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Step) and (event.name, event.index) == (name, index)


@pytest.mark.parametrize(("family", "task", "method"), COMBINATIONS)
def test_each_method_learns_each_task(family: str, task: Task, method: Method, tmp_path: Path) -> None:
    result = ran(tmp_path / "0123456789abcdef", family, task, method, max_steps=3)
    start = result.steps("start")[0].values
    assert (start["steps"], start["train_rows"], start["validation_rows"]) == (3, 24, 8)
    assert 0 < start["parameters_trained"] <= start["parameters_total"]
    assert (start["parameters_trained"] == start["parameters_total"]) == (method is Method.FULL)
    losses = result.losses()
    assert list(losses) == [1, 2, 3]
    evaluated = result.steps("eval")[-1].values
    expected = {"token_accuracy", "perplexity"} if task is LANGUAGE else {"accuracy", "f1", "predicted"}
    assert expected <= evaluated.keys()
    shown = result.steps("samples")[-1].values["rows"]
    assert len(shown) == (7 if task is LANGUAGE else 6)
    assert {"reference", "base", "tuned"} <= shown[0].keys()
    card = json.loads((result.folder / "model" / "benchtop.json").read_text())
    assert (card["base"], card["task"], card["method"]) == (family, task, method)
    assert (card["quantization"] == "nf4") == (method is Method.QLORA)
    kinds = {Method.FULL: "full", Method.PROBE: "head", Method.PROMPT: "prompt"}
    assert card["kind"] == kinds.get(method, "adapter")
    weights = "model" if method in (Method.FULL, Method.PROBE) else "adapter_model"
    assert (result.folder / "model" / f"{weights}.safetensors").is_file()
    assert not list((result.folder / "model").glob("*.bin"))
    assert result.done.reason == "finished"
    assert result.done.result["model"] == "tuned:0123456789abcdef"
    for event in result.events:
        assert parse(dump(event)) == event


@pytest.mark.parametrize("method", [Method.LORA, Method.QLORA])
def test_the_numbers_are_those_of_a_plain_script(method: Method, tmp_path: Path) -> None:
    """QLoRA too, which a plain script trains wrongly after an evaluation unless it keeps the weights unpacked."""
    from peft import LoraConfig
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    ours = ran(tmp_path / "ours", method=method, lora_dropout=0.1, eval_steps=2)
    base = loaded("llama", TrainingParameters(method=method))
    trainer = SFTTrainer(
        model=base.model,
        processing_class=base.tokenizer,
        train_dataset=rows(LANGUAGE).train,
        eval_dataset=rows(LANGUAGE).validation,
        args=SFTConfig(
            output_dir=str(tmp_path / "plain"), use_cpu=True, bf16=False, gradient_checkpointing=False,
            per_device_train_batch_size=4, learning_rate=5e-3, warmup_steps=0.05, max_steps=6, max_length=32,
            eval_strategy="steps", eval_steps=2,
            logging_steps=1, save_strategy="no", disable_tqdm=True, seed=7, data_seed=7, report_to="none",
        ),
        peft_config=LoraConfig(r=8, lora_alpha=16, lora_dropout=0.1, target_modules="all-linear"),
    )  # fmt: skip
    trainer.train()
    plain = {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
    assert ours.losses() == pytest.approx(plain, abs=1e-6)


def test_training_is_repeatable(tmp_path: Path) -> None:
    first = ran(tmp_path / "a", lora_dropout=0.2)
    assert ran(tmp_path / "b", lora_dropout=0.2, save_steps=1).losses() == first.losses()
    assert ran(tmp_path / "c", lora_dropout=0.2, seed=8).losses() != first.losses()


@pytest.mark.parametrize("method", [Method.LORA, Method.QLORA])
def test_looking_changes_nothing(method: Method, tmp_path: Path) -> None:
    """Evaluations, samples and checkpoints leave the weights alone; four-bit ones stay exact."""
    often = ran(tmp_path / "a", method=method, eval_steps=1, save_steps=1)
    seldom = ran(tmp_path / "b", method=method, eval_steps=100, save_steps=100)
    assert often.losses() == pytest.approx(seldom.losses(), abs=1e-6)


@pytest.mark.parametrize(
    ("family", "task", "method", "given"),
    [
        ("llama", LANGUAGE, Method.LORA, {"lora_dropout": 0.2}),
        ("gpt2", LANGUAGE, Method.FULL, {"gradient_accumulation": 2, "max_steps": 5}),
        ("llama", LANGUAGE, Method.PROMPT, {}),
        ("llama", LANGUAGE, Method.QLORA, {}),
        ("bert", CLASSIFICATION, Method.LORA, {"lora_dropout": 0.2, "early_stopping": 50}),
        ("bert", TOKENS, Method.PROBE, {"max_steps": 0, "epochs": 2.0}),
    ],
)
def test_stopped_and_resumed_gives_the_uninterrupted_curve(
    family: str, task: Task, method: Method, given: dict[str, Any], tmp_path: Path
) -> None:
    given = {"max_steps": 9, "eval_steps": 2, "save_steps": 100, **given}
    whole = ran(tmp_path / "whole", family, task, method, **given)
    first = ran(tmp_path / "first", family, task, method, until=is_step("train", 3), **given)
    assert first.done.reason == "stopped"
    stopped_at = first.done.result["steps"]
    assert stopped_at in (3, 4)  # the step that was under way when the stop came is the last
    second = tmp_path / "second"
    checkpoint = adopt(first.folder, second)
    assert checkpoint_step(checkpoint) == stopped_at
    job = {"resume_from": checkpoint, "resumed": "first", "curve": first.records}
    resumed = ran(second, family, task, method, job=job, **given)
    assert resumed.steps("start")[0].values["resumed"] == {"run": "first", "step": stopped_at}
    assert resumed.losses() == pytest.approx(whole.losses(), abs=1e-6)
    assert resumed.losses("eval") == pytest.approx(whole.losses("eval"), abs=1e-6)
    tokens = [step.values["tokens"] for step in resumed.steps("train")]
    assert tokens == [step.values["tokens"] for step in whole.steps("train")]
    seconds = [step.values["seconds"] for step in resumed.steps("train")]
    assert seconds == sorted(seconds)
    assert last_checkpoint(first.folder) is not None, "the older run's folder is left as it was"


def test_a_stop_leaves_a_checkpoint_and_a_model(tmp_path: Path) -> None:
    result = ran(tmp_path / "run", until=is_step("train", 2), max_steps=500, eval_steps=500, save_steps=500)
    steps = result.done.result["steps"]
    assert steps <= 3
    assert last_checkpoint(result.folder) == result.folder / "checkpoints" / f"checkpoint-{steps}"
    assert result.steps("checkpoint")[-1].values["path"] == f"checkpoints/checkpoint-{steps}"
    assert (result.folder / "model" / "adapter_model.safetensors").is_file()
    assert result.done.reason == "stopped"


def test_a_stop_before_the_first_step_leaves_no_model(tmp_path: Path) -> None:
    result = ran(tmp_path / "run", until=lambda event: True)
    assert result.done == Done(reason="stopped", result={"steps": 0})
    assert not (tmp_path / "run" / "model").exists()


def test_a_stop_while_it_looks_at_samples_keeps_the_step(tmp_path: Path) -> None:
    result = ran(tmp_path / "run", until=is_step("eval", 3), max_steps=500, save_steps=500)
    assert result.done.reason == "stopped"
    assert result.done.result["steps"] == 3
    assert checkpoint_step(last_checkpoint(result.folder) or Path()) == 3


def test_a_reader_that_leaves_ends_the_training(tmp_path: Path) -> None:
    parameters = TrainingParameters(max_steps=10_000, epochs=1000, batch_size=4, eval_steps=10_000, save_steps=10_000)
    events = train(TrainingJob(loaded("llama", parameters), parameters, rows(LANGUAGE), tmp_path, base="llama"))
    next(event for event in events if is_step("train", 1)(event))
    events.close()  # type: ignore[attr-defined]  # it is a generator
    left = last_checkpoint(tmp_path)
    assert left is not None
    assert checkpoint_step(left) < 100


def test_limits_end_it_with_a_word_and_a_checkpoint(tmp_path: Path) -> None:
    by_steps = ran(tmp_path / "steps", job={"limits": Limits(steps=2)})
    by_time = ran(tmp_path / "time", job={"limits": Limits(seconds=0.0)})
    by_size = ran(tmp_path / "size", job={"limits": Limits(bytes=1000)}, save_steps=2)
    assert [r.done.result["steps"] for r in (by_steps, by_time, by_size)] == [2, 1, 2]
    for result in (by_steps, by_time, by_size):
        assert result.done.reason == "stopped"
        assert last_checkpoint(result.folder) is not None
        assert next(event.text for event in result.events if isinstance(event, Warning)).startswith("Ended")
    at_the_end = ran(tmp_path / "end", job={"limits": Limits(steps=6)})
    assert at_the_end.done.reason == "finished"


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    given: dict[str, Any] = {"max_steps": 60, "epochs": 1000.0, "learning_rate": 0.05, "eval_steps": 2}
    result = ran(tmp_path / "run", "gpt2", method=Method.FULL, early_stopping=2, **given)
    evaluated = result.losses("eval")
    best = min(evaluated, key=lambda step: evaluated[step])
    assert result.done.result["ended"] == "early"
    assert result.done.reason == "finished"
    assert max(evaluated) == best + 4
    assert result.done.result["best_step"] == best
    again = ran(tmp_path / "again", "gpt2", method=Method.FULL, until=is_step("train", best - 1), **given)
    assert again.done.result["steps"] in (best - 1, best)
    assert weights_differ(result.folder, result.folder / "checkpoints" / f"checkpoint-{best}") == 0


def weights_differ(run: Path, checkpoint: Path) -> float:
    """The largest difference between a run's model and one of its checkpoints."""
    from safetensors.torch import load_file

    ours, theirs = load_file(run / "model" / "model.safetensors"), load_file(checkpoint / "model.safetensors")
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def test_losses_that_are_no_numbers_are_left_out_and_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.training.trainer import _LanguageTrainer

    plain = _LanguageTrainer.compute_loss

    def compute_loss(self: Any, model: Any, *args: Any, **more: Any) -> Any:
        loss = plain(self, model, *args, **more)
        return loss * math.nan if model.training and self.state.global_step >= 4 else loss

    monkeypatch.setattr(_LanguageTrainer, "compute_loss", compute_loss)
    result = ran(tmp_path / "run", max_steps=50, epochs=100.0)
    said = [step.values["name"] for step in result.steps("reading")]
    assert "nan" in said
    assert said.count("nan") == 1
    assert ["loss" in step.values for step in result.steps("train")] == [True] * 4 + [False] * 3
    assert result.done.result["ended"] == "broken"
    assert result.done.result["steps"] == 7
    assert any(isinstance(event, Warning) and "the one of step 3" in event.text for event in result.events)
    with pytest.raises(BadInput, match="before the first checkpoint"):
        ran(tmp_path / "none", max_steps=50, epochs=100.0, eval_steps=100, save_steps=100)


def test_everything_as_one_class_is_read(tmp_path: Path) -> None:
    result = ran(tmp_path / "run", "bert", CLASSIFICATION, Method.PROBE, learning_rate=1e-6)
    assert result.steps("eval")[0].values["predicted"].keys() == {"calm", "wild"}
    assert "one_class" in [step.values["name"] for step in result.steps("reading")]


def test_labels_are_learned_and_shown_on_the_same_rows(tmp_path: Path) -> None:
    given: dict[str, Any] = {"max_steps": 30, "epochs": 100.0, "eval_steps": 10, "learning_rate": 1e-2}
    result = ran(tmp_path / "run", "llama", CLASSIFICATION, **given)
    assert result.done.result["accuracy"] == 1.0
    assert result.done.result["f1"] == 1.0
    first, *others = (step.values["rows"] for step in result.steps("samples"))
    for later in others:
        for kept in ("text", "reference", "base", "base_p"):
            assert [row[kept] for row in later] == [row[kept] for row in first]
    assert all(row["tuned"] == row["reference"] for row in others[-1])
    words = ran(tmp_path / "words", "llama", TOKENS, **given)
    assert words.done.result["f1"] > 0.9
    shown = words.steps("samples")[-1].values["rows"]
    assert all(row["tuned"] == row["reference"] for row in shown)
    assert {metric.name for metric in words.events if isinstance(metric, Metric)} >= {"loss", "accuracy", "f1"}


@pytest.mark.parametrize("form", ["completion", "messages"])
def test_completions_and_conversations(form: str, tmp_path: Path) -> None:
    result = ran(tmp_path / "run", form=form, max_steps=3)
    everything = ran(tmp_path / "all", form=form, max_steps=3, completion_only_loss=False)
    assert result.losses() != everything.losses()
    shown = result.steps("samples")[0].values["rows"]
    assert shown[-1]["prompt"] == "the big"
    assert all(row["reference"] for row in shown[:-1])


def test_precision_packing_checkpointing_and_accumulation_run_together(tmp_path: Path) -> None:
    result = ran(
        tmp_path / "run", packing=True, precision="bfloat16", activation_checkpointing=True, gradient_accumulation=2,
        bias="all", rank_pattern=("q_proj=2",), scheduler="polynomial", weight_decay=0.1, max_steps=3,
    )  # fmt: skip
    assert len(result.losses()) == 3
    plain = ran(tmp_path / "plain", max_steps=3)
    checkpointed = ran(tmp_path / "checkpointed", max_steps=3, activation_checkpointing=True)
    assert checkpointed.losses() == pytest.approx(plain.losses(), abs=1e-6)


def test_event_files_hold_the_curve(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = ran(tmp_path / "run")
    files = EventAccumulator(str(result.folder / "tensorboard"))
    files.Reload()
    assert {"train/loss", "train/learning_rate", "train/grad_norm", "eval/loss"} <= set(files.Tags()["tensors"])
    found = {event.step: event.tensor_proto.float_val[0] for event in files.Tensors("train/loss")}
    assert found == pytest.approx(result.losses(), abs=1e-6)
    assert len(list((result.folder / "tensorboard").iterdir())) == 1


def test_it_keeps_two_checkpoints_and_says_the_sizes(tmp_path: Path) -> None:
    result = ran(tmp_path / "run", save_steps=2)
    assert sorted(path.name for path in (result.folder / "checkpoints").iterdir()) == ["checkpoint-4", "checkpoint-6"]
    assert [step.index for step in result.steps("checkpoint")] == [2, 4, 6]
    assert all(step.values["bytes"] > 1000 for step in result.steps("checkpoint"))
    model = next(event for event in result.events if isinstance(event, Artifact))
    assert (model.name, model.path) == ("model", "model")
    config = json.loads((result.folder / "model" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "llama"


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    loaded("llama", TrainingParameters())
    capfd.readouterr()
    ran(tmp_path / "run", max_steps=2, eval_steps=1)
    assert capfd.readouterr() == ("", "")


def test_a_run_without_a_checkpoint_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no checkpoint"):
        adopt(tmp_path, tmp_path / "next")
    torn = tmp_path / "checkpoints" / "checkpoint-5"
    torn.mkdir(parents=True)
    (torn / "trainer_state.json").write_text('{"global_step": ')
    with pytest.raises(BadInput, match="no checkpoint"):
        adopt(tmp_path, tmp_path / "next")


def test_a_finished_run_has_nothing_to_go_on_with(tmp_path: Path) -> None:
    first = ran(tmp_path / "first")
    job = {"resume_from": adopt(first.folder, tmp_path / "next"), "curve": first.records}
    with pytest.raises(BadInput, match="all its 6 steps"):
        ran(tmp_path / "next", job=job)
