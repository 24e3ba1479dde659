"""Write one HTML page about training runs: curves, scores, worst scenes, settings; works offline.

It takes runs that are finished, still going or were cut off; several are laid over each other, with
the differences of their configurations.

  pointseg report runs/rooms --out report.html
  pointseg report runs/first runs/second --out compared.html
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pointseg.cli import run_main
from pointseg.engine.run_history import config_differences, read_history
from pointseg.files import refuse_existing
from pointseg.visualization.run_page import write_run_page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page")
    parser.add_argument(
        "--pages",
        type=Path,
        metavar="DIR",
        help="folder that `pointseg visualize --out` wrote: the worst scenes link to their pages",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier page")


def run(args: argparse.Namespace) -> int:
    refuse_existing([args.out], args.overwrite)
    if args.pages is not None and not args.pages.is_dir():
        raise FileNotFoundError(f"{args.pages}: no such folder of scene pages (--pages)")
    runs = [read_history(path) for path in args.runs]
    for history in runs:
        for problem in history.problems:
            print(f"{history.path}: {problem}")
    write_run_page(args.out, runs, config_differences(runs), args.pages, args.overwrite)
    print(f"wrote {args.out}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
