"""Scores by sets of points, one class at a time; shares nothing with the production code."""

from __future__ import annotations

import math


def iou_by_sets(pred: list[int], target: list[int], num_classes: int) -> list[float]:
    """IoU of each class as |A and B| / |A or B| over the points whose true label is a class."""
    points = [i for i, label in enumerate(target) if 0 <= label < num_classes]
    result = []
    for c in range(num_classes):
        true = {i for i in points if target[i] == c}
        predicted = {i for i in points if pred[i] == c}
        union = true | predicted
        result.append(len(true & predicted) / len(union) if union else math.nan)
    return result


def mean_of_present(values: list[float]) -> float:
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan


def accuracy_by_points(pred: list[int], target: list[int], num_classes: int) -> float:
    pairs = [(p, t) for p, t in zip(pred, target, strict=True) if 0 <= t < num_classes]
    return sum(p == t for p, t in pairs) / len(pairs) if pairs else math.nan


# -- the benchmarks' evaluators, point by point on raw ids -----------------------------------------


def semantickitti_by_points(
    pred: list[int], target: list[int], learning_map: dict[int, int], num_classes: int
) -> tuple[list[float], float, float]:
    """IoU of classes 1..num_classes, their mean and the accuracy, from ids as label files have
    them.
    """
    pairs = [
        (learning_map[p & 0xFFFF], learning_map[t & 0xFFFF])
        for p, t in zip(pred, target, strict=True)
    ]
    pairs = [(p, t) for p, t in pairs if t != 0]
    ious = []
    for c in range(1, num_classes + 1):
        tp = sum(p == t == c for p, t in pairs)
        fp = sum(p == c != t for p, t in pairs)
        fn = sum(t == c != p for p, t in pairs)
        ious.append(tp / (tp + fp + fn + 1e-15))
    right = sum(p == t for p, t in pairs)
    answered = sum(p != 0 for p, _ in pairs)
    return ious, sum(ious) / num_classes, right / (answered + 1e-15)


def nuscenes_by_points(
    pred: list[int], target: list[int], num_classes: int
) -> tuple[list[float], float, float]:
    """IoU of classes 1..num_classes, their mean without nan, and fwIoU, from ids 0..num_classes."""
    pairs = [(p, t) for p, t in zip(pred, target, strict=True) if t != 0]
    ious = iou_by_sets([p - 1 for p, _ in pairs], [t - 1 for _, t in pairs], num_classes)
    weights = [sum(t == c + 1 for _, t in pairs) for c in range(num_classes)]
    weighted = [iou * w for iou, w in zip(ious, weights, strict=True) if w]
    return ious, mean_of_present(ious), sum(weighted) / len(pairs) if pairs else math.nan


def s3dis_by_points(
    pred: list[int], target: list[int], num_classes: int
) -> tuple[float, float, float]:
    """mIoU, mAcc and OA, every denominator with 1e-10 added to it."""
    points = list(zip(pred, target, strict=True))
    ious, recalls = [], []
    for c in range(num_classes):
        right = sum(p == t == c for p, t in points)
        ious.append(right / (sum(c in point for point in points) + 1e-10))
        recalls.append(right / (sum(t == c for _, t in points) + 1e-10))
    accuracy = sum(p == t for p, t in points) / (len(points) + 1e-10)
    return sum(ious) / num_classes, sum(recalls) / num_classes, accuracy


def near_another_class_by_pairs(
    xyz: list[list[float]], labels: list[int], radius: float
) -> list[bool]:
    """Whether any pair of points with different classes is at most ``radius`` apart."""
    return [
        own >= 0
        and any(
            other >= 0 and other != own and math.dist(xyz[i], xyz[j]) <= radius
            for j, other in enumerate(labels)
        )
        for i, own in enumerate(labels)
    ]
