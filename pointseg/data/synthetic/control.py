"""A control without context: a random forest on what a single point shows.

Trained on colour, height above the floor and, where there is one, normal of single points, or on
intensity, height and range of those of a lidar, it tells how much of the labels can be read without
looking at a point's surroundings. A network has to beat it by far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pointseg.data.types import PointCloud

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

FLOOR_PERCENTILE = 1.0

PointFeatures = Callable[[PointCloud], NDArray[np.float32]]
"""What a single point shows: [P, F] of a cloud."""


@dataclass(frozen=True)
class ControlReport:
    """Scores over every labelled raw point.

    ``iou`` float64 [num_classes], nan for a class that is absent from labels and predictions;
    ``mean_iou`` is their mean without the absent ones; ``num_points`` labelled points scored.
    """

    names: tuple[str, ...]
    iou: NDArray[np.float64]
    mean_iou: float
    accuracy: float
    num_points: int


def point_features(cloud: PointCloud) -> NDArray[np.float32]:
    """Colour in [0, 1], height in metres above the scene's lowest percentile, and the normal where
    the cloud has one: [P, 7] or [P, 4].

    Raises:
        ValueError: the cloud has no colours.
    """
    if cloud.color is None:
        raise ValueError(f"scene {cloud.scene_id}: the control needs colours")
    z = cloud.xyz_m[:, 2]
    height = z - np.percentile(z, FLOOR_PERCENTILE)
    features = [cloud.color.astype(np.float32) / 255.0, height[:, None]]
    if cloud.normal is not None:
        features.append(cloud.normal)
    return np.concatenate(features, 1).astype(np.float32)


def lidar_features(cloud: PointCloud) -> NDArray[np.float32]:
    """Intensity, height and distance of the points of one scan in its sensor's frame: [P, 3].

    Raises:
        ValueError: the cloud has no intensities.
    """
    if "intensity" not in cloud.extras:
        raise ValueError(f"scene {cloud.scene_id}: the control needs extras['intensity']")
    distance = np.linalg.norm(cloud.xyz_m, axis=1)
    return np.stack([cloud.extras["intensity"], cloud.xyz_m[:, 2], distance], 1).astype(np.float32)


def _labels(cloud: PointCloud) -> NDArray[np.int16]:
    if cloud.labels is None:
        raise ValueError(f"scene {cloud.scene_id}: the control needs labels")
    return cloud.labels


def train_control(
    clouds: Iterable[PointCloud],
    points_per_cloud: int = 1000,
    num_trees: int = 24,
    max_depth: int = 14,
    seed: int = 0,
    num_jobs: int = 1,
    features_of: PointFeatures = point_features,
) -> RandomForestClassifier:
    """Fit the forest on labelled points sampled from training scenes.

    Args:
        clouds: scenes with labels (-1 ignored) and what ``features_of`` needs.
        points_per_cloud: points drawn from each scene.
        num_trees: trees of the forest.
        max_depth: their depth.
        seed: of the sampling and the forest.
        num_jobs: threads; the result does not depend on them.
        features_of: what the forest sees of a point.

    Raises:
        ValueError: a scene lacks what is needed, or no scene has a labelled point.
    """
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    features, targets = [], []
    for cloud in clouds:
        labelled = np.flatnonzero(_labels(cloud) >= 0)
        count = min(points_per_cloud, len(labelled))
        chosen = rng.choice(labelled, count, replace=False)
        features.append(features_of(cloud)[chosen])
        targets.append(_labels(cloud)[chosen])
    if not features or not sum(len(target) for target in targets):
        raise ValueError("clouds: expected scenes with labelled points, got none")
    forest = RandomForestClassifier(
        n_estimators=num_trees,
        max_depth=max_depth,
        min_samples_leaf=4,
        max_samples=0.5,
        random_state=seed,
        n_jobs=num_jobs,
    )
    forest.fit(np.concatenate(features), np.concatenate(targets))
    return forest


def score_control(
    forest: RandomForestClassifier,
    clouds: Iterable[PointCloud],
    names: tuple[str, ...],
    features_of: PointFeatures = point_features,
) -> ControlReport:
    """IoU of a forest over all labelled points of some scenes.

    Args:
        forest: from :func:`train_control`.
        clouds: scenes it has not seen.
        names: of the classes, by train id.
        features_of: what it was trained on.
    """
    size = len(names)
    counts = np.zeros((size, size), np.int64)
    for cloud in clouds:
        target = _labels(cloud)
        labelled = target >= 0
        predicted = forest.predict(features_of(cloud)[labelled]).astype(np.int64)
        cell = target[labelled].astype(np.int64) * size + predicted
        counts += np.bincount(cell, minlength=size * size).reshape(size, size)
    hit = counts.diagonal().astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - hit
    iou = np.divide(hit, union, out=np.full(size, np.nan), where=union > 0)
    total = int(counts.sum())
    return ControlReport(
        names=names,
        iou=iou,
        mean_iou=float(np.nanmean(iou)) if total else float("nan"),
        accuracy=float(hit.sum() / total) if total else float("nan"),
        num_points=total,
    )
