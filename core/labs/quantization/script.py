"""A quantization run as a Python script of its own: transformers, bitsandbytes and torchao, without Benchtop.

Promises: the text is a function of the request, the model's facts and this machine's devices; it loads what the run
loaded and prints the run's numbers, a JSON line for each. Run it in the repository's folder for a bundled model.
"""

from __future__ import annotations

import re
from typing import Any

from core.catalog.catalog import Catalog
from core.catalog.facts import ModelFacts
from core.errors import BadInput, Busy, DoesNotFit
from core.labs.quantization.choices import Mode, SchemeName
from core.labs.quantization.comparing import scheme_spec
from core.labs.quantization.request import QuantizationRequest
from core.runtime.devices import detect_devices
from core.runtime.loading import ModelSpec
from core.runtime.pool import Pool
from core.runtime.schemes import refusal

_WORDS = {
    Mode.COMPARE: "Schemes side by side: each model is loaded, measured on one text and prompt, and let go.",
    Mode.PLAN: "What a model takes in memory, from its shape alone.",
    Mode.LENS: "A layer's weights replaced, and what that costs the model.",
    Mode.SWEEP: "Each layer's weights replaced in turn, and what that costs the model.",
    Mode.CHAT: "A conversation under several chat formats, and what the model makes of each.",
    Mode.SAVE: "A quantized checkpoint, written and read back.",
}
_MODEL = """
model = AutoModelForCausalLM.from_pretrained(
    MODEL, dtype=torch.{dtype}, attn_implementation="sdpa", use_safetensors=True
).to({device!r}).eval()
"""


def script(request: QuantizationRequest, pool: Pool, catalog: Catalog, owner: str = "") -> str:
    """The script's text. Raises ``NotFound`` for what is not the owner's, ``BadInput`` for what a script cannot do."""
    if request.mode is Mode.PLAN:
        from core.labs.quantization import script_plan

        facts, _ = catalog.shape(request.model)
        body = script_plan.lines(request, facts, _name(request, catalog) if facts.source != "hub" else request.model)
        return _joined(request, script_plan.IMPORTS, body)
    if pool.named(request.model, owner) is not None:
        raise BadInput(
            "A fine-tuned model has no script here.", "Merge it in the Fine-tuning lab, and name its folder."
        )
    facts = catalog.facts(request.model)
    imports, body = _measuring(request, pool, facts, owner)
    loaded = f"MODEL = {_name(request, catalog)!r}\ntokenizer = AutoTokenizer.from_pretrained(MODEL)\n"
    return _joined(request, (*imports, "from transformers import AutoModelForCausalLM, AutoTokenizer"), loaded + body)


def _measuring(request: QuantizationRequest, pool: Pool, facts: ModelFacts, owner: str) -> tuple[tuple[str, ...], str]:
    """Imports and body of what loads models."""
    from core.labs.quantization import script_chat, script_compare, script_lens

    if request.mode is Mode.COMPARE:
        schemes, device = _schemes(request, pool, facts, owner)
        return script_compare.IMPORTS, script_compare.compare_lines(request, facts, schemes, device)
    plan = pool.plan(ModelSpec(request.model), owner=owner)
    if request.mode is Mode.SAVE:
        return script_compare.IMPORTS, script_compare.save_lines(request, facts, plan.device)
    loaded = _MODEL.format(dtype=plan.dtype, device=plan.device)
    if request.mode is Mode.CHAT:
        return script_chat.IMPORTS, loaded + script_chat.lines(request)
    return script_lens.IMPORTS, f"{loaded}\n\n{script_lens.lines(request, facts)}"


def _schemes(request: QuantizationRequest, pool: Pool, facts: ModelFacts, owner: str) -> tuple[dict[str, str], str]:
    """The schemes that run here, the reference first, each with the dtype of what it leaves alone; and the device."""
    wanted = dict.fromkeys((SchemeName.FLOAT32.value, *(name.value for name in request.schemes)))
    found: dict[str, str] = {}
    home = ""
    for name in wanted:
        try:
            placed = pool.plan(scheme_spec(request.model, name), owner=owner)
        except (BadInput, Busy, DoesNotFit):
            continue
        device = next(one for one in detect_devices() if one.name == placed.device)
        if refusal(name, facts, device) is None:
            found[name], home = placed.dtype, home or placed.device
    return found, home


def _name(request: QuantizationRequest, catalog: Catalog) -> str:
    """What the script calls the model: a folder of this repository, a Hub name, or a local folder."""
    located: Any = catalog.locate(request.model)
    if located.source == "bundled":
        return f"assets/models/{located.name}"
    return located.name if located.source == "hub" else str(located.path)


def _joined(request: QuantizationRequest, imports: tuple[str, ...], body: str) -> str:
    """Imports in the order in which they are written by hand: plain ones, then those of names."""
    used = sorted(dict.fromkeys(imports), key=lambda line: line.startswith("from"))
    text = f'"""{_WORDS[request.mode]}"""\n\nfrom __future__ import annotations\n\n' + "\n".join(used) + f"\n\n{body}"
    return re.sub(r"\n{4,}", "\n\n\n", text)
