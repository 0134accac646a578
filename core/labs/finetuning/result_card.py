"""The README that goes with an exported model: what it is, how it is loaded, and what its certificate measured."""

from __future__ import annotations

from core.measure.parity import Certificate
from core.runtime.tuned import Tuned
from core.training.parameters import METHOD_TITLES

_CLASSES = {
    "language": "AutoModelForCausalLM",
    "classification": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
}
_ADAPTED = """\
from peft import PeftModel
from transformers import {auto_class}, AutoTokenizer

base = {auto_class}.from_pretrained("{base}"{labels})  # {where}
model = PeftModel.from_pretrained(base, "{here}").eval()
tokenizer = AutoTokenizer.from_pretrained("{here}")
"""
_WHOLE = """\
from transformers import {auto_class}, AutoTokenizer

model = {auto_class}.from_pretrained("{here}").eval()
tokenizer = AutoTokenizer.from_pretrained("{here}")
"""
_GRAPH = """\
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{here}", padding_side="right")
session = onnxruntime.InferenceSession("{here}/model.onnx")
inputs = tokenizer(["some text"], return_tensors="np", padding=True)
logits = session.run(["logits"], {{name: inputs[name] for name in ("input_ids", "attention_mask")}})[0]
"""


def result_card(tuned: Tuned, kind: str, certificate: Certificate | None = None) -> str:
    """Markdown with the front matter that the Hub reads. ``kind``: "zip", "hub", "merge" or "onnx"."""
    method = next((title for key, title in METHOD_TITLES.items() if key == tuned.card.method), tuned.card.method)
    adapted = tuned.attaches and kind in ("zip", "hub")
    template = _GRAPH if kind == "onnx" else _ADAPTED if adapted else _WHOLE
    labels = f", num_labels={len(tuned.card.labels)}" if tuned.head else ""
    named = "/" in tuned.base
    code = template.format(
        auto_class=_CLASSES[tuned.card.task], base=tuned.base, labels=labels, here=".",
        where="on the Hub" if named else "Benchtop's own: the folder assets/models/ of its repository",
    )  # fmt: skip
    front = ["---", f"library_name: {'peft' if adapted else 'onnx' if kind == 'onnx' else 'transformers'}"]
    front += [f"base_model: {tuned.base}"] if named else []
    parts = [
        "\n".join([*front, "tags:", "- benchtop", "---"]),
        f"# {tuned.title}",
        f"{method} on {tuned.base}, trained with Benchtop on {_data(tuned)}.",
        *([f"Labels, in order: {', '.join(tuned.card.labels)}."] if tuned.card.labels else []),
        f"```python\n{code}```",
    ]
    if certificate is not None:
        lines = "\n".join(f"| {' | '.join(line)} |" for line in certificate.lines())
        parts.append(f"## Certificate\n\n| measure | measured | allowed | result |\n|---|---|---|---|\n{lines}")
    return "\n\n".join(parts) + "\n"


def _data(tuned: Tuned) -> str:
    data = tuned.card.data
    return "a file of its owner's" if not data or data.startswith("upload:") else data
