"""What the Strategies lab's events do: what every lab's do."""

from __future__ import annotations

from core.labs.strategies.request import StrategiesRequest
from tabs.widgets.lab_actions import LabActions


class Actions(LabActions[StrategiesRequest]):
    """The lab's actions for one page's services."""

    lab = "strategies"
    requests = StrategiesRequest
    note = "the same run in plain PyTorch and scikit-learn"
