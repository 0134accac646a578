"""The whole comparison of schemes over a plain loop in one process: load with transformers, measure, let go, the next.

Both read the same passages, compare with the first scheme's predictions, sample the same number of tokens, time the
prompt and single tokens as often, profile one token, and let the model go. What the lab does besides (placement, the
lane, the log's events, the files, sentences) is its own cost. Imports are left out: each side goes through every
library once with little work before it is timed. The two change places from turn to turn; the ratio is the median of
the turns' ratios.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.training import running_app
from core.labs.quantization.choices import SchemeName
from core.labs.quantization.request import QuantizationRequest
from core.services import Services

NAME = "quant_sweep"
GOAL = 1.0
HIGHER_IS_BETTER = False

TURNS = 5
STEPS = 16
"""Tokens written for each reading of a decode time, as in ``core.quantization.measuring``."""
WARM_UP = QuantizationRequest(
    schemes=(SchemeName.FLOAT32, SchemeName.INT8, SchemeName.NF4, SchemeName.INT8_WEIGHT_ONLY, SchemeName.INT8_DYNAMIC),
    scored_tokens=64, new_tokens=1, repeats=1,
)  # fmt: skip


class Plain:
    """The loop as one writes it by hand. ``dtypes`` says in what each scheme computes: the same as the lab."""

    def __init__(self, folder: Path, request: QuantizationRequest, dtypes: dict[str, str], text: str) -> None:
        from core.labs.quantization.comparing import WINDOW

        self._folder, self._request, self._dtypes, self._text = folder, request, dtypes, text
        self._window = WINDOW
        self._reference: list[Any] = []

    def rows(self) -> list[dict[str, Any]]:
        """A row for each scheme."""
        self._reference = []
        return [self._row(name) for name in self._dtypes]

    def _row(self, scheme: str) -> dict[str, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        begin = time.perf_counter()
        options: dict[str, Any] = quantized(scheme, self._dtypes[scheme])
        tokenizer = AutoTokenizer.from_pretrained(self._folder)
        model: Any = AutoModelForCausalLM.from_pretrained(
            self._folder, dtype=getattr(torch, self._dtypes[scheme]), **options
        )
        row: dict[str, Any] = {"scheme": scheme, "load_seconds": time.perf_counter() - begin}
        with torch.inference_mode():
            row |= self._scores(model.eval(), tokenizer)
            prompt = tokenizer(self._request.prompt, return_tensors="pt").input_ids
            row["text"] = self._sampled(model, tokenizer, prompt)
            row |= self._times(model, prompt)
        del model
        gc.collect()
        return row

    def _scores(self, model: Any, tokenizer: Any) -> dict[str, float]:
        import torch
        from torch.nn import functional

        first = not self._reference
        nats = divergence = agreed = tokens = 0.0
        ids = tokenizer(self._text, add_special_tokens=False, verbose=False).input_ids[: self._request.scored_tokens]
        room = self._window - 1
        for number, start in enumerate(range(0, len(ids), room)):
            passage = torch.tensor([[tokenizer.bos_token_id, *ids[start : start + room]]])
            logs = model(passage).logits[0, :-1].float().log_softmax(-1)
            if first:
                self._reference.append(logs)
            before = self._reference[number]
            nats += float(functional.nll_loss(logs, passage[0, 1:], reduction="sum"))
            divergence += float((before.exp() * (before - logs)).sum())
            agreed += int((before.argmax(-1) == logs.argmax(-1)).sum())
            tokens += len(logs)
        perplexity = float(torch.tensor(nats / tokens).exp())
        return {"perplexity": perplexity, "kl": divergence / tokens, "top1": agreed / tokens}

    def _sampled(self, model: Any, tokenizer: Any, prompt: Any) -> str:
        import torch

        torch.manual_seed(self._request.seed)
        made = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, temperature=self._request.temperature,
            top_k=0, max_new_tokens=self._request.new_tokens, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        text: str = tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True)
        return text

    def _times(self, model: Any, prompt: Any) -> dict[str, float]:
        from torch.profiler import profile

        reads, writes = [], []
        for turn in range(self._request.repeats + 1):
            begin = time.perf_counter()
            out = model(prompt, use_cache=True)
            reads.append(time.perf_counter() - begin)
            for _ in range(STEPS if turn else 2):
                token = out.logits[:, -1:].argmax(-1)
                begin = time.perf_counter()
                out = model(token, past_key_values=out.past_key_values, use_cache=True)
                writes.append(time.perf_counter() - begin)
        with profile() as profiled:
            model(out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values, use_cache=True)
        profiled.key_averages()
        return {"prefill_seconds": statistics.median(reads[1:]), "decode_seconds": statistics.median(writes[2:])}


def quantized(scheme: str, dtype: str) -> dict[str, Any]:
    """What ``from_pretrained`` is given for a scheme, as the libraries' own pages say it."""
    import torch
    from transformers import BitsAndBytesConfig, TorchAoConfig

    if scheme in ("float32", "bfloat16", "float16"):
        return {}
    config: Any
    if scheme == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
    elif scheme.startswith("int8-"):
        from torchao import quantization as ao

        kind = ao.Int8WeightOnlyConfig if scheme == "int8-weight-only" else ao.Int8DynamicActivationInt8WeightConfig
        config = TorchAoConfig(kind(set_inductor_config=False))
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=scheme.removesuffix("-double"),
            bnb_4bit_use_double_quant=scheme.endswith("-double"),
            bnb_4bit_compute_dtype=getattr(torch, dtype),
        )
    return {"quantization_config": config, "device_map": "cpu"}


