"""Two whole scenes laid over each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pointseg.data.transforms.base import MixingTransform, check_probability, register
from pointseg.data.transforms.mixing import join_clouds
from pointseg.data.types import PointCloud


@register("mix3d")
@dataclass(frozen=True)
class Mix3D(MixingTransform):
    """Lay another scene over this one, so that objects are seen outside their usual context.

    All points of both are kept; the other scene is moved so that its centroid comes to lie at that
    of this one, plus an offset drawn uniformly, along each axis, from ``shift`` times the range of
    this scene's points about its centroid. Origins of coordinates do not matter, since the other
    scene is moved in any case. The result has as many points as both together: put
    ``crop_to_budget`` behind it where memory is short.

    Source: Nekrasov et al., Mix3D: Out-of-Context Data Augmentation for 3D Scenes, 3DV 2021,
    arXiv:2110.02210. Both scenes are augmented before they are mixed, so it stands behind the
    geometric transforms. 0.8 and 0.5 are the values of the authors' training on ScanNet.
    """

    moves_sensor: ClassVar[bool] = True  # two scans side by side have two sensors

    probability: float = 0.8
    shift: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_probability(self.shift, "shift")

    def mix(self, cloud: PointCloud, other: PointCloud, rng: np.random.Generator) -> PointCloud:
        if cloud.num_points == 0 or other.num_points == 0:
            return join_clouds([cloud, other])
        columns, center = _centroid(cloud)
        low, high = columns.min(axis=1) - center, columns.max(axis=1) - center
        move = center + self.shift * rng.uniform(low, high) - _centroid(other)[1]
        return join_clouds([cloud, other.replace(xyz_m=other.xyz_m + move.astype(np.float32))])


def _centroid(cloud: PointCloud) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The points as [3, P], and their mean in double precision: sums of metres grow large."""
    columns = np.ascontiguousarray(cloud.xyz_m.T)
    return columns, columns.mean(axis=1, dtype=np.float64)
