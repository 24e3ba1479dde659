"""From counts to scores: each benchmark's own rule, as an object.

A rule turns a confusion matrix into the numbers a benchmark prints. Benchmarks agree on
``IoU = TP / (TP + FP + FN)`` and differ in what becomes of classes that nobody saw, and in how
predictions of "none of the classes" are taken; so a rule receives the whole matrix, its extra
column included, and decides both. A new benchmark is a new class with the same method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    further : mapping of str to float
        Other numbers that the benchmark prints, by name.
    """

    iou: np.ndarray
    class_accuracy: np.ndarray
    mean_iou: float
    accuracy: float
    mean_accuracy: float
    num_classes_in_mean: int
    further: Mapping[str, float] = field(default_factory=dict)


class MetricRule(Protocol):
    """What an evaluation needs of a benchmark's rule."""

    @property
    def name(self) -> str:
        """Short name, printed with every score; no other rule has it."""

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
        tally = Tally.of(counts)
        iou = _ratio(tally.hit, tally.union)
        class_accuracy = _ratio(tally.hit, tally.true)
        return Scores(
            iou=iou,
            class_accuracy=class_accuracy,
            mean_iou=_mean_of_numbers(iou),
            accuracy=float(_ratio(tally.hit.sum(), tally.true.sum())),
            mean_accuracy=_mean_of_numbers(class_accuracy),
            num_classes_in_mean=int(np.isfinite(iou).sum()),
        )


@dataclass(frozen=True)
class MeanOverAllClasses:
    """The convention of S3DIS, which has neither a server nor an official script.

    * Every raw point of every room counts; there are no points without a class.
    * Every denominator has 1e-10 added to it, so that a class which nobody saw has IoU and accuracy
      0 rather than 0 / 0. From one point on the addition is below 1e-10 of the value.
    * mIoU and mean accuracy (mAcc) are plain means over all classes, those absent included; overall
      accuracy (OA) is the share of the points that are right.

    Sources: ``sem_seg/eval_iou_accuracy.py`` of charlesq34/pointnet, which divides by zero where a
    class is absent; ``engines/test.py`` of Pointcept, which adds 1e-10. Some publications leave
    absent classes out instead; Area 5 has all 13, so that there it makes no difference.
    """

    name: str = "S3DIS convention"
    statement: str = (
        "all raw points in one confusion matrix; plain mean over all classes, a class that is "
        "absent from labels and predictions counts as 0"
    )

    def score(self, counts: np.ndarray) -> Scores:
        tally = Tally.of(counts)
        iou = tally.hit / (tally.union + 1e-10)
        class_accuracy = tally.hit / (tally.true + 1e-10)
        return Scores(
            iou=iou,
            class_accuracy=class_accuracy,
            mean_iou=float(iou.mean()),
            accuracy=float(tally.hit.sum() / (tally.true.sum() + 1e-10)),
            mean_accuracy=float(class_accuracy.mean()),
            num_classes_in_mean=len(iou),
        )


@dataclass(frozen=True)
class SemanticKittiRule:
    """SemanticKITTI's official rule.

    * Points whose true label is "unlabeled" or "outlier" are skipped, whatever is predicted there.
    * A prediction that is none of the classes (id 0) is a miss of the true class and a false alarm
      of nobody.
    * ``IoU = TP / (TP + FP + FN + 1e-15)``; mIoU is the plain mean over all 19 classes, and one
      that nobody saw counts 0: perfect predictions of a single scan score well below 1.
    * Accuracy is the sum of TP over the sum of TP + FP: points predicted as none of the classes
      leave its denominator, so abstaining raises it (and lowers IoU).

    The official script has no accuracy per class; the recall given here is averaged over all
    classes like the IoU.

    Source: ``evaluate_semantics.py`` and ``auxiliary/np_ioueval.py`` of PRBonn/semantic-kitti-api.
    """

    name: str = "SemanticKITTI official"
    statement: str = (
        "all labelled points in one confusion matrix; predictions outside the classes count as "
        "missed and leave the denominator of the accuracy; plain mean over all classes, an absent "
        "class counts as 0"
    )

    def score(self, counts: np.ndarray) -> Scores:
        tally = Tally.of(counts)
        iou = tally.hit / (tally.union + 1e-15)
        class_accuracy = tally.hit / (tally.true + 1e-15)
        return Scores(
            iou=iou,
            class_accuracy=class_accuracy,
            mean_iou=float(iou.mean()),
            accuracy=float(tally.hit.sum() / (tally.predicted.sum() + 1e-15)),
            mean_accuracy=float(class_accuracy.mean()),
            num_classes_in_mean=len(iou),
        )


