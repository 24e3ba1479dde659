"""Write predicted labels of a split as files, or check a folder or zip of them.

Per scene: <scene>.txt as the benchmark wants it (raw ids such as nyu40, one per vertex),
<scene>.npy (int16 train ids) and <scene>.ply (coloured by class). With --scores also
<scene>.scores.npy: the softmax of every point; with --choices <scene>.choices.npz: which codebook
entry each stage of the model chose. With --check, nothing is predicted: the files are compared with
the split's scenes, and every problem is listed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from pointseg.cli import run_main
from pointseg.cli._protocol import add_protocol_arguments, protocol_of, view_loader
from pointseg.cli._trained import add_model_arguments, load_model, open_split, shown
from pointseg.data import DATASETS, SegBatch, find_spec, open_reader
from pointseg.evaluation import (
    FORMATS,
    SINGLE_PASS,
    Protocol,
    check_submission,
    predict_scenes,
    split_point_counts,
    vote_scenes,
    write_labels,
)
from pointseg.evaluation.choice_files import choices_path, write_choices
from pointseg.evaluation.choices import StageChoice, predict_points_and_choices, stage_regions
from pointseg.evaluation.label_files import label_paths
from pointseg.evaluation.score_files import scores_path, write_scores
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
    parser.add_argument(
        "--scores",
        action="store_true",
        help="also write the softmax of every point (float16, points x classes)",
    )
    add_protocol_arguments(parser)
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
    protocol = protocol_of(args, trained.model)
    if args.choices and (args.scores or protocol != SINGLE_PASS):
        raise ValueError(
            "--choices are those of a single pass: leave out --tta and --max-voxels, and write "
            "--scores in a run of their own"
        )
    stages = stage_regions(trained.model) if args.choices else {}
    split = args.split or trained.config.data.val_split
    dataset = open_split(trained, split)
    outputs = [p for scene in dataset.scene_ids for p in label_paths(args.out, scene, args.format)]
    if args.choices:
        outputs += [choices_path(args.out, scene) for scene in dataset.scene_ids]
    if args.scores:
        outputs += [scores_path(args.out, scene) for scene in dataset.scene_ids]
    refuse_existing(outputs, args.overwrite)
    loader = view_loader(trained, dataset, protocol)
    index_of = {scene_id: index for index, scene_id in enumerate(dataset.scene_ids)}
    num_points = 0
    batches = shown(loader, len(loader), f"exporting {split}")
    with trained.autocast():
        for scene in _predicted(args, trained.model, batches, protocol):
            cloud = dataset.point_cloud(index_of[scene.scene_id])
            write_labels(
                args.out, cloud, scene.labels, trained.label_map, args.format, args.overwrite
            )
            if scene.choices:
                write_choices(args.out, scene.scene_id, scene.choices, args.overwrite)
            if scene.scores is not None:
                write_scores(args.out, scene.scene_id, scene.scores, args.overwrite)
            num_points += len(scene.labels)
    written = [*args.format, *(["scores"] if args.scores else [])]
    written += [f"choices ({', '.join(stages)})"] if args.choices else []
    print(
        f"wrote {', '.join(written)} of {len(index_of)} scenes ({num_points:,} points) "
        f"to {args.out} ({protocol.name})"
    )
    return 0


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is written of a scene."""

    scene_id: str
    labels: np.ndarray
    choices: Mapping[str, StageChoice] = field(default_factory=dict)
    scores: np.ndarray | None = None


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
