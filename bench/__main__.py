"""``python -m bench NAME...`` runs these benches, ``python -m bench`` all of them.

The last line of each is ``bench NAME: ratio R (goal G) pass|short``; the exit status is 0 only if all of them pass.
Several benches run one after the other, each in a process of its own, so that none finds the libraries warmed up.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

FOLDER = Path(__file__).resolve().parent


class Bench(Protocol):
    """What a bench module offers."""

    NAME: str
    GOAL: float
    HIGHER_IS_BETTER: bool
    measure: Callable[[], float]


def bench_names() -> tuple[str, ...]:
    """The benches, sorted, found by reading the sources: nothing is imported."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if _declares_a_name(path)))


def _declares_a_name(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    targets = [target for statement in body if isinstance(statement, ast.Assign) for target in statement.targets]
    return any(isinstance(target, ast.Name) and target.id == "NAME" for target in targets)


def verdict(bench: Bench, ratio: float) -> tuple[bool, str]:
    """Whether the goal is reached, and the line that says so. A ratio that is not a number reaches no goal."""
    reached = ratio >= bench.GOAL if bench.HIGHER_IS_BETTER else ratio <= bench.GOAL
    return reached, f"bench {bench.NAME}: ratio {ratio:.3g} (goal {bench.GOAL:g}) {'pass' if reached else 'short'}"


def run_one(name: str) -> int:
    """Measure one bench in this process and print its verdict; 0 if it passes."""
    bench = cast(Bench, importlib.import_module(f"bench.{name}"))
    reached, line = verdict(bench, bench.measure())
    print(line, flush=True)
    return 0 if reached else 1


def run_several(names: Sequence[str]) -> int:
    """Run each in a fresh process; 0 if all pass. One that falls short or breaks does not keep the others back."""
    codes = [
        subprocess.run([sys.executable, "-m", "bench", name], cwd=FOLDER.parent, check=False).returncode
        for name in names
    ]
    return 1 if any(codes) else 0


def main(arguments: Sequence[str]) -> int:
    """The command line. A name that is no bench gets the list of those there are, and status 2."""
    known = bench_names()
    unknown = [name for name in arguments if name not in known]
    if unknown:
        print(f"There is no bench {', '.join(unknown)}. There are: {', '.join(known)}.", file=sys.stderr)
        return 2
    names = arguments or known
    return run_one(names[0]) if len(names) == 1 else run_several(names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
