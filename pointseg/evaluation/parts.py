"""Scores of some of the points: what a subset of points is, and how subsets are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.report import Part
from pointseg.evaluation.rules import MetricRule

if TYPE_CHECKING:
    from pointseg.data import PointCloud


class PointSubsets(Protocol):
    """A way to choose points of a scene by where they are and what they are labelled."""

    @property
    def statement(self) -> str:
        """What the parts are, in a sentence; printed over their table."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, in order; the same for every scene."""

    def masks(self, cloud: PointCloud, labels: np.ndarray) -> Mapping[str, np.ndarray]:
        """Which points each part has: name -> bool [P], a key for each of ``names``.

        ``cloud`` is the raw scene and ``labels`` integer [P] its true train ids, -1 where there is
        none.
        """


class PartCounter:
    """Counts the points of parts, scene by scene, while an evaluation runs.

    Its `count` is an ``on_scene`` of `evaluate_single_pass` or of any protocol that has one.

    Parameters
    ----------
    subsets
        Ways to choose points, whose parts have different names.
    num_classes
        Number of classes C.
    read_cloud
        Gives the raw scene of an id; points of other scans (`PointCloud.context`) are left out.
    """

    def __init__(
        self,
        subsets: Sequence[PointSubsets],
        num_classes: int,
        read_cloud: Callable[[str], PointCloud],
    ) -> None:
        names = [name for subset in subsets for name in subset.names]
        if len(set(names)) < len(names):
            raise ValueError(f"parts must have different names, got {', '.join(names)}")
        self._subsets = tuple(subsets)
        self._read_cloud = read_cloud
        self._confusions = {name: ConfusionMatrix(num_classes) for name in names}

    def count(self, scene_id: str, predictions: np.ndarray, labels: np.ndarray | None) -> None:
        """Count one scene: integer [P] train ids, predicted and true."""
        if labels is None:
            raise ValueError(f"scene {scene_id} has no labels, so its parts cannot be scored")
        cloud = self._read_cloud(scene_id).own()
        if cloud.num_points != len(labels):
            raise ValueError(
                f"scene {scene_id} has {cloud.num_points} points and {len(labels)} labels; parts "
                "need the raw points in the order of the labels"
            )
        for subset in self._subsets:
            for name, mask in subset.masks(cloud, labels).items():
                self._confusions[name].update(predictions[mask], labels[mask])

    def parts(self, rule: MetricRule) -> dict[str, Part]:
        """What was counted so far, scored by ``rule``."""
        return {
            name: Part.of(subset.statement, self._confusions[name], rule)
            for subset in self._subsets
            for name in subset.names
        }
