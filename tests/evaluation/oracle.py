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
