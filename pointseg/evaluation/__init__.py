"""Predictions under a named protocol, scores over raw points, label files, submissions."""

from pointseg.evaluation.benchmarks import BENCHMARKS, Benchmark, benchmark_of_rule
from pointseg.evaluation.boundary import BoundaryArea
from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.folds import join_folds
from pointseg.evaluation.heatmap import write_heatmap
from pointseg.evaluation.inference import evaluation_mode, predict_points, predict_voxels
from pointseg.evaluation.label_files import FORMATS, write_labels
from pointseg.evaluation.parts import PartCounter, PointSubsets
from pointseg.evaluation.protocol import SINGLE_PASS, Protocol
from pointseg.evaluation.report import Part, SegReport, read_json, write_json
from pointseg.evaluation.rings import DistanceRings
from pointseg.evaluation.rules import (
    NUSCENES_RULE,
    S3DIS_RULE,
    SCANNET200_RULE,
    SCANNET_RULE,
    SEMANTICKITTI_RULE,
    GroupMeans,
    MeanOverPresentClasses,
    MetricRule,
    Scores,
)
from pointseg.evaluation.scoring import (
    SceneCounts,
    count_scenes,
    evaluate,
    evaluate_single_pass,
    report_of,
)
from pointseg.evaluation.submission import (
    SubmissionCheck,
    SubmissionFormat,
    check_submission,
    read_submission,
    score_submission,
    split_point_counts,
    written_submission,
)
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
    "BENCHMARKS",
    "FORMATS",
    "NUSCENES_RULE",
    "S3DIS_RULE",
    "SCANNET200_RULE",
    "SCANNET_RULE",
    "SEMANTICKITTI_RULE",
    "SINGLE_PASS",
    "Benchmark",
    "BoundaryArea",
    "ConfusionMatrix",
    "DistanceRings",
    "GroupMeans",
    "MeanOverPresentClasses",
    "MetricRule",
    "Part",
    "PartCounter",
    "PointSubsets",
    "Protocol",
    "SceneCounts",
    "ScenePrediction",
    "SceneVotes",
    "Scores",
    "SegReport",
    "SubmissionCheck",
    "SubmissionFormat",
    "Tile",
    "Tiling",
    "View",
    "ViewedScenes",
    "Views",
    "benchmark_of_rule",
    "check_submission",
    "count_scenes",
    "evaluate",
    "evaluate_single_pass",
    "evaluation_mode",
    "join_folds",
    "margin_of",
    "parse_views",
    "plan_tiles",
    "predict_cloud",
    "predict_points",
    "predict_scenes",
    "predict_voxels",
    "read_json",
    "read_submission",
    "report_of",
    "score_submission",
    "split_point_counts",
    "vote_cloud",
    "vote_scenes",
    "write_heatmap",
    "write_json",
    "write_labels",
    "written_submission",
]
