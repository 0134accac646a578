"""A fine-tuning as a stream of events: TRL's SFTTrainer for writing, transformers' Trainer for labelling.

Promises
- ``train`` yields while a thread of its own trains, so that whoever writes the events costs the training no time; its
  last event is ``Done``, after the result was saved. A reader that leaves ends the training at its next step.
- The same job gives the same numbers, and one that was stopped and goes on gives those of one that was not: the order
  of the rows, the random state, the optimizer and the schedule are the checkpoint's.
- What the job says reaches the libraries through ``methods``; their progress bars, prints and pickles stay out.
- The first loss is not kept waiting: the base's answers to the fixed rows come at the first evaluation, with the
  adapter switched off. Where that does not bring the base back (full fine-tuning, a probe, trained biases), they are
  computed before the first step, which takes one batch of at most 12 rows.
- Under several processes each of them trains and only the main one yields.

Does not choose devices, lend models or keep logs. The model that it is given is changed and should not be used for
anything else.
"""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import datasets  # type: ignore[import-untyped]  # ships no types
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from core.errors import BadInput
from core.events import Artifact, Done, Event, Metric, Progress, Step, parse
from core.events import Warning as Note
from core.runtime.devices import detect_devices, process_memory
from core.training.batches import PadBatch, Scores, chosen_labels
from core.training.callbacks import Curve, Feed, Interrupted, Limits, Threads
from core.training.checkpoints import (
    CHECKPOINTS,
    MODEL,
    TENSORBOARD,
    EventFiles,
    checkpoint_step,
    curve_until,
    finish_model,
    last_checkpoint,
)
from core.training.job import SCORES, TrainingJob, model_card, planned_steps, result_values, start_values
from core.training.methods import (
    adapter_config,
    choose_trained,
    mixed_precision,
    new_head,
    training_arguments,
)
from core.training.parameters import Method, Task
from core.training.samples import Samples

__all__ = ["Limits", "TrainingJob", "train"]


def train(job: TrainingJob) -> Iterator[Event]:
    """The events of one training, from ``Step("start")`` to ``Done``. Raises ``LabError``, and what torch raises."""
    events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
    left = threading.Event()

    def work() -> None:
        try:
            _Training(job, events.put, lambda: left.is_set() or job.cancelled()).run()
        except BaseException as error:  # noqa: BLE001 - raised again where the run can see it
            events.put(error)
        finally:
            events.put(None)

    thread = threading.Thread(target=work, name="training", daemon=True)
    thread.start()
    try:
        while (item := events.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        thread.join()


def _nobody(event: Event) -> None:
    """Where the events of other processes than the main one go."""


class _OwnTrainer:
    """What both trainers do our way: no model cards, and with early stopping checkpoints at other steps as well."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The run's own card says more."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The library loads adapters in float32; those beside four-bit weights were trained in bfloat16."""
        dtypes = {name: tensor.dtype for name, tensor in self.model.named_parameters()}  # type: ignore[attr-defined]
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]  # a mixin for Trainer
        for name, tensor in self.model.named_parameters():  # type: ignore[attr-defined]
            if name in dtypes and tensor.dtype != dtypes[name]:
                tensor.data = tensor.data.to(dtypes[name])

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        best: bool = super()._determine_best_metric(metrics, trial)  # type: ignore[misc]  # a mixin for Trainer
        return best or bool(self.control.should_save)  # type: ignore[attr-defined]


class _LanguageTrainer(_OwnTrainer, SFTTrainer):
    pass


class _LabelTrainer(_OwnTrainer, Trainer):
    pass


