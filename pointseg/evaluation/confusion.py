"""Counting points by (true class, predicted class)."""

from __future__ import annotations

from typing import Any

import numpy as np

_CHUNK_POINTS = 1 << 20  # bounds the temporary int64 codes to 8 MiB, whatever the scene


class ConfusionMatrix:
    """Accumulates how often each true class was predicted as each class.

    The one convention of every benchmark we score: a point whose *true* label is ``ignore_index``
    is left out altogether, so nothing predicted there can help or hurt. A point with a true class
    whose *prediction* is none of the classes (any number outside ``0..num_classes-1``) is counted
    in the extra last column: the true class missed it and no other class is blamed.

    Parameters
    ----------
    num_classes
        Number of classes C; train ids are ``0..C-1``.
    ignore_index
        The train id of points that do not count; must lie outside ``0..C-1``.

    Attributes
    ----------
    counts : int64 [C, C + 1]
        Rows are true classes, columns predictions, the last one "none of the classes".
    num_ignored : int
        Points left out so far.
    """

    def __init__(self, num_classes: int, ignore_index: int = -1) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if 0 <= ignore_index < num_classes:
            raise ValueError(
                f"ignore_index must be none of the classes 0..{num_classes - 1}, got {ignore_index}"
            )
        self.num_classes = int(num_classes)
        self.ignore_index = int(ignore_index)
        self.counts = np.zeros((self.num_classes, self.num_classes + 1), dtype=np.int64)
        self.num_ignored = 0

    @staticmethod
    def of(counts: Any, num_ignored: int = 0) -> ConfusionMatrix:
        """The matrix that holds ``counts``, integer [C, C + 1]; ValueError for anything else."""
        array = np.asarray(counts)
        if array.ndim != 2 or array.shape[1] != array.shape[0] + 1 or array.dtype.kind not in "iu":
            raise ValueError(
                f"counts must be integers [C, C + 1], got {array.dtype} {list(array.shape)}"
            )
        if num_ignored < 0 or (array < 0).any():
            raise ValueError("counts and num_ignored must not be negative")
        matrix = ConfusionMatrix(len(array))
        matrix.counts += array.astype(np.int64)
        matrix.num_ignored = int(num_ignored)
        return matrix

    @property
    def num_points(self) -> int:
        """Points counted so far, ignored ones not included."""
        return int(self.counts.sum())

    def update(self, pred: Any, target: Any) -> None:
        """Count one set of points.

        Parameters
        ----------
        pred, target
            Integer arrays or tensors [P]: predicted and true train ids of the same points.

        Raises
        ------
        TypeError
            If either is not of an integer type.
        ValueError
            If the shapes differ, or a true label is neither a class nor ``ignore_index``
            (nothing is counted then).
        """
        pred, target = _integer_vector(pred, "pred"), _integer_vector(target, "target")
        if pred.shape != target.shape:
            raise ValueError(
                f"pred and target must label the same points: got {pred.size} predictions "
                f"for {target.size} points"
            )
        added = np.zeros_like(self.counts)
        ignored = 0
        for begin in range(0, target.size, _CHUNK_POINTS):
            chunk = slice(begin, begin + _CHUNK_POINTS)
            chunk_counts, chunk_ignored = self._count(pred[chunk], target[chunk])
            added += chunk_counts
            ignored += chunk_ignored
        self.counts += added
        self.num_ignored += ignored

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of ``other``; the order of merging does not matter."""
        if (self.num_classes, self.ignore_index) != (other.num_classes, other.ignore_index):
            raise ValueError(
                f"cannot merge a matrix of {other.num_classes} classes (ignore index "
                f"{other.ignore_index}) into one of {self.num_classes} (ignore index "
                f"{self.ignore_index})"
            )
        self.counts += other.counts
        self.num_ignored += other.num_ignored

    def _count(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, int]:
        target = target.astype(np.int64)
        kept = target != self.ignore_index
        target, pred = target[kept], pred[kept].astype(np.int64)
        outside = (target < 0) | (target >= self.num_classes)
        if outside.any():
            raise ValueError(
                f"target holds the label {int(target[outside][0])}, which is neither one of the "
                f"classes 0..{self.num_classes - 1} nor the ignore index {self.ignore_index}; "
                "map raw ids to train ids first"
            )
        none = (pred < 0) | (pred >= self.num_classes)
        columns = self.num_classes + 1
        codes = target * columns + np.where(none, self.num_classes, pred)
        counts = np.bincount(codes, minlength=self.num_classes * columns)
        return counts.reshape(self.counts.shape).astype(np.int64), int((~kept).sum())


def _integer_vector(values: Any, name: str) -> np.ndarray:
    """``values`` as a numpy array [P] of an integer type, from a numpy array or a tensor."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must hold integer train ids, got {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} must have one id per point, [P]; got shape {array.shape}")
    return array
