"""What `export-preds` does with submissions: which format and scenes a dataset has, and checks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pointseg.data import LabelMap, SceneReader, find_spec, open_dataset, open_reader
from pointseg.evaluation import (
    BENCHMARKS,
    SubmissionFormat,
    check_submission,
    score_submission,
    split_point_counts,
    write_heatmap,
    write_json,
)
from pointseg.evaluation.benchmarks import find_submission_format
from pointseg.evaluation.rules import MetricRule
from pointseg.files import refuse_existing


@dataclass(frozen=True)
class Target:
    """What a dataset's labels are handed in to.

    release  scenes of each split in the complete release, where that is known
    """

    format: SubmissionFormat
    rule: MetricRule
    label_map: LabelMap
    scenes: SceneReader
    release: Mapping[str, int]

    def note_gaps(self, split: str, num_scenes: int) -> None:
        """Say so where fewer scenes are listed than the split has in the complete release."""
        complete = self.release.get(split, num_scenes)
        if num_scenes < complete:
            print(
                f"note: split {split!r} has {complete} scenes in the complete release, but only "
                f"{num_scenes} are known here; the server asks for all"
            )


def open_target(
    dataset: str, root: Path | str | None, options: Mapping[str, Any] | None = None
) -> Target:
    """The benchmark of a dataset, and its scenes at ``root``; ValueError where it has no server."""
    spec = find_spec(dataset)
    submission_format = find_submission_format(spec.benchmark)
    scenes = open_reader(dataset, root, options)
    rule = BENCHMARKS[spec.benchmark].rule
    return Target(submission_format, rule, spec.label_map, scenes, spec.expected or {})


def sizes_to_hand_in(
    target: Target, split: str, present: Sequence[str], partial: bool
) -> dict[str, int | None]:
    """Points of the scenes ``present``, which must be all of the split unless ``partial``."""
    sizes, here = split_point_counts(target.scenes, split), set(present)
    absent = [scene_id for scene_id in sizes if scene_id not in here]
    if absent and not partial:
        raise ValueError(
            f"{len(absent)} of {len(sizes)} scenes of split {split!r} are not on disk (first: "
            f"{absent[0]}): the server would refuse the submission; get them, or pass --partial"
        )
    if not partial:
        target.note_gaps(split, len(sizes))
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
    sizes = split_point_counts(target.scenes, split)
    if args.partial:
        sizes = {scene: size for scene, size in sizes.items() if size is not None}
    else:
        target.note_gaps(split, len(sizes))
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
        write_json(report, outputs[0], {"submission": str(args.check)}, args.overwrite)
        write_heatmap(report, outputs[1], args.overwrite)
        print(f"wrote {outputs[0]} and {outputs[1]}")
    print(report.headline)
