"""Scores over raw points, label files, and submissions."""

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.inference import evaluation_mode, predict_points, predict_voxels
from pointseg.evaluation.label_files import FORMATS, write_labels
from pointseg.evaluation.report import SegReport, write_heatmap, write_json
from pointseg.evaluation.rules import SCANNET_RULE, MeanOverPresentClasses, MetricRule, Scores
from pointseg.evaluation.single_pass import PROTOCOL, evaluate_single_pass
from pointseg.evaluation.submission import (
    SubmissionCheck,
    SubmissionFormat,
    check_submission,
    read_submission,
    score_submission,
    split_point_counts,
    written_submission,
)
from pointseg.evaluation.tiling import Tile, plan_tiles, predict_tiled

__all__ = [
    "FORMATS",
    "PROTOCOL",
    "SCANNET_RULE",
    "ConfusionMatrix",
    "MeanOverPresentClasses",
    "MetricRule",
    "Scores",
    "SegReport",
    "SubmissionCheck",
    "SubmissionFormat",
    "Tile",
    "check_submission",
    "evaluate_single_pass",
    "evaluation_mode",
    "plan_tiles",
    "predict_points",
    "predict_tiled",
    "predict_voxels",
    "read_submission",
    "score_submission",
    "split_point_counts",
    "write_heatmap",
    "write_json",
    "write_labels",
    "written_submission",
]