class _Training:
    """The work of one job, on the training's thread."""

    def __init__(self, job: TrainingJob, put: Callable[[Event], None], cancelled: Callable[[], bool]) -> None:
        self.job, self.put, self.cancelled = job, put, cancelled
        self.parameters, self.loaded = job.parameters, job.loaded
        self.step = checkpoint_step(job.resume_from) if job.resume_from is not None else 0
        self.records = curve_until(job.curve, self.step)
        self.files = EventFiles(job.folder / TENSORBOARD)
        self.shown_rows = job.prepared.validation
        self.scores = None if self.language else Scores(self.parameters.task, job.prepared.labels)

    @property
    def language(self) -> bool:
        return self.parameters.task is Task.LANGUAGE

    def run(self) -> None:
        """Build, train, save, sum up. The libraries' remarks about themselves are not for the log."""
        datasets.disable_progress_bars()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._run()

    def _run(self) -> None:
        for note in self.job.prepared.notes:
            self.put(Note(text=note))
        self.put(Progress(done=0, note="Preparing the rows"))
        trainer = self._language_trainer() if self.language else self._label_trainer()
        trainer.remove_callback(PrinterCallback)
        feed = self._feed(trainer)
        trainer.add_callback(feed)
        trainer.add_callback(Threads(self.loaded.device.type))
        if self.step and self.step >= planned_steps(trainer):
            raise BadInput(
                f"That run has trained all its {self.step} steps.", "Give it more epochs, or start a new one."
            )
        if trainer.is_world_process_zero():
            self._tell_start(trainer)
        else:
            self.put = _nobody
        try:
            trainer.train(resume_from_checkpoint=str(self.job.resume_from) if self.job.resume_from else None)
        except Interrupted:
            feed.ended = "stopped"
            self._save_interrupted(trainer, feed)
        if feed.ended == "broken":
            self._go_back(trainer)
        elif trainer.args.load_best_model_at_end and trainer.state.best_global_step != trainer.state.global_step:
            with suppress(Interrupted):
                feed.show_samples(trainer.state, trainer.model)
        self.files.close()
        self._finish(trainer, feed)

    def _arguments(self, language: dict[str, Any] | None = None) -> TrainingArguments:
        device = self.loaded.device
        able = any(found.bf16 for found in detect_devices() if found.name == str(device) or found.type == device.type)
        bf16 = mixed_precision(self.parameters, graphics=device.type == "cuda", computes_bf16=able)
        values = training_arguments(
            self.parameters,
            output_dir=str(self.job.folder / CHECKPOINTS),
            use_cpu=device.type == "cpu",
            bf16=bf16,
            language=language,
        )
        values["train_sampling_strategy"] = self.job.sampling
        arguments = SFTConfig(**values) if self.language else TrainingArguments(**values)
        if arguments.world_size == 1 and arguments.n_gpu > 1:
            arguments._n_gpu = 1  # one device trains, whatever else the machine has
        return arguments

    def _language_trainer(self) -> Any:
        from core.training.encoding import language_data

        data = language_data(self.job.prepared, self.loaded.tokenizer, self.parameters)
        for note in data.notes:
            self.put(Note(text=note))
        self.shown_rows = data.validation
        choose_trained(self.loaded.model, self.parameters)
        return _LanguageTrainer(
            model=self.loaded.model,
            args=self._arguments(data.settings),
            train_dataset=data.train,
            eval_dataset=data.validation,
            processing_class=self.loaded.tokenizer,
            peft_config=adapter_config(self.parameters, self.loaded.model),
        )

    def _label_trainer(self) -> Any:
        from peft import get_peft_model

        from core.training.encoding import encode

        encoded = encode(self.job.prepared, self.loaded.tokenizer, self.parameters)
        model = self.loaded.model
        new_head(model, self.parameters)
        choose_trained(model, self.parameters)
        config = adapter_config(self.parameters, model)
        if config is not None:
            set_seed(self.parameters.seed)
            model = get_peft_model(model, config)
        # an inputs-only pass cannot see padding, and then a language model reads each row's last position
        last_is_read = self.parameters.method is Method.PROMPT and self.loaded.facts.kind == "causal"
        return _LabelTrainer(
            model=model,
            args=self._arguments(),
            train_dataset=encoded.train,
            eval_dataset=encoded.validation,
            data_collator=PadBatch(self.loaded.tokenizer.pad_token_id, "left" if last_is_read else "right"),
            processing_class=self.loaded.tokenizer,
            compute_metrics=self.scores,
            preprocess_logits_for_metrics=chosen_labels,
        )

    def _feed(self, trainer: Any) -> Feed:
        parameters = self.parameters
        virtual = parameters.virtual_tokens if parameters.method is Method.PROMPT else 0
        samples = Samples(
            parameters.task,
            self.shown_rows,
            self.loaded.tokenizer,
            labels=self.job.prepared.labels,
            prompts=self.job.prompts,
            context=self.loaded.facts.context - virtual,
            encoded=()
            if self.language
            else trainer.eval_dataset.select(range(min(6, len(trainer.eval_dataset)))).to_list(),
            collate=None if self.language else trainer.data_collator,
            cancelled=self.cancelled,
        )
        feed = Feed(
            self.put,
            Curve(self.records),
            folder=self.job.folder,
            samples=samples,
            files=self.files,
            cancelled=self.cancelled,
            limits=self.job.limits,
            memory=self._memory,
            scores=self.scores,
            patience=parameters.early_stopping,
            base_first=self._base_is_first(),
        )
        feed.evaluate = lambda: trainer._determine_best_metric(trainer._evaluate(None, None), None)
        feed.reset_loss = lambda: trainer._tr_loss.zero_()  # a loss that is no number would stay one for good
        return feed

    def _base_is_first(self) -> bool:
        """Whether switching an adapter off would not bring the base back later."""
        parameters = self.parameters
        whole_head = parameters.method is Method.PROMPT and not self.language
        return whole_head or parameters.method in (Method.FULL, Method.PROBE) or parameters.bias != "none"

    def _memory(self) -> int:
        """Bytes: the highest use of a graphics card, what is resident elsewhere."""
        import torch

        if self.loaded.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.loaded.device))
        return process_memory()

    def _tell_start(self, trainer: Any) -> None:
        self.put(Step(name="start", index=0, values=start_values(self.job, trainer, self.step)))
        for record in self.records:
            self.put(parse(record))
            self.files.add(record["name"], record["index"], record["values"], time.time())

    def _save_interrupted(self, trainer: Any, feed: Feed) -> None:
        """A checkpoint of the last whole step, unless it has one already."""
        step = trainer.state.global_step
        feed.before_evaluation(step)
        folder = self.job.folder / CHECKPOINTS / f"checkpoint-{step}"
        if step and not (folder / "trainer_state.json").is_file():
            trainer._save_checkpoint(trainer.model, trial=None)
            feed.on_save(trainer.args, trainer.state, trainer.control)

    def _go_back(self, trainer: Any) -> None:
        """After losses that were no numbers: the last checkpoint, which was saved before them."""
        last = last_checkpoint(self.job.folder)
        if last is None:
            raise BadInput(
                f"The loss stopped being a number before the first checkpoint, by step {trainer.state.global_step}.",
                "Lower the learning rate, or warm up for longer, and start again.",
            )
        trainer._load_from_checkpoint(str(last))
        text = f"The loss stopped being a number; the model that is kept is the one of step {checkpoint_step(last)}."
        self.put(Note(text=text))

    def _finish(self, trainer: Any, feed: Feed) -> None:
        if trainer.state.global_step == 0:  # stopped before anything was learned
            if trainer.is_world_process_zero():
                self.put(Done(reason="stopped", result={"steps": 0}))
            return
        folder = self.job.folder / MODEL
        trainer.save_model(str(folder))
        if not trainer.is_world_process_zero():
            return
        size = finish_model(folder, model_card(self.job, trainer))
        result = result_values(self.job, trainer, feed)
        for name in ("loss", "eval_loss", *SCORES):
            if result.get(name) is not None:
                self.put(Metric(name=name, value=result[name]))
        self.put(Artifact(name="model", path=MODEL, bytes=size))
        self.put(Done(reason="stopped" if feed.ended in ("stopped", "limit") else "finished", result=result))
