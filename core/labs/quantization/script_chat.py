"""The chat formats' part of the exported script: each template as text, rendered by the tokenizer itself.

Promises: the same texts, tokens, replies and perplexities as the run; what a visitor typed appears only as a Python
literal. It expects ``model`` and ``tokenizer`` to be loaded, and prints a JSON line for each format.
"""

from __future__ import annotations

from core.labs.quantization.chat import REPLY_TOKENS, SCORED_TOKENS
from core.labs.quantization.choices import Format
from core.labs.quantization.request import QuantizationRequest
from core.quantization.chat_formats import FORMATS, PLAIN

IMPORTS = (
    "import json",
    "import math",
    "from typing import Any",
    "import torch",
    "from jinja2 import TemplateError",
    "from transformers import GenerationConfig",
)
"""What these lines use, for the top of the script."""
READ = '''
ENDS = model.generation_config.eos_token_id
PAD = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
GREEDY = GenerationConfig(do_sample=False, max_new_tokens=REPLY_TOKENS, eos_token_id=ENDS, pad_token_id=PAD)
model.generation_config = GenerationConfig()  # no default of the checkpoint fills what is not set here


def rendered(template: str | None, conversation: list[dict[str, str]]) -> str:
    """The conversation as one text: the model's own template for None, plain lines where it has none."""
    used = template or tokenizer.chat_template or PLAIN
    return tokenizer.apply_chat_template(
        conversation, chat_template=used, tokenize=False, add_generation_prompt=GENERATION_PROMPT
    )


def answer_span(template: str | None, text: str) -> tuple[int, int]:
    """Where the last assistant turn's words stand: a mark is put in their place and looked for."""
    last = max((i for i, turn in enumerate(CONVERSATION) if turn["role"] == "assistant"), default=None)
    if last is None:
        return 0, 0
    marked = [{**turn, "content": "\\ue000"} if i == last else turn for i, turn in enumerate(CONVERSATION)]
    head, _, tail = rendered(template, marked).partition("\\ue000")
    return len(head), len(text) - len(tail)


@torch.inference_mode()
def perplexity(ids: list[int], places: list[int]) -> float | None:
    """Of the tokens at ``places``, which follow one another, given all before them."""
    if not places or places[0] == 0:
        return None
    places = places[:SCORED_TOKENS]
    given = torch.tensor([ids[: places[-1] + 1]], device=model.device)
    logs = model(given, use_cache=False).logits[0].float().log_softmax(-1)
    return math.exp(min(-sum(float(logs[at - 1, ids[at]]) for at in places) / len(places), 700.0))


def read(name: str, template: str | None) -> dict[str, Any]:
    """A format's text, its tokens, what the model goes on with, and how likely it finds the last answer."""
    try:
        text = rendered(template, CONVERSATION)
    except TemplateError as error:
        return {"format": name, "refused": str(error)}
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, (begin, end) = encoded["input_ids"], answer_span(template, text)
    places = [at for at, (start, stop) in enumerate(encoded["offset_mapping"]) if begin <= start < end and stop > start]
    given = torch.tensor([ids], device=model.device)
    reply = model.generate(given, attention_mask=torch.ones_like(given), generation_config=GREEDY)
    reply = reply[0, len(ids) :].tolist()
    found = {"format": name, "text": text, "total": len(ids), "reply": tokenizer.decode(reply)}
    return {**found, "perplexity": perplexity(ids, places)}


for name, template in TEMPLATES.items():
    print(json.dumps(read(name, template)))
'''


def lines(request: QuantizationRequest) -> str:
    """The part of a chat script that follows the loading."""
    templates = {name.value: None if name is Format.MODEL else FORMATS[name.value].template for name in request.formats}
    turns = "".join(f"    {turn.model_dump(mode='json')!r},\n" for turn in request.conversation)
    listed = "".join(f"    {name!r}: {template!r},\n" for name, template in templates.items())
    return (
        f"CONVERSATION = [\n{turns}]\n"
        f"GENERATION_PROMPT = {request.generation_prompt!r}\n"
        f"REPLY_TOKENS, SCORED_TOKENS = {REPLY_TOKENS}, {SCORED_TOKENS}\n"
        f"PLAIN = {PLAIN!r}\n"
        f"TEMPLATES = {{\n{listed}}}\n\n{READ}"
    )
