"""What `export-preds` does with submissions: which format and scenes a dataset has, and checks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pointseg.data import DATASETS, SCANNET20, LabelMap, open_dataset, resolve_root
from pointseg.evaluation import (
    SubmissionFormat,
    check_submission,
    scene_sizes,
    score_submission,
    write_heatmap,
    write_json,
)
from pointseg.evaluation.benchmarks import BENCHMARKS, find_submission_format
from pointseg.evaluation.rules import MetricRule
from pointseg.evaluation.submission import ScanNetSizes
from pointseg.evaluation.submission.sizes import SizedScenes
from pointseg.files import refuse_existing


@dataclass(frozen=True)
class Target:
    """What a dataset's labels are handed in to."""

    format: SubmissionFormat
    rule: MetricRule
    label_map: LabelMap
    scenes: SizedScenes


def open_target(dataset: str, root: Path | str | None) -> Target:
    """The benchmark of a dataset, and its scenes at ``root``; ValueError where it has no server."""
    if dataset not in DATASETS:
        raise ValueError(f"unknown dataset {dataset!r} (valid: {', '.join(DATASETS)})")
    benchmark = "scannet"
    submission_format = find_submission_format(benchmark)
    scenes = ScanNetSizes(resolve_root(dataset, root))
    return Target(submission_format, BENCHMARKS[benchmark].rule, SCANNET20, scenes)


def sizes_to_hand_in(
    target: Target, split: str, present: Sequence[str], partial: bool
) -> dict[str, int | None]:
    """Points of the scenes ``present``, which must be all of the split unless ``partial``."""
    sizes = scene_sizes(target.scenes, split)
    absent = [scene_id for scene_id in sizes if scene_id not in set(present)]
    if absent and not partial:
        raise ValueError(
            f"{len(absent)} of {len(sizes)} scenes of split {split!r} are not on disk (first: "
            f"{absent[0]}): the server would refuse the submission; get them, or pass --partial"
        )
    return {scene_id: sizes[scene_id] for scene_id in present}


def read_extra_files(paths: Sequence[Path]) -> Mapping[str, bytes]:
    """Content of the files that go into a submission beside the labels, by file name."""
    return {path.name: path.read_bytes() for path in paths}


def check(args: argparse.Namespace) -> int:
    """``--check``: list every problem; with ``--score`` also what the labels are worth."""
    outputs = (
        [args.out / name for name in ("evaluation.json", "confusion.html")]
        if args.out and args.score
        else []
    )
    refuse_existing(outputs, args.overwrite)
    split = args.split or "val"
    target = open_target(args.dataset, args.root)
    sizes = scene_sizes(target.scenes, split)
    if args.partial:
        sizes = {scene: size for scene, size in sizes.items() if size is not None}
    result = check_submission(args.check, sizes, target.format, target.label_map, split)
    for note in result.notes:
        print(f"note: {note}")
    for problem in result.problems:
        print(f"problem: {problem}", file=sys.stderr)
    print(
        f"{args.check}: {result.num_scenes} of {len(sizes)} scenes right "
        f"({result.num_points:,} points), {len(result.problems)} problems"
    )
    if not result.ok:
        return 1
    if args.score:
        _score(args, target, split, outputs)
    return 0


def _score(args: argparse.Namespace, target: Target, split: str, outputs: Sequence[Path]) -> None:
    scenes = open_dataset(args.dataset, args.root, split)
    report = score_submission(args.check, scenes, target.format, split, target.rule)
    Console().print(report.table())
    if outputs:
        context = {"submission": str(args.check), "split": split}
        write_json(report, outputs[0], context, args.overwrite)
        write_heatmap(report, outputs[1], args.overwrite)
        print(f"wrote {outputs[0]} and {outputs[1]}")
    print(report.headline)
