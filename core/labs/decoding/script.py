"""A decoding run as a Python script of its own: plain transformers, no Benchtop, the same ids.

Promises: the text is a function of the request and the names alone; whatever a visitor typed appears only as a Python
literal; for the same seed on the same machine in the same number format the script finds the ids of the run. What
``model.generate`` can do is left to it, with every setting spelled out; contrastive search and a changed order of the
sampling stages are written out as the loop they are. The script ends with one JSON line per strategy,
``{"strategy": ..., "ids": [...]}``: the new ids, without the prompt's and the forced ones.

Not here: loading a model or running anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.errors import BadInput
from core.generation.parameters import DEFAULT_ORDER, SAMPLING_STRATEGIES, STRATEGY_TITLES, Stage, Strategy
from core.labs.decoding import script_text
from core.labs.decoding.request import PROMPT_LOOKUP, DecodingRequest

Kind = Literal["causal", "seq2seq"]
DTYPES = ("float32", "bfloat16", "float16")
CAUSAL_ONLY = (Strategy.CONTRASTIVE, Strategy.SPECULATIVE)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request with what the script must know of the model; the questions that the parts ask."""

    request: DecodingRequest
    model: str
    dtype: str
    kind: Kind
    draft: str
    device: str
    adapter: str | None = None
    prompted: bool = False

    @property
    def auto_class(self) -> str:
        return "AutoModelForCausalLM" if self.kind == "causal" else "AutoModelForSeq2SeqLM"

    def looped(self, strategy: Strategy) -> bool:
        """Whether ``generate`` cannot do it: contrastive search, or stages in another order."""
        reordered = strategy in SAMPLING_STRATEGIES and self.request.stage_order != DEFAULT_ORDER
        return reordered or strategy is Strategy.CONTRASTIVE

    @property
    def loops(self) -> bool:
        return any(self.looped(strategy) for strategy in self.request.strategies)

    @property
    def generates(self) -> bool:
        return not all(self.looped(strategy) for strategy in self.request.strategies)

    @property
    def samples(self) -> bool:
        return any(strategy in SAMPLING_STRATEGIES for strategy in self.request.strategies)

    @property
    def watches(self) -> bool:
        """Whether the script looks for stop strings by itself, beside ``generate``."""
        looks = self.loops or Strategy.SPECULATIVE in self.request.strategies
        return looks and bool(self.request.stop_strings)

    @property
    def assistant(self) -> bool:
        return Strategy.SPECULATIVE in self.request.strategies and self.request.draft != PROMPT_LOOKUP


def script(
    request: DecodingRequest,
    model_path: str,
    dtype: str,
    *,
    kind: Kind = "causal",
    draft_path: str | None = None,
    device: str = "cpu",
    adapter_path: str | None = None,
    prompted: bool = False,
) -> str:
    """The script's text. The paths are what ``from_pretrained`` is to be given.

    ``prompted`` says that the adapter is a trained prompt. Raises ``BadInput`` for a strategy that an encoder-decoder
    does not have, or peft with a trained prompt, and for an unknown dtype.
    """
    if dtype not in DTYPES:
        raise BadInput(f"{dtype!r} is no number format of a script.", f"Use one of {', '.join(DTYPES)}.")
    for strategy in request.strategies:
        if kind == "seq2seq" and strategy in CAUSAL_ONLY:
            raise BadInput(f"{STRATEGY_TITLES[strategy]} needs a causal model.", "Choose another strategy.")
    plan = _Plan(request, model_path, dtype, kind, draft_path or request.draft, device, adapter_path, prompted)
    if prompted and (plan.loops or Strategy.SPECULATIVE in request.strategies):
        raise BadInput(
            "A script with a trained prompt can search greedily, sample and search beams only.",
            "Choose those strategies, and the usual order of stages.",
        )
    calls = [_call(plan, strategy) for strategy in request.strategies]
    setting_up = [_imports(plan, calls), _constants(plan), _loading(plan), _prompt(plan), *_functions(plan)]
    parts = [*setting_up, "\nresults = {}", *calls, script_text.OUTPUT]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _imports(plan: _Plan, calls: list[str]) -> str:
    names = {plan.auto_class, "AutoTokenizer", "GenerationConfig"}
    names |= {name for name in _PROCESSORS if any(name in call for call in calls)}
    if plan.watches:
        names.add("StopStringCriteria")
    library = "transformers and peft" if plan.adapter else "transformers"
    lines = [
        f'"""Decodes one prompt with plain {library}; ends with a JSON line of token ids for each strategy."""',
        "",
        "import json",
        "",
        "import torch",
        *(["from peft import PeftModel"] if plan.adapter else []),
    ]
    one_line = f"from transformers import {', '.join(sorted(names))}"
    if len(one_line) > 100:
        one_line = "from transformers import (\n" + "".join(f"    {name},\n" for name in sorted(names)) + ")"
    return "\n".join([*lines, one_line])


