"""From counts to scores: each benchmark's own rule, as an object.

A rule turns a confusion matrix into the numbers a benchmark prints. Benchmarks agree on
``IoU = TP / (TP + FP + FN)`` and differ in what becomes of classes that nobody saw, and in how
predictions of "none of the classes" are taken; so a rule receives the whole matrix, its extra
column included, and decides both. A new benchmark is a new class with the same method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Scores:
    """The numbers of one confusion matrix under one rule; all are fractions of 1.

    Attributes
    ----------
    iou : float64 [C]
        Intersection over union of each class.
    class_accuracy : float64 [C]
        Share of a class's points that were found (its recall).
    mean_iou, accuracy, mean_accuracy : float
        Means over classes, and the share of all counted points that are right.
    num_classes_in_mean : int
        The number of classes that ``mean_iou`` averages.
    """

    iou: np.ndarray
    class_accuracy: np.ndarray
    mean_iou: float
    accuracy: float
    mean_accuracy: float
    num_classes_in_mean: int


class MetricRule(Protocol):
    """What an evaluation needs of a benchmark's rule."""

    @property
    def name(self) -> str:
        """Short name, printed with every score."""

    @property
    def statement(self) -> str:
        """The rule in one sentence, printed under every table."""

    def score(self, counts: np.ndarray) -> Scores:
        """Scores of ``counts``, int64 [C, C + 1] (`ConfusionMatrix.counts`)."""


@dataclass(frozen=True)
class MeanOverPresentClasses:
    """ScanNet's official rule.

    * A vertex whose true label is not one of the classes is skipped, whatever is predicted there
      (`ConfusionMatrix` never counts it).
    * A prediction that is none of the classes is a miss (FN) of the true class and a false alarm
      (FP) of nobody.
    * A class with TP + FP + FN = 0 has no IoU (nan) and stays out of the mean; a class that was
      predicted although no point has it scores 0 and is in the mean. The official script stops
      there and prints no mean, hence ``num_classes_in_mean``: over the full splits it is always
      the number of classes, over a handful of scenes it is not.
    * Mean accuracy averages the classes that occur in the ground truth.

    Source: ``BenchmarkScripts/3d_evaluation/evaluate_semantic_label.py`` of ScanNet/ScanNet.
    """

    name: str = "ScanNet official"
    statement: str = (
        "all raw vertices in one confusion matrix; vertices without a benchmark label skipped; "
        "predictions outside the classes count as missed; mean over the classes present"
    )

    def score(self, counts: np.ndarray) -> Scores:
        counts = np.asarray(counts)
        num_classes = counts.shape[0]
        if counts.shape != (num_classes, num_classes + 1):
            raise ValueError(f"counts must be [C, C + 1], got {counts.shape}")
        hit = np.diagonal(counts).astype(np.float64)
        true = counts.sum(axis=1).astype(np.float64)
        predicted = counts[:, :num_classes].sum(axis=0).astype(np.float64)
        iou = _ratio(hit, true + predicted - hit)
        class_accuracy = _ratio(hit, true)
        return Scores(
            iou=iou,
            class_accuracy=class_accuracy,
            mean_iou=_mean_of_numbers(iou),
            accuracy=float(_ratio(hit.sum(), true.sum())),
            mean_accuracy=_mean_of_numbers(class_accuracy),
            num_classes_in_mean=int(np.isfinite(iou).sum()),
        )


SCANNET_RULE = MeanOverPresentClasses()


def _ratio(part: np.ndarray | float, whole: np.ndarray | float) -> np.ndarray:
    """part / whole, nan where whole is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _mean_of_numbers(values: np.ndarray) -> float:
    present = values[np.isfinite(values)]
    return float(present.mean()) if present.size else float("nan")