@dataclass(frozen=True)
class NuScenesRule:
    """The official rule of nuScenes-lidarseg.

    * Points whose true label is "ignore" are skipped, whatever is predicted there.
    * Every point must have one of the 16 classes as its prediction; anything else is an error.
    * A class that nobody saw has no IoU and stays out of the mean; one that was predicted although
      no point has it counts 0.
    * ``fwIoU``, printed too, weighs the IoU of each class by its share of the points.

    The official script rounds TP + FP + FN to float32, which changes an IoU by less than 1e-7; here
    all is float64.

    Source: ``python-sdk/nuscenes/eval/lidarseg/utils.py`` of nutonomy/nuscenes-devkit.
    """

    name: str = "nuScenes-lidarseg official"
    statement: str = (
        "all points with a class in one confusion matrix; a prediction outside the classes is an "
        "error; mean over the classes present in labels or predictions"
    )

    def score(self, counts: np.ndarray) -> Scores:
        tally = Tally.of(counts)
        num_unpredicted = int(np.asarray(counts)[:, -1].sum())
        if num_unpredicted:
            raise ValueError(
                f"{num_unpredicted} points are predicted as none of the classes, which "
                f"{self.name} does not allow: give every point one of the {len(tally.hit)} classes"
            )
        scores = MeanOverPresentClasses().score(counts)
        weighted = np.nansum(tally.true * scores.iou)
        return replace(scores, further={"fwIoU": float(_ratio(weighted, tally.true.sum()))})


@dataclass(frozen=True)
class GroupMeans:
    """Another rule, with the mean IoU of groups of classes beside its own numbers.

    ScanNet200 reports the means over its 66 frequent ("head"), 68 ("common") and 66 rare ("tail")
    classes so. Within a group, classes are averaged as the rule averages all of them: those without
    an IoU (nan) stay out; a group without any has no mean.

    Parameters
    ----------
    rule
        What scores the classes.
    groups
        Name of a group -> indices (train ids) of its classes.
    """

    rule: MetricRule
    groups: Mapping[str, tuple[int, ...]]

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def statement(self) -> str:
        return f"{self.rule.statement}; also by groups of classes ({', '.join(self.groups)})"

    def score(self, counts: np.ndarray) -> Scores:
        scores = self.rule.score(counts)
        means = {}
        for group, members in self.groups.items():
            wrong = [index for index in members if not 0 <= index < len(scores.iou)]
            if wrong or not members:
                raise ValueError(
                    f"group {group!r} must list classes 0..{len(scores.iou) - 1}, got "
                    f"{wrong[0] if wrong else 'none'}"
                )
            means[f"mIoU {group}"] = _mean_of_numbers(scores.iou[list(members)])
        return replace(scores, further={**scores.further, **means})


@dataclass(frozen=True)
class Tally:
    """What rules make scores of, float64 [C] each.

    hit        points of a class that were predicted as it (TP)
    true       points of a class (TP + FN)
    predicted  points that were predicted as a class, of those that have one (TP + FP)
    """

    hit: np.ndarray
    true: np.ndarray
    predicted: np.ndarray

    @property
    def union(self) -> np.ndarray:
        """TP + FP + FN."""
        return self.true + self.predicted - self.hit

    @staticmethod
    def of(counts: np.ndarray) -> Tally:
        """The sums of a confusion matrix; ValueError unless it is [C, C + 1]."""
        counts = np.asarray(counts)
        num_classes = counts.shape[0]
        if counts.shape != (num_classes, num_classes + 1):
            raise ValueError(f"counts must be [C, C + 1], got {counts.shape}")
        return Tally(
            hit=np.diagonal(counts).astype(np.float64),
            true=counts.sum(axis=1).astype(np.float64),
            predicted=counts[:, :num_classes].sum(axis=0).astype(np.float64),
        )


SCANNET_RULE = MeanOverPresentClasses()
S3DIS_RULE = MeanOverAllClasses()
SEMANTICKITTI_RULE = SemanticKittiRule()
NUSCENES_RULE = NuScenesRule()
SCANNET200_RULE = MeanOverPresentClasses(name="ScanNet200 official")


def _ratio(part: np.ndarray | float, whole: np.ndarray | float) -> np.ndarray:
    """part / whole, nan where whole is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _mean_of_numbers(values: np.ndarray) -> float:
    present = values[np.isfinite(values)]
    return float(present.mean()) if present.size else float("nan")
