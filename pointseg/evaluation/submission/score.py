"""Reading a submission back, and scoring it against scenes whose labels are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pointseg.data.types import SceneSource
from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.report import SegReport
from pointseg.evaluation.rules import MetricRule
from pointseg.evaluation.submission.formats import SubmissionFormat
from pointseg.evaluation.submission.members import open_members

SUBMITTED = "submitted labels, raw points"


def read_submission(
    path: Path, scene_ids: Iterable[str], submission_format: SubmissionFormat, split: str
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """(scene id, raw ids [P]) of the scenes in the order of ``scene_ids``, one at a time.

    Files are found by name. A missing, doubled or unreadable one is a ValueError that names it;
    `check_submission` lists all there is to say.
    """
    with open_members(path) as members:
        by_name = {file.name: file for file in members.files}
        times = Counter(file.name for file in members.files)
        for scene_id in scene_ids:
            name = submission_format.member_of(scene_id, split)
            if times[name] != 1:
                what = f"comes {times[name]} times" if times[name] else "missing"
                raise ValueError(f"{path}: {name}: {what}; `pointseg export-preds --check` it")
            try:
                decoded = submission_format.encoding.decode(by_name[name].read())
            except ValueError as error:
                raise ValueError(f"{path}: {name}: {error}") from error
            if decoded.problems:
                raise ValueError(f"{path}: {name}: {decoded.problems[0]}")
            yield scene_id, decoded.ids


def score_submission(
    path: Path,
    scenes: SceneSource,
    submission_format: SubmissionFormat,
    split: str,
    rule: MetricRule,
) -> SegReport:
    """The scores that a benchmark would give a submission, from scenes with labels.

    Parameters
    ----------
    path
        Folder or zip, as `written_submission` writes it.
    scenes
        The scenes of the split, raw points in the order of their files.
    rule
        The benchmark's (``BENCHMARKS[...].rule``).

    Raises
    ------
    ValueError
        If a scene has no labels, or a file is missing, unreadable or of another number of points.
    """
    confusion = ConfusionMatrix(scenes.label_map.num_classes)
    submitted = read_submission(path, scenes.scene_ids, submission_format, split)
    for index, (scene_id, raw_ids) in enumerate(submitted):
        cloud = scenes[index].own()
        if cloud.labels is None:
            raise ValueError(f"{scene_id} has no labels to score against (a test split?)")
        if len(raw_ids) != cloud.num_points:
            raise ValueError(
                f"{path}: {scene_id}: {len(raw_ids)} labels, but the scene has {cloud.num_points} "
                "points"
            )
        confusion.update(submission_format.train_ids(raw_ids, scenes.label_map), cloud.labels)
    names = scenes.label_map.names
    return SegReport.of(confusion, names, SUBMITTED, rule, scenes.scene_ids, split)
