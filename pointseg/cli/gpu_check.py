"""Check and measure the CUDA kernels on a machine with a GPU.

Tests on CUDA, CPU against CUDA, compute-sanitizer where it is installed, then the benchmark; one
JSON, eight minutes at most. It takes a checkout with both compiled libraries, torch with CUDA,
numpy and pytest. Exit status: 0 all is well, 1 something failed, 2 the kernels cannot run here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pointseg.cli import run_main


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        default="",
        help="parts to run, with commas: sweep, gpu_tests, sanitizer, benchmark; "
        "the environment is always looked at",
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the JSON (default: $OUT if set, or benchmarks/gpu)"
    )
    parser.add_argument("--commit", help="what was checked, where the checkout has no history")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="JSON",
        help="check nothing: write what this file says into --page",
    )
    parser.add_argument(
        "--page",
        type=Path,
        help="page with the two markers (default: docs/performance.md)",
    )


def run(args: argparse.Namespace) -> int:
    from pointseg.benchmark import gpu_check

    if args.table:
        from pointseg.benchmark.gpu_check.table import PAGE, page_text

        page = args.page or gpu_check.CHECKOUT / "docs" / "performance.md"
        PAGE.write(page, page_text(json.loads(args.table.read_text(encoding="utf-8"))))
        return 0
    if not (gpu_check.CHECKOUT / "tests" / "gpu").is_dir():
        raise ValueError(f"gpu-check runs the tests of a checkout; {gpu_check.CHECKOUT} has none")
    parts = gpu_check.chosen_parts([name for name in args.only.split(",") if name])
    folder = args.out or gpu_check.default_folder()
    return gpu_check.check(parts, folder, args.commit, _tell)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)
