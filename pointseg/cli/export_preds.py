"""Write predicted labels of a split as files, or check a folder or zip of them.

Per scene: <scene>.txt as the benchmark wants it (raw ids such as nyu40, one per vertex),
<scene>.npy (int16 train ids) and <scene>.ply (coloured by class). With --choices also
<scene>.choices.npz: which codebook entry each stage of the model chose. With --check, nothing is
predicted: the files are compared with the split's scenes, and every problem is listed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pointseg.cli import run_main
from pointseg.cli._trained import add_model_arguments, load_model, open_split, shown
from pointseg.data import DATASETS, find_spec, open_reader
from pointseg.evaluation import (
    FORMATS,
    check_submission,
    predict_points,
    split_point_counts,
    write_labels,
)
from pointseg.evaluation.choice_files import choices_path, write_choices
from pointseg.evaluation.choices import predict_points_and_choices, stage_regions
from pointseg.evaluation.label_files import label_paths
from pointseg.experiment import build_loader
from pointseg.files import refuse_existing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser, required=False)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the files")
    parser.add_argument(
        "--split", help="split to predict or check (default: data.val_split, or val)"
    )
    parser.add_argument(
        "--format",
        nargs="+",
        default=["txt"],
        choices=FORMATS,
        help="files to write (default: txt)",
    )
    parser.add_argument(
        "--choices",
        action="store_true",
        help="also write what each stage chose for every point (models with codebook blocks)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier files in --out")
    check = parser.add_argument_group("checking")
    check.add_argument("--check", type=Path, metavar="PATH", help="folder or zip to check")
    check.add_argument(
        "--dataset", default="scannet", choices=sorted(DATASETS), help="whose scenes it labels"
    )
    check.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="the scenes that it must label, raw or prepared (default: $POINTSEG_DATA/<dataset>)",
    )
    check.add_argument(
        "--partial",
        action="store_true",
        help="expect only those scenes of the split that are under --root",
    )


def run(args: argparse.Namespace) -> int:
    if args.check is not None:
        return _check(args)
    if args.checkpoint is None or args.out is None:
        raise ValueError("pass --checkpoint and --out to export, or --check to check")
    return _export(args)


def _export(args: argparse.Namespace) -> int:
    trained = load_model(args)
    stages = stage_regions(trained.model) if args.choices else {}
    split = args.split or trained.config.data.val_split
    dataset = open_split(trained, split)
    outputs = [p for scene in dataset.scene_ids for p in label_paths(args.out, scene, args.format)]
    if args.choices:
        outputs += [choices_path(args.out, scene) for scene in dataset.scene_ids]
    refuse_existing(outputs, args.overwrite)
    loader = build_loader(trained.config, dataset, training=False)
    index_of = {scene_id: index for index, scene_id in enumerate(dataset.scene_ids)}
    num_points = 0
    for batch in shown(loader, len(loader), f"exporting {split}"):
        with trained.autocast():
            if args.choices:
                scenes = predict_points_and_choices(trained.model, batch)
            else:
                scenes = [(pred, {}) for pred in predict_points(trained.model, batch)]
        for scene_id, (pred, choices) in zip(batch.scene_ids, scenes, strict=True):
            cloud = dataset.point_cloud(index_of[scene_id])
            write_labels(args.out, cloud, pred, trained.label_map, args.format, args.overwrite)
            if choices:
                write_choices(args.out, scene_id, choices, args.overwrite)
            num_points += len(pred)
    written = [*args.format, *([f"choices ({', '.join(stages)})"] if args.choices else [])]
    print(
        f"wrote {', '.join(written)} of {len(index_of)} scenes ({num_points:,} points) "
        f"to {args.out} (single pass, raw points)"
    )
    return 0


def _check(args: argparse.Namespace) -> int:
    spec, reader = find_spec(args.dataset), open_reader(args.dataset, args.root)
    sizes = split_point_counts(reader, args.split or "val")
    if args.partial:
        sizes = {scene: size for scene, size in sizes.items() if size is not None}
    result = check_submission(args.check, sizes, spec.label_map.raw_ids)
    for note in result.notes:
        print(f"note: {note}")
    for problem in result.problems:
        print(f"problem: {problem}", file=sys.stderr)
    print(
        f"{args.check}: {result.num_scenes} of {len(sizes)} scenes right "
        f"({result.num_points:,} vertices), {len(result.problems)} problems"
    )
    return 0 if result.ok else 1


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