def _constants(plan: _Plan) -> str:
    request = plan.request
    values: list[tuple[str, object, bool]] = [
        ("MODEL", plan.model, True),
        ("ADAPTER", plan.adapter, plan.adapter is not None),
        ("DRAFT_MODEL", plan.draft, plan.assistant),
        ("PROMPT", request.prompt, True),
        ("SYSTEM_PROMPT", request.system_prompt, request.chat and bool(request.system_prompt.strip())),
        ("FORCED_IDS", list(request.forced_ids), bool(request.forced_ids)),
        ("MAX_NEW_TOKENS", request.max_new_tokens, True),
        ("STOP_STRINGS", list(request.stop_strings), bool(request.stop_strings)),
        ("SEED", request.seed, plan.samples),
    ]
    return "\n".join(f"{name} = {value!r}" for name, value, wanted in values if wanted)


def _loading(plan: _Plan) -> str:
    place = "" if plan.device == "cpu" else f".to({plan.device!r})"
    options = f"dtype=torch.{plan.dtype}){place}.eval()"
    lines = [
        f"tokenizer = AutoTokenizer.from_pretrained({'ADAPTER' if plan.adapter else 'MODEL'})",
        f"model = {plan.auto_class}.from_pretrained(MODEL, {options}",
    ]
    if plan.adapter:  # an adapter's layers are put into the model; a trained prompt needs what peft puts around it
        inner = "" if plan.prompted else ".get_base_model()"
        lines += [
            "# the folder of the fine-tuning's run, or where you unpacked its zip",
            f"model = PeftModel.from_pretrained(model, ADAPTER).eval(){inner}",
        ]
    if plan.assistant:
        lines += [
            f"draft_model = {plan.auto_class}.from_pretrained(DRAFT_MODEL, {options}",
            f"draft_model.generation_config.num_assistant_tokens = {plan.request.draft_tokens}",
            'draft_model.generation_config.num_assistant_tokens_schedule = "constant"',
        ]
    if plan.request.ignore_eos:
        lines += ["", "END = None  # go on past the model's own end token"]
    else:
        lines += ["", "END = model.generation_config.eos_token_id"]
    if plan.kind == "seq2seq":
        lines.append("START = model.generation_config.decoder_start_token_id")
    lines.append(
        "model.generation_config = GenerationConfig()  # no default of the checkpoint fills what is not set below"
    )
    return "\n".join(lines)


def _prompt(plan: _Plan) -> str:
    lines = ['prompt_ids = tokenizer(PROMPT)["input_ids"]']
    if plan.request.chat:
        system = bool(plan.request.system_prompt.strip())
        lines = [
            "messages = [",
            *(['    {"role": "system", "content": SYSTEM_PROMPT},'] if system else []),
            '    {"role": "user", "content": PROMPT},',
            "]",
            "prompt_ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)",
        ]
    forced = " + FORCED_IDS" if plan.request.forced_ids else ""
    if plan.kind == "seq2seq":
        lines.append(f"start_ids = [START]{forced}  # the decoder goes on from these")
        lines.append("limit = MAX_NEW_TOKENS")
    else:
        lines.append(f"start_ids = prompt_ids{forced}")
        lines.append('context = getattr(model.config, "max_position_embeddings", 512)')
        lines.append("limit = min(MAX_NEW_TOKENS, context - len(start_ids))")
    if plan.watches:
        lines.append("stops = StopStringCriteria(tokenizer, STOP_STRINGS)")
    return "\n".join(lines)


def _functions(plan: _Plan) -> list[str]:
    """The functions that the calls need, in reading order."""
    request = plan.request
    parts = [script_text.ROW]
    if plan.generates:
        parts.append(_generate(plan))
    if Strategy.SPECULATIVE in request.strategies and request.stop_strings:
        parts.append(script_text.UNTIL_STOP)
    if plan.loops:
        ended = script_text.ENDED if request.stop_strings else script_text.ENDED.replace(script_text.STOP_CLAUSE, "")
        parts.append(ended)
    if any(plan.looped(strategy) for strategy in SAMPLING_STRATEGIES if strategy in request.strategies):
        parts.append(
            script_text.SAMPLE.replace("FORWARD", script_text.FORWARD[plan.kind]).replace(
                "    ENCODE\n", script_text.ENCODE[plan.kind]
            )
        )
    if Strategy.CONTRASTIVE in request.strategies:
        parts.append(script_text.CONTRASTIVE)
    return ["\n" + part.strip("\n") + "\n" for part in parts]


def _generate(plan: _Plan) -> str:
    request = plan.request
    tokenizer = ", tokenizer=tokenizer" if request.stop_strings else ""
    stop = "        stop_strings=STOP_STRINGS,\n" if request.stop_strings else ""
    inputs = "start_ids" if plan.kind == "causal" else "prompt_ids"
    decoder = "" if plan.kind == "causal" else "            decoder_input_ids=row(start_ids),\n"
    assistant = "assistant=None, " if plan.assistant else ""
    passed = ", assistant_model=assistant" if plan.assistant else ""
    start = "        decoder_start_token_id=START,\n" if plan.kind == "seq2seq" else ""
    penalties = (
        f"        repetition_penalty={request.repetition_penalty!r},\n"
        f"        no_repeat_ngram_size={request.no_repeat_ngram_size!r},\n"
    )
    return (
        f"def generate({assistant}**settings):\n"
        '    """The new ids that model.generate() finds with these settings and those shared by all."""\n'
        f"    shared = dict(\n        max_new_tokens=limit,\n        eos_token_id=END,\n{start}{penalties}{stop}    )\n"
        "    config = GenerationConfig(**shared | settings)\n"
        f"    inputs = row({inputs})\n"
        "    with torch.no_grad():\n"
        "        output = model.generate(\n"
        f"            {'input_ids=' if plan.prompted else ''}inputs,\n"
        "            attention_mask=torch.ones_like(inputs),  # a start token may have the padding's id\n"
        f"{decoder}            generation_config=config{tokenizer}{passed},\n"
        "        )\n"
        "    return output[0, len(start_ids) :].tolist()"
    )


