"""A causal model that reads trained virtual tokens before every text (prompt tuning, Lester et al., 2021).

From outside it is the model itself: logits and hidden states are those of real tokens, a cache that has begun goes on,
``generate()`` works. The cache holds the virtual tokens too, so that it is longer than the text; the class therefore
takes no ``position_ids``, by which the engine sees that its rows cannot share a pass.

Numbers equal those of peft's own ``PeftModelForCausalLM`` (the tests compare). Padding stands on the right.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor


@cache
def prompted_class(model_class: Any) -> type:
    """The subclass of ``model_class`` whose instances have ``virtual_tokens`` (n, hidden size)."""

    class Prompted(model_class):  # type: ignore[misc]  # which class it is is known only here
        virtual_tokens: Tensor

        def forward(
            self,
            input_ids: Tensor | None = None,
            attention_mask: Tensor | None = None,
            past_key_values: Any = None,
            inputs_embeds: Tensor | None = None,
            use_cache: bool | None = None,
            logits_to_keep: int = 0,
            **options: Any,
        ) -> Any:
            extra = self.virtual_tokens.shape[0]
            begun = past_key_values is not None and past_key_values.get_seq_length() > 0
            options.pop("position_ids", None)  # they would not count the virtual tokens
            options.pop("cache_position", None)
            if attention_mask is not None and attention_mask.ndim == 2:
                attention_mask = torch.cat([attention_mask.new_ones(attention_mask.shape[0], extra), attention_mask], 1)
            if not begun:
                embedded = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
                virtual = self.virtual_tokens.to(embedded).expand(embedded.shape[0], -1, -1)
                input_ids, inputs_embeds = None, torch.cat([virtual, embedded], dim=1)
            out = super().forward(
                input_ids=input_ids,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                inputs_embeds=inputs_embeds,
                use_cache=use_cache,
                logits_to_keep=logits_to_keep,
                **options,
            )
            if not begun:
                if not logits_to_keep:
                    out.logits = out.logits[:, extra:]
                if out.hidden_states is not None:
                    out.hidden_states = tuple(layer[:, extra:] for layer in out.hidden_states)
            return out

    Prompted.__name__ = Prompted.__qualname__ = model_class.__name__  # the library reads roles out of class names
    return Prompted
