"""A model as an ONNX graph for onnxruntime: ``input_ids`` and ``attention_mask`` in, ``logits`` out.

Both inputs may have any number of rows and any length up to the model's context. Padding stands on the right. The graph
computes in float32 and keeps no cache of keys and values: each call reads its texts from the start.

Of torch's two exporters the one by tracing is used: it takes half a second where the one by ``torch.export`` takes ten
and more, all of them in Python and so at the cost of whoever decodes beside it. Weights beyond what one file holds need
the other, which can put them beside the graph. Either graph is only as good as its certificate says.

Tracing one model changes nothing of it; ``OnnxModel`` runs the written file, which is what a certificate is about.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ONE_FILE = 1_500_000_000
"""Bytes of weights that still go into the graph's own file, whose format ends at 2 GB."""
OPSET = 17
INPUTS = ("input_ids", "attention_mask")


class _Logits(nn.Module):
    """A model whose only output is its logits."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model
        self._options = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        out = self._model(input_ids=input_ids, attention_mask=attention_mask, **self._options)
        logits: Tensor = out.logits
        return logits


def export_onnx(model: Any, path: Path) -> None:
    """Write ``model`` (in float32, in eval mode, on the CPU) as a graph to ``path``, large weights beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = torch.tensor([[1, 2, 3, 1, 2, 3, 1], [3, 2, 1, 3, 2, 1, 3]])
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    large = sum(parameter.numel() * 4 for parameter in model.parameters()) > ONE_FILE
    axes = {0: "batch", 1: "length"}
    if large:
        dynamic = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
        how: dict[str, Any] = {"dynamo": True, "external_data": True, "dynamic_shapes": dict.fromkeys(INPUTS, dynamic)}
    else:
        how = {"dynamo": False, "dynamic_axes": dict.fromkeys((*INPUTS, "logits"), axes), "opset_version": OPSET}
        if model.config.architectures and model.config.architectures[0].endswith("ForSequenceClassification"):
            how["dynamic_axes"]["logits"] = {0: "batch"}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # what the exporters say about themselves and about shapes they fix or not
        torch.onnx.export(
            _Logits(model).eval(),
            (ids, mask),
            str(path),
            input_names=list(INPUTS),
            output_names=["logits"],
            verbose=False,
            **how,
        )


class OnnxModel:
    """A graph run by onnxruntime on the CPU, on ``threads`` threads (0: as many as it likes)."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        import onnxruntime  # type: ignore[import-untyped]  # ships no types

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, T, C) or (B, C), float32."""
        given = {"input_ids": input_ids.cpu().numpy(), "attention_mask": attention_mask.cpu().numpy()}
        return torch.from_numpy(self._session.run(["logits"], given)[0])
