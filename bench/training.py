"""One LoRA training on the bundled model, as a visitor starts it and as a plain TRL script, for the training benches.

Both sides train in a process of their own, on the same rows of the same file, with the same adapter, batch, schedule
and length, and say each step's loss. The plain script is what one writes by hand with ``logging_steps=1``: no
validation, no checkpoints. The job is started through ``Services.start`` in a process whose app is up and warm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.labs.finetuning.request import FinetuningRequest
from core.runtime.runs import RunLog, follow
from core.services import Services
from core.settings import Settings, prepare_process

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 180.0
"""Seconds for a side to say something."""

PLAIN = """
import json
import sys

from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

MODEL, DATA, OUTPUT, STEPS, BATCH = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])

trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32"),
    processing_class=AutoTokenizer.from_pretrained(MODEL),
    train_dataset=load_dataset("json", data_files=DATA, split="train", cache_dir=OUTPUT),
    args=SFTConfig(
        output_dir=OUTPUT,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=BATCH,
        learning_rate=2e-3,
        lr_scheduler_type="linear",
        warmup_steps=0.05,
        max_steps=STEPS,
        max_length=256,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        seed=7,
    ),
    peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
)
trainer.train()
"""


def request(steps: int) -> FinetuningRequest:
    """The plain script's training as a visitor asks for it; looks at validation rows only at its end."""
    return FinetuningRequest(max_steps=steps, epochs=1000, eval_steps=100_000, save_steps=100_000, seed=7)


@contextmanager
def running_app() -> Iterator[Services]:
    """The app's services in this process, warm, with a home of their own."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.from_environment({**os.environ, "BENCHTOP_HOME": home, "BENCHTOP_OFFLINE": "true"})
        services = Services(prepare_process(settings))
        try:
            services.warm_up()
            if services.readiness != "ready":
                raise RuntimeError("the app's warm-up failed")
            yield services
        finally:
            services.close()


def start_job(services: Services, steps: int) -> tuple[RunLog, str]:
    """Press the button; the log and the visitor whose it is."""
    visitor = services.identity.new_visitor()
    return services.start("finetuning", request(steps), visitor), visitor


def train_events(log: RunLog) -> Iterator[dict[str, float]]:
    """The job's training steps as they come, ``{"step", "at"}`` in seconds since it was started; raises if it fails."""
    for record in follow(log):
        if record["kind"] == "failed":
            raise RuntimeError(f"the job failed: {record['what']} {record.get('todo', '')}")
        if record["kind"] == "step" and record["name"] == "train":
            yield {"step": record["index"], "at": record["at"]}


def plain_lines(folder: Path, steps: int) -> Iterator[float]:
    """When each loss line of the plain script came, in seconds since its process was started.

    The script reads the bundled training rows that the job trains on, as a JSON lines file without the validation rows.
    """
    data, script = folder / "train.jsonl", folder / "plain.py"
    data.write_text("".join(json.dumps(row) + "\n" for row in training_rows()), encoding="utf-8")
    script.write_text(PLAIN, encoding="utf-8")
    model = str(REPOSITORY / "assets" / "models" / request(steps).model)
    numbers = [str(steps), str(request(steps).batch_size)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(script), model, str(data), str(folder / "out"), *numbers]
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "'loss'" in line:
                    yield time.perf_counter() - start
        finally:
            process.kill()
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if process.returncode not in (0, -9):
        raise RuntimeError(f"the plain script failed:\n{said[-4000:]}")


def training_rows() -> list[dict[str, str]]:
    """The rows that the job trains on, in their order."""
    from core.training.datasets import Columns, DataSource, open_data

    asked = request(1)
    prepared = open_data(DataSource("bundled", asked.data), Columns(), asked.task, asked.validation_share, asked.seed)
    return [{"text": text} for text in prepared.train["text"]]
