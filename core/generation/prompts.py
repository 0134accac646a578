"""From what somebody typed to token ids: the plain prompt, or one wrapped by the model's chat template."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from core.errors import BadInput
from core.generation.text_stream import TextStream
from core.runtime.loading import LoadedModel


def encode_prompt(loaded: LoadedModel, prompt: str, *, chat: bool = False, system_prompt: str = "") -> list[int]:
    """Token ids of the prompt. Raises ``BadInput`` where the model has no chat template, or one that refuses this."""
    tokenizer: Any = loaded.tokenizer
    ids = _encode_chat(tokenizer, prompt, system_prompt) if chat else tokenizer(prompt, verbose=False)["input_ids"]
    return [int(i) for i in ids]


def _encode_chat(tokenizer: Any, prompt: str, system_prompt: str) -> list[int]:
    if not tokenizer.chat_template:
        raise BadInput("This model has no chat template.", "Switch the chat template off, or choose a chat model.")
    messages = [{"role": "user", "content": prompt}]
    if system_prompt.strip():
        messages.insert(0, {"role": "system", "content": system_prompt})
    try:
        ids: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    except TemplateError as error:
        raise BadInput(
            f"This model's chat template refuses that conversation ({error}).", "Try it without a system prompt."
        ) from error
    return ids


def shown_tokens(loaded: LoadedModel, ids: list[int]) -> list[dict[str, Any]]:
    """Each token as the page shows it: ``{"id", "text", "piece"}``."""
    stream = TextStream(loaded.tokenizer)
    shown = []
    for token_id in ids:
        text, piece = stream.push(token_id)
        shown.append({"id": token_id, "text": text, "piece": piece})
    return shown
