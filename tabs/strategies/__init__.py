"""The Strategies lab's tab: its widgets. What happens then is in ``tabs.strategies.actions``."""

from __future__ import annotations

import gradio as gr

from core.labs.strategies.presets import LESSON, PRESETS
from core.labs.strategies.request import StrategiesRequest
from tabs import Frame
from tabs.strategies.actions import Actions
from tabs.strategies.results import results
from tabs.strategies.view import reduce
from tabs.widgets.form import form
from tabs.widgets.heading import heading
from tabs.widgets.lab_tab import LabTab

__all__ = ["build", "reduce"]

GROUPS = {
    "Optimizer and schedule": ("momentum", "schedule", "warmup", "scaling"),
    "Regularization and stopping": ("weight_decay", "l1", "dropout", "patience"),
    "Data and sampling": ("examples", "noise", "label_noise", "sampling", "padding", "texts"),
    "Model sizes and seed": ("hidden", "layers", "embedding", "seed"),
}


def build(frame: Frame) -> None:
    """Put the lab into the open tab."""
    heading(frame.lab.title, frame.lab.sentence)
    Tab(frame)


class Tab(LabTab[StrategiesRequest]):
    """The lab's widgets, in their order on the page."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, Actions(frame.services))
        self.chips(PRESETS)
        with gr.Row(elem_classes=["bt-two"]):
            with gr.Column(elem_classes=["bt-controls"], min_width=280):
                self.form = form(StrategiesRequest, groups=GROUPS)
                self.run_buttons()
            with gr.Column(elem_classes=["bt-results"], min_width=320):
                self.view = results()
                self.below(LESSON, "five experiments, ten minutes")
        self.wire()
