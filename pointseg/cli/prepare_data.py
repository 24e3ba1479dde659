"""Prepare raw scenes for training: parsed once, stored as memory-mapped arrays.

Only scenes whose files, settings or format version changed are built again; an interrupted run goes
on where it stopped. Damaged prepared scenes are found by their checksums and rebuilt.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pointseg.cli import run_main
from pointseg.data import DATASETS, ScanNetReader, ScanNetSettings, prepare, resolve_root
from pointseg.data.scannet import SPLITS, LabelSource


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
        default="all",
        choices=(*SPLITS, "all"),
        help="scenes of one official split, or every scene there is (default)",
    )
    parser.add_argument(
        "--require-all", action="store_true", help="fail where a scene of the split is missing"
    )
    parser.add_argument(
        "--workers", type=int, help="processes; 0: this one alone (default: one a core)"
    )
    parser.add_argument(
        "--label-source",
        default="auto",
        choices=get_args(LabelSource),
        help="labels.ply, the annotation (aggregation, segments and category table), both "
        "compared, or whichever is there (auto, default)",
    )
    parser.add_argument("--align-axes", action="store_true", help="apply the scenes' axisAlignment")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    root = resolve_root(args.dataset, args.root)
    settings = ScanNetSettings(align_axes=args.align_axes, label_source=args.label_source)
    reader = ScanNetReader(root, settings)
    report = prepare(
        reader,
        reader.scene_dirs(args.split, args.require_all),
        args.out,
        dataset=args.dataset,
        workers=args.workers,
        show_progress=not args.quiet,
    )
    for message in report.failed.values():
        print(message, file=sys.stderr)
    print(report.summary())
    return 1 if report.failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)
