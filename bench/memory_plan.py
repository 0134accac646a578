"""The memory plan of a training against a fresh process that does it: weights, then the peak, both above the imports.

Random models of over 300M parameters, two shapes, three methods, two steps of TRL each. The ratio is the worst
deviation over the allowed one (2 % of the weights, 15 % of the peak), so 1 or less keeps both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NAME = "memory_plan"
GOAL = 1.0
HIGHER_IS_BETTER = False

WEIGHTS_MAY, PEAK_MAY = 0.02, 0.15
ROWS, CONTEXT, STEPS = 2, 128, 2
REPOSITORY = Path(__file__).resolve().parent.parent
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
TINY = {
    "vocab_size": 5000,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
"""A model whose training brings in every import and touches hardly any memory."""
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {
        "vocab_size": 32000, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 4, "tie_word_embeddings": True,
    },
    "gpt2": {"vocab_size": 50257, "n_embd": 1024, "n_layer": 24, "n_head": 16},
}  # fmt: skip


def resident(field: str = "VmRSS") -> int:
    """Bytes of this process in memory now, or with ``VmHWM`` at most since the last reset."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def make(shape: str, folder: Path, sizes: dict[str, Any]) -> None:
    """A random model in ``folder``, with the bundled model's tokenizer."""
    import transformers

    config = transformers.AutoConfig.for_model(shape, **sizes)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in TOKENIZER:
        (folder / name).write_bytes((REPOSITORY / "assets/models/story-lm" / name).read_bytes())


def train(loaded: Any, method: str, folder: Path) -> None:
    """Two steps, as the trainer makes them."""
    import datasets
    import peft
    import trl

    adapter = peft.LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM") if method != "full" else None
    loaded.model.requires_grad_(method == "full")
    rows = [[(7 * place + row) % 4000 + 5 for place in range(CONTEXT)] for row in range(ROWS * STEPS)]
    options: dict[str, Any] = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none"}
    arguments = trl.SFTConfig(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=ROWS, save_strategy="no", **options
    )
    data = datasets.Dataset.from_dict({"input_ids": rows})
    trl.SFTTrainer(
        loaded.model, arguments, train_dataset=data, processing_class=loaded.tokenizer, peft_config=adapter
    ).train()


def one(folder: Path, method: str) -> dict[str, int]:
    """Plan and measure in this process: bytes of weights and peak, planned and measured.

    A tiny model is loaded and trained beforehand, so that what is imported on the way counts as an import. Weights are
    read once before they are looked at: in a mapped file they are resident from their first use.
    """
    from core.catalog.catalog import Located
    from core.catalog.facts import facts_from_folder
    from core.catalog.linears import linear_modules, low_rank_parameters
    from core.runtime.devices import give_back
    from core.runtime.loading import ModelSpec, load
    from core.runtime.placement import Placement
    from core.runtime.schemes import scheme_bytes
    from core.runtime.training_memory import TrainingDetails, training_plan

    quantization: Any = "nf4" if method == "qlora" else None

    def loaded(folder: Path) -> Any:
        located = Located(folder.name, folder, facts_from_folder(folder), "local")
        spec = ModelSpec(folder.name, purpose="train", quantization=quantization)
        return load(located, Placement("cpu", "float32", 0, 0, 0, 0, 0, ""), spec=spec)

    tiny = folder / "tiny"
    make("llama", tiny, TINY)
    train(loaded(tiny), method, folder)
    located = Located(folder.name, folder, facts_from_folder(folder), "local")
    trainable = None if method == "full" else low_rank_parameters(linear_modules(located), r=8)
    plan = training_plan(located.facts, TrainingDetails(ROWS, CONTEXT, trainable, quantization, heap=True))
    give_back("cpu")
    before = resident()
    model = loaded(folder)
    for parameter in model.model.parameters():
        parameter.amax()
    weights = resident() - before
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew, without the loading's own
    train(model, method, folder)
    peak = resident("VmHWM") - before
    planned = scheme_bytes(located.facts, quantization or "float32")
    return {"planned_weights": planned, "weights": weights, "planned_peak": plan.total, "peak": peak}


def measure() -> float:
    """The worst deviation over the allowed one; prints each case."""
    worst = 0.0
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as name:
            run = [sys.executable, "-m", "bench.memory_plan", shape, name]
            subprocess.run([*run, "make"], cwd=REPOSITORY, check=True)
            for method in ("full", "lora", "qlora"):
                text = subprocess.run([*run, method], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout
                seen = json.loads(text.decode().splitlines()[-1])
                for what, may in (("weights", WEIGHTS_MAY), ("peak", PEAK_MAY)):
                    planned, measured = seen[f"planned_{what}"], seen[what]
                    worst = max(worst, abs(planned / measured - 1) / may)
                    print(
                        f"  {shape} {method} {what}: planned {planned / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB"
                    )
    return worst


if __name__ == "__main__":
    _, given_shape, given_folder, task = sys.argv
    if task == "make":
        make(given_shape, Path(given_folder), SHAPES[given_shape])
    else:
        print(json.dumps(one(Path(given_folder), task)), flush=True)
