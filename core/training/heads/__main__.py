"""The command: ``python -m core.training.heads NAME --data DIR (--seed N --out FOLDER | --evaluate [--head FOLDER])``.

With ``--choose FOLDER ...`` it copies the one of several trained seeds that validates best to ``--out``, with its card.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from core.errors import LabError
from core.settings import ASSETS
from core.training.heads.recipes import RECIPES


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says; figures go to standard output as JSON, progress to standard error."""
    parser = argparse.ArgumentParser(prog="python -m core.training.heads")
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, help="folder that holds the public data")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="folder that the head is written to")
    parser.add_argument("--max-steps", type=int, default=0, help="end after so many steps, to try the command")
    parser.add_argument("--evaluate", action="store_true", help="score a head on all held-out rows")
    parser.add_argument("--head", type=Path, help="folder of the head to score, by default the one that ships")
    parser.add_argument("--choose", type=Path, nargs="+", metavar="FOLDER", help="trained seeds to choose from")
    options = parser.parse_args(arguments)
    if options.choose is None and options.data is None:
        parser.error("--data says where the public data is")
    if options.out is None and not options.evaluate:
        parser.error("--out says where the head goes")
    try:
        result = _run(options)
    except LabError as error:
        parser.error(f"{error.what} {error.todo}")
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def _run(options: argparse.Namespace) -> dict[str, object]:
    from core.training.heads.training import figures, train_head

    recipe = RECIPES[options.name]
    if options.choose is not None:
        from core.training.heads.choosing import choose

        return choose(recipe, options.choose, options.out)
    if options.evaluate:
        folder = options.head or ASSETS / "models" / f"minilm-{recipe.name}"
        return figures(recipe, recipe.data(options.data), folder)
    return train_head(recipe, options.data, options.out, options.seed, _say, options.max_steps)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
