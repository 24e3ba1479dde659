"""Write predicted labels of a split as files or as a benchmark's submission, or check one.

With --out, per scene: <scene>.txt (raw ids such as nyu40, one per point), <scene>.npy (int16 train
ids) and <scene>.ply (coloured by class); with --scores also <scene>.scores.npy: the softmax of
every point; with --choices <scene>.choices.npz: which codebook entry each stage of the model chose.
With --submission, the zip or folder that the server of the data set's benchmark takes. With
--check, nothing is predicted: a submission is compared with the split's scenes, and every problem
is listed; --score tells what its labels are worth.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from pointseg.cli import run_main
from pointseg.cli._idle import prediction_options, refuse_idle
from pointseg.cli._protocol import add_protocol_arguments, protocol_of, view_loader
from pointseg.cli._submissions import (
    DEFAULT_DATASET,
    check,
    open_target,
    read_extra_files,
    sizes_to_hand_in,
)
from pointseg.cli._trained import add_model_arguments, load_model, open_split, shown
from pointseg.data import DATASETS, LabelMap, PointCloud, SceneDataset, SegBatch
from pointseg.evaluation import (
    FORMATS,
    SINGLE_PASS,
    Protocol,
    predict_scenes,
    vote_scenes,
    write_labels,
    written_submission,
)
from pointseg.evaluation.choice_files import choices_path, write_choices
from pointseg.evaluation.choices import StageChoice, predict_points_and_choices, stage_regions
from pointseg.evaluation.label_files import label_paths
from pointseg.evaluation.score_files import scores_path, write_scores
from pointseg.evaluation.submission import SubmissionWriter
from pointseg.experiment import Trained
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
        choices=FORMATS,
        help="files to write to --out (default: txt)",
    )
    parser.add_argument(
        "--choices",
        action="store_true",
        help="also write what each stage chose for every point (models with codebook blocks)",
    )
    parser.add_argument(
        "--scores",
        action="store_true",
        help="also write the softmax of every point (float16, points x classes)",
    )
    add_protocol_arguments(parser)
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
        "--dataset",
        choices=sorted(DATASETS),
        help=f"whose scenes it labels (default: {DEFAULT_DATASET})",
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
        _refuse_idle_in_check(args)
        return check(args)
    if args.checkpoint is None or (args.out is None and args.submission is None):
        raise ValueError(
            "pass --checkpoint with --out or --submission to export, or --check to check"
        )
    _refuse_idle(args)
    return _export(args)


def _refuse_idle_in_check(args: argparse.Namespace) -> None:
    of_files = {"--format": args.format, "--choices": args.choices, "--scores": args.scores}
    of_submission = {"--submission": args.submission, "--with": args.extra_files or None}
    refuse_idle(
        {"--checkpoint": args.checkpoint, **prediction_options(args), **of_files, **of_submission},
        "--check predicts and exports nothing; write the labels first, then check them",
    )
    if not args.score:
        refuse_idle({"--out": args.out}, "--check writes nothing there without --score")
    if args.out is None:
        refuse_idle({"--overwrite": args.overwrite}, "--check writes nothing without --out")


def _refuse_idle(args: argparse.Namespace) -> None:
    refuse_idle(
        {"--root": args.root, "--dataset": args.dataset},
        "--root and --dataset are of --check; scenes to predict are those of the checkpoint's "
        "configuration: --set data.root=DIR",
    )
    refuse_idle({"--score": args.score}, "it scores a submission that is there; pass it as --check")
    if args.out is None:
        refuse_idle(
            {"--format": args.format, "--choices": args.choices, "--scores": args.scores},
            "they choose files of labels; pass --out, the folder for them",
        )
    if args.submission is None:
        refuse_idle(
            {"--with": args.extra_files or None, "--partial": args.partial},
            "they are about a submission; pass --submission too",
        )


def _formats(args: argparse.Namespace) -> Sequence[str]:
    return args.format or ("txt",)


def _export(args: argparse.Namespace) -> int:
    extra_files = read_extra_files(args.extra_files)
    trained = load_model(args)
    protocol = protocol_of(args, trained)
    if args.choices and (args.scores or protocol != SINGLE_PASS):
        raise ValueError(
            "--choices are those of a single pass: leave out --tta and --max-voxels, and write "
            "--scores in a run of their own"
        )
    stages = stage_regions(trained.model) if args.choices else {}
    split = args.split or trained.config.data.val_split
    dataset = open_split(trained, split)
    refuse_existing(_outputs(args, dataset), args.overwrite)
    loader = view_loader(trained, dataset, protocol)
    index_of = {scene_id: index for index, scene_id in enumerate(dataset.scene_ids)}
    num_points = 0
    batches = shown(loader, len(loader), f"exporting {split}")
    submitted = _submission(args, trained, dataset, split, extra_files)
    with trained.autocast(), submitted as submission:
        for scene in _predicted(args, trained.model, batches, protocol):
            if args.out is not None:
                cloud = dataset.point_cloud(index_of[scene.scene_id])
                _write_files(args, cloud, scene, trained.label_map)
            if submission is not None:
                submission.add(scene.scene_id, scene.labels)
            num_points += len(scene.labels)
    counted = f"of {len(index_of)} scenes ({num_points:,} points)"
    if args.out is not None:
        written = [*_formats(args), *(["scores"] if args.scores else [])]
        written += [f"choices ({', '.join(stages)})"] if args.choices else []
        print(f"wrote {', '.join(written)} {counted} to {args.out} ({protocol.name})")
    if args.submission is not None:
        print(f"wrote the labels {counted} to {args.submission} ({protocol.name})")
    return 0


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is written of a scene."""

    scene_id: str
    labels: np.ndarray
    choices: Mapping[str, StageChoice] = field(default_factory=dict)
    scores: np.ndarray | None = None


def _outputs(args: argparse.Namespace, dataset: SceneDataset) -> list[Path]:
    if args.out is None:
        return []
    formats = _formats(args)
    paths = [p for scene in dataset.scene_ids for p in label_paths(args.out, scene, formats)]
    if args.choices:
        paths += [choices_path(args.out, scene) for scene in dataset.scene_ids]
    if args.scores:
        paths += [scores_path(args.out, scene) for scene in dataset.scene_ids]
    return paths


def _write_files(
    args: argparse.Namespace, cloud: PointCloud, scene: _Scene, label_map: LabelMap
) -> None:
    write_labels(args.out, cloud, scene.labels, label_map, _formats(args), args.overwrite)
    if scene.choices:
        write_choices(args.out, scene.scene_id, scene.choices, args.overwrite)
    if scene.scores is not None:
        write_scores(args.out, scene.scene_id, scene.scores, args.overwrite)


def _submission(
    args: argparse.Namespace,
    trained: Trained,
    dataset: SceneDataset,
    split: str,
    extra_files: Mapping[str, bytes],
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
        extra_files,
        args.overwrite,
    )


def _predicted(
    args: argparse.Namespace, model: nn.Module, batches: Iterable[SegBatch], protocol: Protocol
) -> Iterator[_Scene]:
    if args.choices:
        for batch in batches:
            scenes = predict_points_and_choices(model, batch)
            for scene_id, (labels, choices) in zip(batch.scene_ids, scenes, strict=True):
                yield _Scene(scene_id, labels, choices)
    elif args.scores:
        for votes in vote_scenes(model, batches, protocol):
            yield _Scene(votes.scene_id, votes.labels(), scores=votes.scores())
    else:
        for scene in predict_scenes(model, batches, protocol):
            yield _Scene(scene.scene_id, scene.labels)


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
