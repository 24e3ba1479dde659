"""What `export-preds` does with submissions: which format and scenes a dataset has, and checks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointseg.cli._reports import planned, publish
from pointseg.data import DatasetSpec, SceneReader, find_spec, open_dataset, open_reader
from pointseg.evaluation import (
    MetricRule,
    SubmissionFormat,
    check_submission,
    score_submission,
    split_point_counts,
)
from pointseg.evaluation.benchmarks import find_submission_format
from pointseg.evaluation.scored_data import ScoredData, changed_options
from pointseg.experiment import metric_rule
from pointseg.files import refuse_existing

DEFAULT_DATASET = "scannet"
DEFAULT_SPLIT = "val"


@dataclass(frozen=True)
class Target:
    """What a dataset's labels are handed in to."""

    dataset: str
    format: SubmissionFormat
    scenes: SceneReader

    @property
    def spec(self) -> DatasetSpec:
        return find_spec(self.dataset)

    @property
    def rule(self) -> MetricRule:
        return metric_rule(self.dataset)

    def gap(self, split: str, num_scenes: int) -> str | None:
        """What to say where fewer scenes are listed than the complete release has."""
        complete = self.spec.num_in_release(split)
        if complete is None or num_scenes >= complete:
            return None
        return (
            f"split {split!r} has {complete} scenes in the complete release, but {num_scenes} are "
            "known here: the server would refuse the submission; get them, or pass --partial"
        )


def open_target(
    dataset: str, root: Path | str | None, options: Mapping[str, Any] | None = None
) -> Target:
    """The benchmark of a dataset, and its scenes at ``root``; ValueError where it has no server."""
    submission_format = find_submission_format(find_spec(dataset).benchmark)
    return Target(dataset, submission_format, open_reader(dataset, root, options))


def sizes_to_hand_in(
    target: Target, split: str, present: Sequence[str], partial: bool
) -> dict[str, int | None]:
    """Points of the scenes ``present``, which must be all of the complete release's split unless
    ``partial``.
    """
    sizes, here = split_point_counts(target.scenes, split), set(present)
    absent = [scene_id for scene_id in sizes if scene_id not in here]
    if absent and not partial:
        raise ValueError(
            f"{len(absent)} of {len(sizes)} scenes of split {split!r} are not on disk (first: "
            f"{absent[0]}): the server would refuse the submission; get them, or pass --partial"
        )
    gap = None if partial else target.gap(split, len(sizes))
    if gap is not None:
        raise ValueError(gap)
    return {scene_id: sizes[scene_id] for scene_id in present}


def read_extra_files(paths: Sequence[Path]) -> Mapping[str, bytes]:
    """Content of the files that go into a submission beside the labels, by file name."""
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"--with {path}: no such file; pass files of your own for the submission"
            )
    return {path.name: path.read_bytes() for path in paths}


def check(args: argparse.Namespace) -> int:
    """``--check``: list every problem; with ``--score`` also what the labels are worth."""
    refuse_existing(planned(args.out), args.overwrite)
    split = args.split or DEFAULT_SPLIT
    target = open_target(args.dataset or DEFAULT_DATASET, args.root)
    sizes = split_point_counts(target.scenes, split)
    gap = target.gap(split, len(sizes))
    if args.partial:
        sizes, gap = {scene: size for scene, size in sizes.items() if size is not None}, None
    result = check_submission(args.check, sizes, target.format, target.spec.label_map, split)
    problems = [*([] if gap is None else [gap]), *result.problems]
    for note in result.notes:
        print(f"note: {note}")
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    print(
        f"{args.check}: {result.num_scenes} of {len(sizes)} scenes right "
        f"({result.num_points:,} points), {len(problems)} problems"
    )
    if problems:
        return 1
    if args.score:
        _score(args, target, split)
    return 0


def _score(args: argparse.Namespace, target: Target, split: str) -> None:
    scenes = open_dataset(target.dataset, args.root, split)
    report = score_submission(args.check, scenes, target.format, split, target.rule)
    options = changed_options(target.spec, scenes.reader)
    data = ScoredData(target.dataset, options, target.spec.num_in_release(split))
    publish(report.with_data(data), args.out, {"submission": str(args.check)}, args.overwrite)
