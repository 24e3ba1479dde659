"""Predictions under a named protocol, scores over raw points, label files, submissions."""

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.inference import evaluation_mode, predict_points, predict_voxels
from pointseg.evaluation.label_files import FORMATS, write_labels
from pointseg.evaluation.protocol import SINGLE_PASS, Protocol
from pointseg.evaluation.report import SegReport, write_heatmap, write_json
from pointseg.evaluation.rules import SCANNET_RULE, MeanOverPresentClasses, MetricRule, Scores
from pointseg.evaluation.scoring import evaluate, evaluate_single_pass
from pointseg.evaluation.submission import SubmissionCheck, check_submission, split_vertex_counts
from pointseg.evaluation.tiling import Tile, Tiling, margin_of, plan_tiles
from pointseg.evaluation.views import View, ViewedScenes, Views, parse_views
from pointseg.evaluation.voting import (
    ScenePrediction,
    SceneVotes,
    predict_cloud,
    predict_scenes,
    vote_cloud,
    vote_scenes,
)

__all__ = [
    "FORMATS",
    "SCANNET_RULE",
    "SINGLE_PASS",
    "ConfusionMatrix",
    "MeanOverPresentClasses",
    "MetricRule",
    "Protocol",
    "ScenePrediction",
    "SceneVotes",
    "Scores",
    "SegReport",
    "SubmissionCheck",
    "Tile",
    "Tiling",
    "View",
    "ViewedScenes",
    "Views",
    "check_submission",
    "evaluate",
    "evaluate_single_pass",
    "evaluation_mode",
    "margin_of",
    "parse_views",
    "plan_tiles",
    "predict_cloud",
    "predict_points",
    "predict_scenes",
    "predict_voxels",
    "split_vertex_counts",
    "vote_cloud",
    "vote_scenes",
    "write_heatmap",
    "write_json",
    "write_labels",
]
