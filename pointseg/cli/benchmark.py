"""Measure operators against plain torch and print a table of ratios."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pointseg.cli import PACKAGE_DIR, run_main

# Threads that spin while they wait slow down whoever runs between them. OpenMP reads this when it
# is loaded, so the measuring process has to be started with it.
WAIT_POLICY = "OMP_WAIT_POLICY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", help="what to measure: ops, codebook, data, model")
    parser.add_argument("--quick", action="store_true", help="one small room, fewer repeats")
    parser.add_argument("--threads", type=int, help="threads for ours (default: torch's choice)")
    parser.add_argument(
        "--voxels",
        type=_numbers,
        help="suite model: time, memory and linear fits at these sizes (100000,200000,...)",
    )
    parser.add_argument("--json", type=Path, help="write header and rows to this file")
    parser.add_argument("--markdown", type=Path, help="write the rows as a markdown table")


def run(args: argparse.Namespace) -> int:
    if WAIT_POLICY not in os.environ:
        # The same pointseg, also where it is not installed.
        paths = [str(PACKAGE_DIR.parent), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            WAIT_POLICY: "passive",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        command = [sys.executable, "-m", "pointseg", "benchmark", *_argv(args)]
        return subprocess.run(command, env=environment, check=False).returncode

    import torch

    from pointseg import benchmark

    if args.suite not in benchmark.SUITES:
        raise ValueError(
            f"suite: expected one of {', '.join(benchmark.SUITES)}, got {args.suite!r}"
        )
    if args.threads is not None and args.threads < 1:
        raise ValueError(f"--threads: expected at least 1, got {args.threads}")
    if args.voxels and args.suite != "model":
        raise ValueError(f"--voxels: only suite model has sizes to choose, not {args.suite}")
    options = benchmark.Options(
        args.threads or torch.get_num_threads(), args.quick, voxels=args.voxels or ()
    )
    suite = benchmark.SUITES[args.suite]
    head = benchmark.header(args.suite, suite.rooms(options), options.threads, options.quick)
    if head["busy"]:
        print(f"warning: load average {head['load_average']}, figures will be off", file=sys.stderr)
    rows = []
    for row in suite.run(options):
        rows.append(row)
        ratio = "" if row.ratio is None else f", x{row.ratio:.2f}"
        print(f"{row.case}: {row.ours:.4g} {row.unit}{ratio}", file=sys.stderr, flush=True)
    benchmark.print_table(head, rows)
    if args.json:
        benchmark.write_json(args.json, head, rows)
    if args.markdown:
        args.markdown.write_text(benchmark.markdown_table(rows), encoding="utf-8")
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in text.split(","))
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers of voxels above 0, got {text}")
    return numbers


def _argv(args: argparse.Namespace) -> list[str]:
    argv = [args.suite, *(["--quick"] if args.quick else [])]
    if args.voxels:
        argv += ["--voxels", ",".join(map(str, args.voxels))]
    for name in ("threads", "json", "markdown"):
        value = getattr(args, name)
        if value is not None:
            argv += [f"--{name}", str(value)]
    return argv


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)
