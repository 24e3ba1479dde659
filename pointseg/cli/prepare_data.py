"""Prepare raw scenes for training: parsed once, stored as memory-mapped arrays. Or check them.

Only scenes whose files, settings or format version changed are built again; an interrupted run goes
on where it stopped. Damaged prepared scenes are found by their checksums and rebuilt. With --check
nothing is written: all scenes are read, and everything that is wrong with them is listed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from pointseg.cli import run_main
from pointseg.data import (
    ALL,
    DATASETS,
    find_spec,
    prepare,
    present_scenes,
    resolve_root,
    split_lists,
)
from pointseg.data.doctor import examine
from pointseg.files import refuse_existing, written_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", default="scannet", choices=sorted(DATASETS))
    parser.add_argument(
        "--root", type=Path, help="folder of the raw scenes (default: $POINTSEG_DATA/<dataset>)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for the prepared scenes (default: <root>/prepared); any other folder is given "
        "to training as data.root",
    )
    parser.add_argument(
        "--split",
        default=ALL,
        help="scenes of one split, of several joined by +, or every scene there is (default: all)",
    )
    parser.add_argument(
        "--require-all",
        action="store_true",
        help="fail where a scene of the split is missing; with --check also where the complete "
        "release has more",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting of the dataset's reader, such as align_axes=true of scannet (repeatable)",
    )
    parser.add_argument(
        "--workers", type=int, help="processes; 0: this one alone (default: one a core)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; list all that is wrong with the scenes"
    )
    parser.add_argument("--json", type=Path, help="with --check: also write the findings there")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier file of --json"
    )


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if args.json is not None and not args.check:
        raise ValueError("--json: only --check writes findings; pass both, or neither")
    if args.overwrite and args.json is None:
        raise ValueError("--overwrite: it replaces the file of --json; pass both, or neither")
    return _check(args) if args.check else _prepare(args)


def _prepare(args: argparse.Namespace) -> int:
    spec, root = find_spec(args.dataset), resolve_root(args.dataset, args.root)
    if not spec.prepared:
        raise ValueError(
            f"{args.dataset} is read straight from its files, so there is nothing to prepare; "
            "--check looks at all of them"
        )
    reader = spec.open(root, _options(args.option))
    report = prepare(
        reader,
        present_scenes(reader, args.split, spec, args.require_all),
        args.out if args.out is not None else root / spec.prepared_in,
        dataset=args.dataset,
        splits=split_lists(reader, spec),
        workers=args.workers,
        show_progress=not args.quiet,
    )
    for message in report.failed.values():
        print(message, file=sys.stderr)
    print(report.summary())
    return 1 if report.failed else 0


def _check(args: argparse.Namespace) -> int:
    if args.out is not None:
        raise ValueError("--out: --check writes no scenes; --json takes its findings")
    refuse_existing([] if args.json is None else [args.json], args.overwrite)
    root = resolve_root(args.dataset, args.root)
    report = examine(
        args.dataset,
        root,
        args.split,
        options=_options(args.option),
        require_all=args.require_all,
        workers=args.workers,
        show_progress=not args.quiet,
    )
    console = Console()
    for table in report.tables():
        console.print(table)
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(f"problem: {problem}", file=sys.stderr)
    print(report.summary())
    if args.json is not None:
        with written_whole(args.json, args.overwrite) as temporary:
            text = json.dumps(report.to_dict(), indent=1, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        print(f"wrote {args.json}")
    return 1 if report.problems else 0


def _options(texts: Sequence[str]) -> dict[str, Any]:
    options = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--option: expected KEY=VALUE, got {text!r}")
        options[key] = yaml.safe_load(value)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)
