"""The comparison's and the checkpoint's part of the exported script: each scheme loaded and measured by a plain loop.

Promises: the same weights, perplexity, KL divergence, agreement and text as the run, to rounding; what a visitor typed
appears only as a Python literal. It loads its models itself, and prints a JSON line for each.
"""

from __future__ import annotations

from core.catalog.facts import ModelFacts
from core.labs.quantization.choices import SchemeName
from core.labs.quantization.comparing import WINDOW
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.script_text import passages_source, source_of, text_to_score
from core.quantization.measuring import STEPS
from core.runtime.quantized import UNQUANTIZED, quantization_config
from core.runtime.schemes import is_quantized

IMPORTS = (
    "import json",
    "import math",
    "import statistics",
    "import time",
    "from pathlib import Path",
    "from typing import Any",
    "import torch",
    "from torch.nn import functional as F",
)
"""What these lines use, for the top of the script."""
LOAD = '''
def load(scheme: str, dtype: str) -> Any:
    """The model with its weights stored as ``scheme``; what is not quantized is in ``dtype``."""
    number = getattr(torch, dtype)
    options = {"quantization_config": quantization_config(scheme, number)} if scheme in QUANTIZED else {}
    model = AutoModelForCausalLM.from_pretrained(
        MODEL, dtype=number, attn_implementation="sdpa", use_safetensors=True, device_map={"": DEVICE}, **options
    ).eval()
    return with_odd_layers_plain(model)


def with_odd_layers_plain(model: Any) -> Any:
    """bitsandbytes' fast layout on CPUs fails for 4-bit layers whose sizes it does not divide."""
    for layer in model.modules():
        if type(layer).__name__ == "Linear4bit" and (layer.out_features % 32 or layer.in_features % 64):
            layer.support_avx512bf16_for_cpu = False
    return model


@torch.inference_mode()
def read(model: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Log-probabilities (positions, vocabulary) and the tokens that came, for each passage."""
    found = []
    for passage in PASSAGES:
        ids = torch.tensor([passage], device=DEVICE)
        found.append((model(ids, use_cache=False).logits[0, :-1].float().log_softmax(-1), ids[0, 1:]))
    return found


def cost(readings: list, reference: list) -> dict[str, Any]:
    """Perplexity, and KL divergence from the reference and agreement of first choices at every position."""
    logs, targets = torch.cat([one for one, _ in readings]), torch.cat([one for _, one in readings])
    before = torch.cat([one for one, _ in reference])
    divergence = float((before.exp() * (before - logs)).sum()) / len(logs)
    agreed = float((before.argmax(-1) == logs.argmax(-1)).float().mean())
    nats = float(F.nll_loss(logs, targets))
    return {"perplexity": math.exp(nats), "kl": max(divergence, 0.0), "top1": agreed}


PASSAGES = passages(tokenizer, TEXT, TOKENS, WINDOW)
'''
COMPARE = '''
def clocked(work: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made


@torch.inference_mode()
def speed(model: Any, prompt: torch.Tensor) -> dict[str, float]:
    """Median tokens a second of reading the prompt, and of writing behind it."""
    reads, writes = [], []
    for turn in range(REPEATS + 1):
        took, out = clocked(lambda: model(prompt, use_cache=True))
        steps = []
        for _ in range(STEPS if turn else 2):
            token, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
            step, out = clocked(lambda: model(token, past_key_values=cache, use_cache=True))
            steps.append(step)
        if turn:
            reads.append(took)
            writes += steps
    return {"prefill": prompt.shape[1] / statistics.median(reads), "decode": 1 / statistics.median(writes)}


def written(model: Any, prompt: torch.Tensor) -> str:
    """What the model goes on with."""
    torch.manual_seed(SEED)
    chosen = dict(do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0) if TEMPERATURE else dict(do_sample=False)
    ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW_TOKENS, **chosen)
    return tokenizer.decode(ids[0, prompt.shape[1] :], skip_special_tokens=True)


prompt = tokenizer(PROMPT, return_tensors="pt")["input_ids"].to(DEVICE)
reference = None
for scheme, dtype in SCHEMES.items():
    seconds, model = clocked(lambda: load(scheme, dtype))
    readings = read(model)
    reference = reference or readings
    row = {"scheme": scheme, "load_seconds": seconds, **cost(readings, reference), "text": written(model, prompt)}
    print(json.dumps({**row, **speed(model, prompt)}))
'''
SAVE = """
full = read(load("float32", "float32"))
model = load(SCHEME, "float32")
model.save_pretrained(FOLDER)  # before the first pass, after which a fast layout may have rounded the scales
tokenizer.save_pretrained(FOLDER)
before = read(model)
again = AutoModelForCausalLM.from_pretrained(FOLDER, attn_implementation="sdpa", device_map={"": DEVICE}).eval()
again = with_odd_layers_plain(again)
delta = max(float((a - b).abs().max()) for (a, _), (b, _) in zip(before, read(again)))
print(json.dumps({"scheme": SCHEME, "max_delta": delta, **cost(before, full)}))
"""


def compare_lines(request: QuantizationRequest, facts: ModelFacts, schemes: dict[str, str], device: str) -> str:
    """A comparison below the loading of the tokenizer. ``schemes``: those that run here, each with its dtype."""
    constants = (
        f"PROMPT = {request.prompt!r}\nSCHEMES = {schemes!r}\n"
        f"NEW_TOKENS, TEMPERATURE, SEED = {request.new_tokens}, {request.temperature}, {request.seed}\n"
        f"REPEATS, STEPS = {request.repeats}, {STEPS}\n"
    )
    return _joined(request, facts, device, constants, COMPARE)


def save_lines(request: QuantizationRequest, facts: ModelFacts, device: str) -> str:
    """A checkpoint, below the loading of the tokenizer."""
    constants = f'SCHEME, FOLDER = {request.scheme.value!r}, "checkpoint"\n'
    return _joined(request, facts, device, constants, SAVE)


def _joined(request: QuantizationRequest, facts: ModelFacts, device: str, constants: str, rest: str) -> str:
    names = tuple(name.value for name in SchemeName if is_quantized(name.value))
    parts = [
        f"DEVICE = {device!r}\nQUANTIZED = {names!r}\nUNQUANTIZED = {UNQUANTIZED!r}\n{constants}"
        f"TOKENS, WINDOW = {request.scored_tokens}, {min(WINDOW, facts.context)}\n"
        f"{text_to_score(request.text, request.scored_tokens)}",
        source_of(quantization_config).replace("torch.dtype", "Any"),
        passages_source(),
        LOAD,
        rest,
    ]
    return "\n\n".join(part.strip("\n") + "\n" for part in parts)
