"""Whether a converted model still says what its original says: a certificate from measured numbers.

Both models read the same rows; every real position is compared. A certificate passes when
- the largest difference of a logit stays within ``tolerance`` times the logits' spread (their root mean square distance
  from their position's mean: a softmax does not see a shift, and a model with larger logits rounds more coarsely),
- the most probable choice agrees at ``top1`` of the positions at least, and
- the task's metric changes by no more than ``metric`` (perplexity by that share, accuracy by that much),
- and no number is NaN or infinite.

The tolerances follow the number format. Adding up in another order moves a float32 logit by about 1e-6 of the spread in
a small model and 1e-5 in a deep one; the mildest real fault (a lost scale, a layer left out) moves it by more than
1e-2. 1e-3 lies between, far from both. 16-bit weights are themselves rounded to 2^-9 or 2^-12 of their size, which a
merge does once more.

Nothing here loads or converts a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -100
"""A label that is not scored."""
Metric = Literal["perplexity", "accuracy"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a certificate allows: ``logit`` as a share of the spread, ``top1`` at least, ``metric`` at most."""

    logit: float
    top1: float
    metric: float


TOLERANCES = {
    "float32": Tolerance(1e-3, 0.99, 1e-3),
    "float16": Tolerance(2e-2, 0.98, 1e-2),
    "bfloat16": Tolerance(1e-1, 0.95, 2e-2),
}
"""By the coarser of the two models' number formats."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was measured. ``max_delta`` and ``spread`` are in logits; ``before`` and ``after`` are the task's metric."""

    what: str
    rows: int
    positions: int
    max_delta: float
    spread: float
    top1: float
    metric: Metric
    before: float
    after: float
    tolerance: Tolerance
    dtype: str

    @property
    def relative_delta(self) -> float:
        """The largest difference as a share of the spread."""
        return self.max_delta / self.spread if self.spread > 0 else (0.0 if self.max_delta == 0 else math.inf)

    @property
    def metric_change(self) -> float:
        """Accuracy after less before; perplexity's change as a share of before."""
        change = self.after - self.before
        return change / self.before if self.metric == "perplexity" and self.before else change

    @property
    def faults(self) -> tuple[str, ...]:
        """Which conditions do not hold, in words; empty for a pass."""
        numbers = (self.max_delta, self.spread, self.before, self.after)
        if not self.positions:
            return ("nothing was compared",)
        if not all(math.isfinite(number) for number in numbers):
            return ("a number is not finite",)
        found = []
        if self.relative_delta > self.tolerance.logit:
            found.append(f"a logit differs by {self.relative_delta:.2g} of the spread")
        if self.top1 < self.tolerance.top1:
            found.append(f"the first choice agrees at {self.top1:.1%} of the positions")
        if abs(self.metric_change) > self.tolerance.metric:
            found.append(f"{self.metric} changes by {self.metric_change:+.2g}")
        return tuple(found)

    @property
    def passed(self) -> bool:
        return not self.faults

    def lines(self) -> tuple[tuple[str, str, str, str], ...]:
        """(what, measured, allowed, "pass" | "fail" | ""), the verdict first."""
        unit = " of it" if self.metric == "perplexity" else ""
        share = self.tolerance.logit

        def verdict(holds: bool) -> str:
            return "pass" if holds else "fail"

        return (
            ("verdict", self.what, "; ".join(self.faults), verdict(self.passed)),
            (
                "max |Δ logit|", f"{self.max_delta:.2g}", f"{share:g} × spread {self.spread:.3g} = "
                f"{share * self.spread:.2g}", verdict(self.relative_delta <= share),
            ),
            (
                "top-1 agreement", f"{self.top1:.2%}", f"at least {self.tolerance.top1:.0%}",
                verdict(self.top1 >= self.tolerance.top1),
            ),
            (
                self.metric, f"{self.before:.4f} → {self.after:.4f}",
                f"changes by {self.tolerance.metric:g}{unit} at most",
                verdict(abs(self.metric_change) <= self.tolerance.metric),
            ),
            ("compared", f"{self.positions:,} positions of {self.rows:,} rows", f"in {self.dtype}", ""),
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """Plain JSON, for results and files; what is not finite is None."""
        numbers = {
            "max_delta_logit": self.max_delta, "logit_spread": self.spread, "relative_delta": self.relative_delta,
            "top1_agreement": self.top1, "metric_before": self.before, "metric_after": self.after,
            "metric_change": self.metric_change,
        }  # fmt: skip
        return {
            "what": self.what, "passed": self.passed, "faults": list(self.faults), "rows": self.rows,
            "positions": self.positions, "metric": self.metric, "dtype": self.dtype,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "tolerance": {"logit": self.tolerance.logit, "top1": self.tolerance.top1, "metric": self.tolerance.metric},
        }  # fmt: skip


@dataclass(slots=True)
class Parity:
    """Compares batch after batch and keeps sums only. ``metric`` is what the task is measured by."""

    metric: Metric
    dtype: str = "float32"
    rows: int = 0
    positions: int = 0
    max_delta: float = 0.0
    _squares: float = 0.0
    _numbers: int = 0
    _agree: int = 0
    _scored: int = 0
    _losses: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _right: list[int] = field(default_factory=lambda: [0, 0])

    @torch.no_grad()
    def add(self, before: Tensor, after: Tensor, labels: Tensor, real: Tensor) -> None:
        """One batch: logits (..., C) of both models, the label of each position, and which positions are real.

        A position's label is what its logits should name (for text, the next token); IGNORED where there is none.
        """
        before, after = before.detach().float().cpu(), after.detach().float().cpu()
        labels, real = labels.cpu(), real.cpu().bool()
        self.rows += before.shape[0]
        first, second, wanted = before[real], after[real], labels[real]
        if not wanted.numel():
            return
        self.positions += wanted.numel()
        delta = (first - second).abs().max()
        self.max_delta = (
            math.nan if math.isnan(self.max_delta) or bool(delta.isnan()) else max(self.max_delta, float(delta))
        )
        centred = (first - first.mean(-1, keepdim=True)).double()
        self._squares += float(centred.square().sum())
        self._numbers += centred.numel()
        self._agree += int((first.argmax(-1) == second.argmax(-1)).sum())
        scored = wanted != IGNORED
        self._scored += int(scored.sum())
        for index, logits in enumerate((first, second)):
            self._losses[index] += float(functional.cross_entropy(logits[scored], wanted[scored], reduction="sum"))
            self._right[index] += int((logits[scored].argmax(-1) == wanted[scored]).sum())

    def certificate(self, what: str, tolerance: Tolerance | None = None) -> Certificate:
        """What all batches come to. ``what`` names the two that were compared."""
        before, after = (self._metric(index) for index in (0, 1))
        return Certificate(
            what=what,
            rows=self.rows,
            positions=self.positions,
            max_delta=self.max_delta,
            spread=math.sqrt(self._squares / self._numbers) if self._numbers else 0.0,
            top1=self._agree / self.positions if self.positions else 0.0,
            metric=self.metric,
            before=before,
            after=after,
            tolerance=tolerance or TOLERANCES[self.dtype],
            dtype=self.dtype,
        )

    def _metric(self, index: int) -> float:
        if not self._scored:
            return math.nan
        if self.metric == "accuracy":
            return self._right[index] / self._scored
        nats = self._losses[index] / self._scored
        return math.exp(nats) if nats < 700 else math.inf
