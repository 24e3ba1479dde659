"""Score a trained model on every raw point of a split, and write the scores and a heat map.

One forward pass per scene, without augmentation or voting ("single pass, raw points"), scored by
the rule of the dataset's benchmark. Prints a table of the classes; with --out also writes
evaluation.json and confusion.html (works offline).

  pointseg evaluate --checkpoint runs/kitti --rings --out scores
  pointseg evaluate --checkpoint runs/rooms --boundary 0.1
  pointseg evaluate --sixfold runs/area1 runs/area2 ... runs/area6 --out scores
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from pointseg.cli import run_main
from pointseg.cli._folds import score_folds
from pointseg.cli._trained import add_model_arguments, load_model, open_split, shown
from pointseg.evaluation import (
    BoundaryArea,
    DistanceRings,
    PartCounter,
    PointSubsets,
    SegReport,
    evaluate_single_pass,
    write_heatmap,
    write_json,
)
from pointseg.evaluation.rings import DEFAULT_EDGES_M
from pointseg.experiment import Trained, build_loader, load_trained, metric_rule
from pointseg.files import refuse_existing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser, required=False)
    parser.add_argument(
        "--split", help="split to score (default: the configuration's data.val_split)"
    )
    parser.add_argument(
        "--sixfold",
        nargs="+",
        default=[],
        metavar="RUN",
        type=Path,
        help="instead of --checkpoint: the runs of a cross-validation, each scored on its own "
        "data.val_split, or what evaluation.json files say of them; their confusion matrices are "
        "summed",
    )
    parser.add_argument(
        "--rings",
        nargs="*",
        type=float,
        metavar="EDGE_M",
        help="also score by distance from the sensor (default edges: "
        f"{' '.join(f'{edge:g}' for edge in DEFAULT_EDGES_M)})",
    )
    parser.add_argument(
        "--boundary",
        type=float,
        metavar="RADIUS_M",
        help="also score points within this distance of another class, and all others",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for JSON and heat map")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")


def run(args: argparse.Namespace) -> int:
    if bool(args.checkpoint) == bool(args.sixfold):
        raise ValueError("pass either --checkpoint, or --sixfold with the runs of all folds")
    outputs = (
        [args.out / name for name in ("evaluation.json", "confusion.html")] if args.out else []
    )
    refuse_existing(outputs, args.overwrite)
    report, context = _folds(args) if args.sixfold else _one(args)
    console = Console()
    for table in (report.table(), *report.part_tables()):
        console.print(table)
    if outputs:
        write_json(report, outputs[0], context, args.overwrite)
        write_heatmap(report, outputs[1], args.overwrite)
        print(f"wrote {outputs[0]} and {outputs[1]}")
    print(report.headline)
    return 0


def _one(args: argparse.Namespace) -> tuple[SegReport, dict[str, Any]]:
    trained = load_model(args)
    report = score(trained, args.split or trained.config.data.val_split, _subsets(args))
    return report, {"checkpoint": str(args.checkpoint)}


def _folds(args: argparse.Namespace) -> tuple[SegReport, dict[str, Any]]:
    if args.split:
        raise ValueError("--split does not go with --sixfold: each run scores its data.val_split")
    subsets = _subsets(args)

    def score_run(path: Path) -> SegReport:
        trained = load_model(argparse.Namespace(**{**vars(args), "checkpoint": path}))
        return score(trained, trained.config.data.val_split, subsets)

    return score_folds(args.sixfold, lambda path: load_trained(path, args.set).config, score_run)


def score(trained: Trained, split: str, subsets: Sequence[PointSubsets] = ()) -> SegReport:
    """The report of a model over a split, with the parts that ``subsets`` choose."""
    dataset = open_split(trained, split)
    index = {scene_id: number for number, scene_id in enumerate(dataset.scene_ids)}
    rule = metric_rule(trained.config.data.dataset)
    counter = PartCounter(
        subsets, trained.label_map.num_classes, lambda scene: dataset.point_cloud(index[scene])
    )
    loader = build_loader(trained.config, dataset, training=False)
    with trained.autocast():
        report = evaluate_single_pass(
            trained.model,
            shown(loader, len(loader), f"evaluating {split}"),
            trained.label_map,
            counter.count if subsets else None,
            rule=rule,
            split=split,
        )
    return report.with_parts(counter.parts(rule))


def _subsets(args: argparse.Namespace) -> list[PointSubsets]:
    subsets: list[PointSubsets] = []
    if args.rings is not None:
        subsets.append(DistanceRings(tuple(args.rings) or DEFAULT_EDGES_M))
    if args.boundary is not None:
        subsets.append(BoundaryArea(args.boundary))
    return subsets


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
