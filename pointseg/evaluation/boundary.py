"""Scores near the boundaries between classes, and away from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pointseg.data import PointCloud


@dataclass(frozen=True)
class BoundaryArea:
    """Points with a point of another class at most ``radius_m`` away ("boundary"), and all other
    points with a class ("inner").

    Both are taken from the true labels and raw points; predictions play no part. A point without a
    class neither makes a boundary nor is in either part, so the two parts make up all points that
    are scored. Scored by IoU these are the mIoU@boundary and mIoU@inner of Tang et al.,
    "Contrastive Boundary Learning for Point Cloud Segmentation", CVPR 2022, where a point belongs
    to the boundary if its neighbourhood holds another label. (Their B-IoU compares the boundary of
    the predictions with that of the labels and is another number.)
    """

    radius_m: float

    def __post_init__(self) -> None:
        if not 0 < self.radius_m < math.inf:
            raise ValueError(f"radius_m must be a length above 0, got {self.radius_m}")

    @property
    def statement(self) -> str:
        return f"boundary: another class within {self.radius_m:g} m; inner: none"

    @property
    def names(self) -> tuple[str, ...]:
        return ("boundary", "inner")

    def masks(self, cloud: PointCloud, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Name -> bool [P]."""
        is_near = near_another_class(cloud.xyz_m, labels, self.radius_m)
        return {"boundary": is_near, "inner": (labels >= 0) & ~is_near}


def near_another_class(xyz_m: np.ndarray, labels: np.ndarray, radius_m: float) -> np.ndarray:
    """Whether each point has a point of another class at most ``radius_m`` away, bool [P].

    Parameters
    ----------
    xyz_m
        Float [P, 3].
    labels
        Integer [P]; points with a negative label are no neighbours, and False.
    """
    from scipy.spatial import cKDTree  # slow to import, needed only here

    xyz = np.asarray(xyz_m, dtype=np.float64)
    is_near = np.zeros(len(xyz), dtype=bool)
    reach = np.nextafter(radius_m, math.inf)  # the bound of a query is exclusive
    for label in np.unique(labels[labels >= 0]):
        points = xyz[labels == label]
        low, high = points.min(axis=0) - radius_m, points.max(axis=0) + radius_m
        is_open = (labels >= 0) & (labels != label) & ~is_near
        asking = np.flatnonzero(is_open & ((xyz >= low) & (xyz <= high)).all(axis=1))
        distance, _ = cKDTree(points).query(xyz[asking], distance_upper_bound=reach, workers=-1)
        is_near[asking] = np.isfinite(distance)
    return is_near
