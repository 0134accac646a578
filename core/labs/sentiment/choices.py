"""What a sentiment run can be asked for, by the names that requests, links and scripts use. Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What a run does with the texts."""

    LABEL = "label"
    EXPLAIN = "explain"
    WHATIF = "whatif"
    BIAS = "bias"
    EVALUATE = "evaluate"
    COMPARE = "compare"


class Long(StrEnum):
    """What happens to a text of more tokens than the model reads."""

    WINDOWS = "windows"
    TRUNCATE = "truncate"


class Swap(StrEnum):
    """Which edits are tried beside the visitor's own."""

    NEGATION = "negation"
    GENDER = "gender"
    NAME = "name"


class Axis(StrEnum):
    """By what the groups of a bias probe differ."""

    GENDER = "gender"
    ORIGIN = "origin"
    AGE = "age"
    RELIGION = "religion"


MODE_TITLES = {
    Mode.LABEL: "Label texts",
    Mode.EXPLAIN: "Why",
    Mode.WHATIF: "What if",
    Mode.BIAS: "Bias probe",
    Mode.EVALUATE: "Evaluate",
    Mode.COMPARE: "Compare models",
}
LONG_TITLES = {Long.WINDOWS: "In overlapping windows", Long.TRUNCATE: "Cut at the limit"}
SWAP_TITLES = {Swap.NEGATION: "Negation", Swap.GENDER: "Gender", Swap.NAME: "Name"}
AXIS_TITLES = {Axis.GENDER: "Gender", Axis.ORIGIN: "Origin of the name", Axis.AGE: "Age", Axis.RELIGION: "Religion"}
