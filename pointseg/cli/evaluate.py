"""Score a trained model on every raw point of a split, and write the scores and a heat map.

One forward pass per scene, without augmentation or voting ("single pass, raw points"), unless --tta
sums several views; scored by the rule of the dataset's benchmark. Prints a table of the classes;
with --out also writes evaluation.json and confusion.html (works offline).

  pointseg evaluate --checkpoint runs/kitti --rings --out scores
  pointseg evaluate --checkpoint runs/rooms --boundary 0.1
  pointseg evaluate --sixfold runs/area1 runs/area2 ... runs/area6 --out scores
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointseg.cli import run_main
from pointseg.cli._folds import is_report, score_folds
from pointseg.cli._idle import prediction_options, refuse_idle
from pointseg.cli._protocol import (
    add_protocol_arguments,
    planned_protocol,
    protocol_of,
    view_loader,
)
from pointseg.cli._reports import planned, publish
from pointseg.cli._trained import (
    add_model_arguments,
    check_classes,
    load_model,
    open_split,
    scored_data,
    shown,
)
from pointseg.data import find_spec
from pointseg.data.registry import listed_scenes, open_settled
from pointseg.evaluation import (
    BoundaryArea,
    DistanceRings,
    PartCounter,
    PointSubsets,
    Protocol,
    SegReport,
    evaluate,
)
from pointseg.evaluation.folds import FoldOutline
from pointseg.evaluation.rings import DEFAULT_EDGES_M
from pointseg.experiment import Trained, load_trained, metric_rule
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
        help="also score lidar scans by distance from the sensor (default edges: "
        f"{' '.join(f'{edge:g}' for edge in DEFAULT_EDGES_M)})",
    )
    parser.add_argument(
        "--boundary",
        type=float,
        metavar="RADIUS_M",
        help="also score points within this distance of another class, and all others",
    )
    add_protocol_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for JSON and heat map")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")


def run(args: argparse.Namespace) -> int:
    if bool(args.checkpoint) == bool(args.sixfold):
        raise ValueError("pass either --checkpoint, or --sixfold with the runs of all folds")
    _refuse_idle(args)
    refuse_existing(planned(args.out), args.overwrite)
    report, context = _folds(args) if args.sixfold else _one(args)
    publish(report, args.out, context, args.overwrite)
    return 0


def _refuse_idle(args: argparse.Namespace) -> None:
    if args.out is None:
        refuse_idle({"--overwrite": args.overwrite}, "nothing is written without --out")
    if args.sixfold:
        refuse_idle(
            {"--split": args.split},
            "it does not go with --sixfold, where each run is scored on its data.val_split",
        )
    if args.sixfold and all(map(is_report, args.sixfold)):
        parts = {"--rings": args.rings, "--boundary": args.boundary}
        refuse_idle(
            {**parts, **prediction_options(args)},
            "nothing is scored again where --sixfold has evaluation.json files only; ask for it "
            "when they are written",
        )


def _one(args: argparse.Namespace) -> tuple[SegReport, dict[str, Any]]:
    trained = load_model(args)
    split = args.split or trained.config.data.val_split
    subsets = _subsets(args, trained)
    report = score(trained, split, protocol_of(args, trained), subsets)
    return report, {"checkpoint": str(args.checkpoint)}


def _folds(args: argparse.Namespace) -> tuple[SegReport, dict[str, Any]]:
    def score_run(path: Path) -> SegReport:
        trained = load_model(argparse.Namespace(**{**vars(args), "checkpoint": path}))
        split, subsets = trained.config.data.val_split, _subsets(args, trained)
        return score(trained, split, protocol_of(args, trained), subsets)

    return score_folds(args.sixfold, lambda path: _outline(args, path), score_run)


def _outline(args: argparse.Namespace, path: Path) -> FoldOutline:
    """How a run is going to be scored, as far as that is known without a forward pass."""
    trained = load_trained(path, args.set)
    data = trained.config.data
    check_classes(trained, find_spec(data.dataset).label_map)
    reader = open_settled(data.dataset, data.root, data.options)
    scene_ids = listed_scenes(reader.listed, data.val_split)
    return FoldOutline(
        data.val_split,
        scene_ids,
        trained.label_map.names,
        planned_protocol(args, trained).name,
        metric_rule(data.dataset).name,
        {name: subset.statement for subset in _subsets(args, trained) for name in subset.names},
        scored_data(trained, data.val_split, scene_ids),
    )


def score(
    trained: Trained, split: str, protocol: Protocol, subsets: Sequence[PointSubsets] = ()
) -> SegReport:
    """The report of a model over a split, with the parts that ``subsets`` choose."""
    dataset = open_split(trained, split)
    data = scored_data(trained, split, dataset.scene_ids)
    _note_gap(split, len(dataset), data.num_scenes_in_release)
    index = {scene_id: number for number, scene_id in enumerate(dataset.scene_ids)}
    rule = metric_rule(trained.config.data.dataset)
    counter = PartCounter(
        subsets, trained.label_map.num_classes, lambda scene: dataset.point_cloud(index[scene])
    )
    loader = view_loader(trained, dataset, protocol)
    with trained.autocast():
        report = evaluate(
            trained.model,
            shown(loader, len(loader), f"evaluating {split}"),
            trained.label_map,
            protocol,
            counter.count if subsets else None,
            rule=rule,
            split=split,
        )
    return report.with_parts(counter.parts(rule)).with_data(data)


def _note_gap(split: str, num_scenes: int, in_release: int | None) -> None:
    if in_release is not None and num_scenes < in_release:
        print(
            f"note: split {split!r} has {in_release} scenes in the complete release, but only "
            f"{num_scenes} are here to be scored",
            file=sys.stderr,
        )


def _subsets(args: argparse.Namespace, trained: Trained) -> list[PointSubsets]:
    subsets: list[PointSubsets] = []
    if args.rings is not None:
        dataset = trained.config.data.dataset
        if not find_spec(dataset).sensor_at_origin:
            raise ValueError(
                f"--rings are distances from a lidar, and scenes of {dataset!r} do not have one at "
                "their origin; leave it out, or count other parts of the points with "
                "pointseg.evaluation.PartCounter"
            )
        edges_m = tuple(args.rings) or DEFAULT_EDGES_M
        subsets.append(DistanceRings(edges_m, sensor_at_origin=True))
    if args.boundary is not None:
        subsets.append(BoundaryArea(args.boundary))
    return subsets


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
