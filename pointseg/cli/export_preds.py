"""Write predicted labels of a split as files or as a benchmark's submission, or check one.

With --out, per scene: <scene>.txt (raw ids such as nyu40, one per point), <scene>.npy (int16 train
ids) and <scene>.ply (coloured by class); with --choices also <scene>.choices.npz: which codebook
entry each stage of the model chose. With --submission, the zip or folder that the server of the
data set's benchmark takes. With --check, nothing is predicted: a submission is compared with the
split's scenes, and every problem is listed; --score tells what its labels are worth.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from pointseg.cli import run_main
from pointseg.cli._submissions import check, open_target, read_extra_files, sizes_to_hand_in
from pointseg.cli._trained import add_model_arguments, load_model, open_split, shown
from pointseg.data import DATASETS, SceneDataset
from pointseg.evaluation import FORMATS, predict_points, write_labels, written_submission
from pointseg.evaluation.choice_files import choices_path, write_choices
from pointseg.evaluation.choices import StageChoice, predict_points_and_choices, stage_regions
from pointseg.evaluation.label_files import label_paths
from pointseg.evaluation.submission import SubmissionWriter
from pointseg.experiment import Trained, build_loader
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
        help="files to write to --out (default: txt)",
    )
    parser.add_argument(
        "--choices",
        action="store_true",
        help="also write what each stage chose for every point (models with codebook blocks)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier files")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="hand in, or expect, only those scenes of the split that are on disk",
    )
    submission = parser.add_argument_group("a submission")
    submission.add_argument(
        "--submission",
        type=Path,
        metavar="PATH",
        help="zip (a name that ends in .zip) or new folder, as the benchmark's server takes it",
    )
    submission.add_argument(
        "--with",
        dest="extra_files",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of your own for it, such as description.txt or submission.json",
    )
    checking = parser.add_argument_group("checking")
    checking.add_argument("--check", type=Path, metavar="PATH", help="folder or zip to check")
    checking.add_argument(
        "--dataset", default="scannet", choices=sorted(DATASETS), help="whose scenes it labels"
    )
    checking.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="the scenes that it must label, raw or prepared (default: $POINTSEG_DATA/<dataset>)",
    )
    checking.add_argument(
        "--score",
        action="store_true",
        help="score a submission without problems against the labels of the split; with --out "
        "also write evaluation.json and confusion.html",
    )


def run(args: argparse.Namespace) -> int:
    if args.check is not None:
        if args.submission is not None or args.extra_files:
            raise ValueError("--check writes nothing; write the --submission first, then check it")
        return check(args)
    if args.checkpoint is None or (args.out is None and args.submission is None):
        raise ValueError(
            "pass --checkpoint with --out or --submission to export, or --check to check"
        )
    _refuse_idle(args)
    return _export(args)


def _refuse_idle(args: argparse.Namespace) -> None:
    """ValueError for options that would do nothing."""
    if args.choices and args.out is None:
        raise ValueError("--choices writes files; pass --out, the folder for them")
    if args.submission is None and (args.extra_files or args.partial):
        option = "--partial" if args.partial else "--with"
        raise ValueError(f"{option} is about a submission; pass --submission too")
    if args.score:
        raise ValueError("--score is about a submission that is there; pass it as --check")


def _export(args: argparse.Namespace) -> int:
    trained = load_model(args)
    stages = stage_regions(trained.model) if args.choices else {}
    split = args.split or trained.config.data.val_split
    dataset = open_split(trained, split)
    refuse_existing(_outputs(args, dataset), args.overwrite)
    index_of = {scene_id: index for index, scene_id in enumerate(dataset.scene_ids)}
    num_points = 0
    with _submission(args, trained, dataset, split) as submission:
        for scene_id, pred, choices in _predictions(args, trained, dataset, split):
            if args.out is not None:
                cloud = dataset.point_cloud(index_of[scene_id]).own()
                write_labels(args.out, cloud, pred, trained.label_map, args.format, args.overwrite)
            if choices:
                write_choices(args.out, scene_id, choices, args.overwrite)
            if submission is not None:
                submission.add(scene_id, pred)
            num_points += len(pred)
    counted = f"of {len(index_of)} scenes ({num_points:,} points)"
    if args.out is not None:
        written = [*args.format, *([f"choices ({', '.join(stages)})"] if args.choices else [])]
        print(f"wrote {', '.join(written)} {counted} to {args.out} (single pass, raw points)")
    if args.submission is not None:
        print(f"wrote the labels {counted} to {args.submission} (single pass, raw points)")
    return 0


def _outputs(args: argparse.Namespace, dataset: SceneDataset) -> list[Path]:
    if args.out is None:
        return []
    paths = [p for scene in dataset.scene_ids for p in label_paths(args.out, scene, args.format)]
    if args.choices:
        paths += [choices_path(args.out, scene) for scene in dataset.scene_ids]
    return paths


def _submission(
    args: argparse.Namespace, trained: Trained, dataset: SceneDataset, split: str
) -> AbstractContextManager[SubmissionWriter | None]:
    if args.submission is None:
        return nullcontext()
    data = trained.config.data
    target = open_target(data.dataset, data.root, data.options)
    return written_submission(
        args.submission,
        sizes_to_hand_in(target, split, dataset.scene_ids, args.partial),
        target.format,
        trained.label_map,
        split,
        read_extra_files(args.extra_files),
        args.overwrite,
    )


def _predictions(
    args: argparse.Namespace, trained: Trained, dataset: SceneDataset, split: str
) -> Iterator[tuple[str, np.ndarray, dict[str, StageChoice]]]:
    """(scene id, train ids [P], choices by stage) of every scene, in the split's order."""
    loader = build_loader(trained.config, dataset, training=False)
    for batch in shown(loader, len(loader), f"exporting {split}"):
        with trained.autocast():
            if args.choices:
                scenes = predict_points_and_choices(trained.model, batch)
            else:
                scenes = [(pred, {}) for pred in predict_points(trained.model, batch)]
        for scene_id, (pred, choices) in zip(batch.scene_ids, scenes, strict=True):
            yield scene_id, pred, choices


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