def plain_loop(services: Services, request: QuantizationRequest) -> Plain:
    """The loop over the request's schemes, computing in what the lab would."""
    from core.labs.quantization.comparing import scheme_spec
    from core.labs.quantization.passages import scored_text

    names: Sequence[str] = [name.value for name in request.schemes]
    dtypes = {name: services.pool.plan(scheme_spec(request.model, name)).dtype for name in names}
    text, _ = scored_text(request.text, services.settings)
    return Plain(services.catalog.locate(request.model).path, request, dtypes, text)


def comparison(services: Services, request: QuantizationRequest) -> list[dict[str, Any]]:
    """The lab's rows of the same request."""
    from core.events import Done
    from core.labs.quantization.run import run
    from core.runtime.run_context import RunContext

    with tempfile.TemporaryDirectory() as folder:
        events = list(run(request, services.pool, RunContext("bench", "bench", Path(folder))))
    done = events[-1]
    if not isinstance(done, Done) or len(done.result["schemes"]) != len(request.schemes):
        raise RuntimeError("a scheme is missing from the comparison")
    rows: list[dict[str, Any]] = done.result["schemes"]
    return rows


def turn(services: Services, request: QuantizationRequest, ours_first: bool) -> tuple[float, float]:
    """Seconds of the comparison and of the loop, one after the other. Raises where they measure different things."""
    loop = plain_loop(services, request)
    sides = {"ours": lambda: comparison(services, request), "plain": loop.rows}
    taken, rows = {}, {}
    for name in ("ours", "plain") if ours_first else ("plain", "ours"):
        gc.collect()
        begin = time.perf_counter()
        rows[name] = sides[name]()
        taken[name] = time.perf_counter() - begin
    for one, other in zip(rows["ours"], rows["plain"], strict=True):
        if abs(one["perplexity"] / other["perplexity"] - 1) > 0.02:
            raise RuntimeError(f"{one['scheme']}: perplexity {one['perplexity']} here, {other['perplexity']} there")
    return taken["ours"], taken["plain"]


def measure() -> float:
    """The median ratio, lab over loop; prints each turn."""
    ratios = []
    with running_app() as services:
        turn(services, WARM_UP, True)
        for number in range(TURNS):
            ours, plain = turn(services, QuantizationRequest(), number % 2 == 1)
            print(f"  turn {number}: comparison {ours:.2f} s, plain loop {plain:.2f} s", flush=True)
            ratios.append(ours / plain)
    return statistics.median(ratios)