def _call(plan: _Plan, strategy: Strategy) -> str:
    """The lines that fill ``results`` for one strategy."""
    request = plan.request
    comment = f"# {STRATEGY_TITLES[strategy]}\n"
    target = f'results["{strategy.value}"] = '
    if strategy is Strategy.GREEDY:
        return f"{comment}{target}generate(do_sample=False)"
    if strategy in SAMPLING_STRATEGIES:
        seed = "torch.manual_seed(SEED)\n"
        drawn = _stages(plan, strategy) if plan.looped(strategy) else _sampling(plan, strategy)
        return comment + seed + target + drawn
    if strategy is Strategy.BEAM:
        return (
            f"{comment}{target}generate(\n    do_sample=False, num_beams={request.num_beams!r}, "
            f"length_penalty={request.length_penalty!r}, early_stopping=False\n)"
        )
    if strategy is Strategy.CONTRASTIVE:
        call = f"contrastive_search(\n    k={request.contrastive_k!r}, alpha={request.penalty_alpha!r}, penalties="
        return f"{comment}{target}{call}{_processors(plan, strategy, (Stage.PENALTIES,), '    ')}\n)"
    return comment + target + _speculative(plan)


def _sampling(plan: _Plan, strategy: Strategy) -> str:
    """A call of generate with all sampling settings, those that are off included."""
    chosen = plan.request.sampling(strategy)
    names = ("temperature", "top_k", "top_p", "min_p", "typical_p")
    settings = "".join(f"    {name}={getattr(chosen, name)!r},\n" for name in names)
    return f"generate(\n    do_sample=True,\n{settings})"


def _stages(plan: _Plan, strategy: Strategy) -> str:
    """A call of the sampling loop with the stages in the order asked for."""
    return f"sample({_processors(plan, strategy, plan.request.stage_order, '')})"


def _processors(plan: _Plan, strategy: Strategy, order: tuple[Stage, ...], indent: str) -> str:
    """The transformers processors of these stages; a stage at its neutral value does nothing and is left out."""
    chosen = plan.request.sampling(strategy)
    penalties = []
    if chosen.repetition_penalty != 1.0:
        penalties.append(f"RepetitionPenaltyLogitsProcessor({chosen.repetition_penalty!r})")
    if chosen.no_repeat_ngram_size:
        penalties.append(f"NoRepeatNGramLogitsProcessor({chosen.no_repeat_ngram_size!r})")
    stages: dict[Stage, list[str]] = {
        Stage.PENALTIES: penalties,
        Stage.TEMPERATURE: _unless(chosen.temperature == 1.0, f"TemperatureLogitsWarper({chosen.temperature!r})"),
        Stage.TOP_K: _unless(chosen.top_k == 0, f"TopKLogitsWarper({chosen.top_k!r})"),
        Stage.TOP_P: _unless(chosen.top_p == 1.0, f"TopPLogitsWarper({chosen.top_p!r})"),
        Stage.MIN_P: _unless(chosen.min_p == 0.0, f"MinPLogitsWarper({chosen.min_p!r})"),
        Stage.TYPICAL: _unless(chosen.typical_p == 1.0, f"TypicalLogitsWarper({chosen.typical_p!r})"),
    }
    lines = [f"{indent}    {processor},\n" for stage in order for processor in stages[stage]]
    return f"LogitsProcessorList([\n{''.join(lines)}{indent}])" if lines else "LogitsProcessorList()"


def _unless(neutral: bool, processor: str) -> list[str]:
    return [] if neutral else [processor]


def _speculative(plan: _Plan) -> str:
    """Greedy with drafts. A block of accepted tokens may run past a stop string, so that is cut off afterwards."""
    if plan.assistant:
        call = "generate(draft_model, do_sample=False"
    else:
        call = f"generate(do_sample=False, prompt_lookup_num_tokens={plan.request.draft_tokens!r}"
    if plan.request.stop_strings:
        return f"until_stop({call}, stop_strings=None))"
    return call + ")"


_PROCESSORS = (
    "LogitsProcessorList",
    "RepetitionPenaltyLogitsProcessor",
    "NoRepeatNGramLogitsProcessor",
    "TemperatureLogitsWarper",
    "TopKLogitsWarper",
    "TopPLogitsWarper",
    "MinPLogitsWarper",
    "TypicalLogitsWarper",
)
