"""Submissions to benchmarks' servers: formats, writing, checking, reading back."""

from pointseg.evaluation.submission.check import SubmissionCheck, check_submission
from pointseg.evaluation.submission.formats import (
    NUSCENES,
    SCANNET,
    SEMANTICKITTI,
    SubmissionFormat,
)
from pointseg.evaluation.submission.score import read_submission, score_submission
from pointseg.evaluation.submission.sizes import split_point_counts
from pointseg.evaluation.submission.write import SubmissionWriter, written_submission

__all__ = [
    "NUSCENES",
    "SCANNET",
    "SEMANTICKITTI",
    "SubmissionCheck",
    "SubmissionFormat",
    "SubmissionWriter",
    "check_submission",
    "read_submission",
    "score_submission",
    "split_point_counts",
    "written_submission",
]
