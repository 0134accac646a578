"""An adapter worked into the weights: one model that needs no PEFT, in the base's full precision.

The merged model is written as safetensors with its tokenizer. An adapter that was trained beside 4-bit weights is
merged into the full-precision ones: merging into 4 bits would round away about as much as the adapter changes. Whether
nothing was lost is measured on the written files (``core.measure.parity``), not assumed.

Prompt tuning has nothing to merge: its numbers are no weights.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import BadInput
from core.runtime.attaching import merged_model
from core.runtime.loading import LoadedModel
from core.runtime.tuned import Tuned


def check_mergeable(tuned: Tuned) -> None:
    """Raise ``BadInput`` for a model without an adapter that could be merged."""
    if tuned.kind == "prompt":
        raise BadInput("A trained prompt cannot be merged: it is read before the text.", "Download it as it is.")
    if not tuned.attaches:
        raise BadInput("This model has no adapter: it is whole already.", "Download it as it is.")


def merge(base: LoadedModel, tuned: Tuned, tokenizer: object, destination: Path) -> None:
    """Write ``tuned`` merged into ``base`` to ``destination``. ``base`` itself stays as it is."""
    check_mergeable(tuned)
    save(merged_model(base.model, tuned, base.fresh), tokenizer, destination)


def save(model: object, tokenizer: object, destination: Path) -> None:
    """Write a model and its tokenizer where others of this account's groups may read them."""
    destination.mkdir(parents=True, exist_ok=True)
    for part in (model, tokenizer):
        part.save_pretrained(str(destination))  # type: ignore[attr-defined]  # transformers' own, untyped here
    for path in destination.iterdir():
        path.chmod(0o644)  # safetensors come out readable by the owner only
