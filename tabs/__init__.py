"""The page. ``LABS`` lists its tabs in order; each is built by a module of its own, imported when the page is built.

A lab's module offers ``build(frame: Frame) -> None``, which puts widgets into the tab that is open around it, and,
when the lab makes runs, ``reduce(state, record) -> list[Op]`` (see ``tabs.widgets.view_ops``), which draws their
logs. No tab imports another. This package imports neither Gradio nor torch by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gradio as gr

    from core.services import Services
    from tabs.widgets.identity import Visitor
    from tabs.widgets.view_ops import Reduce


@dataclass(frozen=True, slots=True)
class Lab:
    """One tab: its path in the address, its name, what one sees there, and the module that builds it."""

    path: str
    title: str
    sentence: str
    module: str

    def load(self) -> Any:
        """The module that builds this tab."""
        return import_module(self.module)

    def reduce(self) -> Reduce | None:
        """The lab's view function, or None for a tab without runs."""
        return getattr(self.load(), "reduce", None)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a tab is built with. ``tab`` is the open ``gr.Tab``: its ``select`` fires when the tab is looked at."""

    services: Services
    demo: gr.Blocks
    visitor: Visitor
    tab: gr.Tab
    tabs: gr.Tabs
    lab: Lab
    labs: tuple[Lab, ...]


LABS: tuple[Lab, ...] = (
    Lab("start", "Start", "What there is, and where to begin.", "tabs.start"),
    Lab(
        "decoding",
        "Decoding",
        "One model and prompt, several ways to choose the next token. Click a token to see what it was chosen from.",
        "tabs.decoding",
    ),
    Lab(
        "quantization",
        "Quantization",
        "The same model in fewer bits: what it saves, what it costs and why, measured on your own prompt.",
        "tabs.quantization",
    ),
    Lab(
        "finetuning",
        "Fine-tuning",
        "A model learns from your examples while you watch. The same rows before and after say what changed.",
        "tabs.finetuning",
    ),
    Lab(
        "strategies",
        "Strategies",
        "The same model and data, taught by full batches, mini-batches and single examples, on equal terms.",
        "tabs.strategies",
    ),
    Lab(
        "sentiment",
        "Sentiment",
        "A small encoder labels your texts. Ask which words decided, change one, measure it, and teach it better.",
        "tabs.sentiment",
    ),
    Lab(
        "entities",
        "Entities",
        "Every token gets a label, and labels become names: where they are, how sure the model is, and what is right.",
        "tabs.entities",
    ),
    Lab(
        "system",
        "System",
        "The devices, the models in memory and who uses them, your runs, and the settings in force.",
        "tabs.system",
    ),
)
