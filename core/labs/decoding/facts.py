"""What the page says about the model in use: its shape, its size, and why it was placed where it is."""

from __future__ import annotations

from typing import Any

from core.catalog.facts import architecture_tree
from core.runtime.loading import LoadedModel


def megabytes(count: int) -> str:
    """Bytes as the page writes them: decimal MB, or GB from a thousand MB on."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def model_facts(loaded: LoadedModel) -> dict[str, Any]:
    """``{"title", "lines": [[name, value], ...], "tree": [...], "why"}``, plain JSON."""
    facts, placement = loaded.facts, loaded.placement
    grouped = f", {facts.kv_heads} key/value heads" if facts.kv_heads != facts.heads else ""
    beside = " of its own, beside its base" if loaded.spec.adapter else ""
    return {
        "title": facts.title,
        "lines": [
            ["Architecture", facts.architecture],
            ["Parameters", f"{facts.parameters:,}"],
            ["Shape", f"{facts.layers} layers x {facts.hidden_size}, {facts.heads} heads{grouped}"],
            ["Vocabulary", f"{facts.vocab_size:,} tokens"],
            ["Context", f"{facts.context:,} tokens"],
            ["Stored as", f"{facts.stored_dtype}, {megabytes(facts.weight_bytes)}"],
            ["Runs as", f"{placement.dtype} on {placement.device}"],
            ["In memory", f"{megabytes(loaded.bytes)}{beside} (measured)"],
            ["Licence", facts.licence or "not stated"],
        ],
        "tree": architecture_tree(facts),
        "why": placement.why,
    }
