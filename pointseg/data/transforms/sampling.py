"""Transforms that leave points out; every array of the cloud follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointseg.data.transforms.base import check_count, check_probability, register
from pointseg.data.types import PointCloud


@register("random_dropout")
@dataclass(frozen=True)
class RandomDropout:
    """Drop ``ratio`` of the points; at least one stays. The order of the others is kept."""

    ratio: float = 0.2
    probability: float = 0.2

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio must be in [0, 1), got {self.ratio}")

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if rng.random() >= self.probability or cloud.num_points == 0:
            return cloud
        keep = rng.random(cloud.num_points, dtype=np.float32) >= self.ratio
        if not keep.any():
            keep[rng.integers(cloud.num_points)] = True
        return cloud.select(keep)


@register("crop_to_budget")
@dataclass(frozen=True)
class CropToBudget:
    """Keep the ``max_points`` points nearest to one of them chosen at random, in their order."""

    max_points: int = 100_000

    def __post_init__(self) -> None:
        check_count("max_points", self.max_points)

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if cloud.num_points <= self.max_points:
            return cloud
        center = cloud.xyz_m[rng.integers(cloud.num_points)]
        offset = np.ascontiguousarray(cloud.xyz_m.T) - center[:, None]
        offset *= offset
        nearest = np.argpartition(offset.sum(axis=0), self.max_points - 1)[: self.max_points]
        keep = np.zeros(cloud.num_points, dtype=bool)  # a mask keeps the order without sorting
        keep[nearest] = True
        return cloud.select(keep)
