"""From a cloud to voxels with features: the step every scene takes before it is batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pointseg.data.labels import IGNORE_INDEX
from pointseg.data.types import PointCloud, VoxelScene
from pointseg.ops import voxel_reduce, voxelize_points

_GROUND_PERCENTILE = 1.0


class MissingFeatureError(ValueError):
    """A cloud lacks something that a feature channel is made of."""


def _color(cloud: PointCloud) -> NDArray[np.float32]:
    if cloud.color is None:
        raise _missing(cloud, "color", "red, green and blue of every point")
    # To float32 first: uint8 with a Python float would go through float64 or wrap.
    out = cloud.color.astype(np.float32)
    out *= np.float32(1 / 255)
    out -= np.float32(0.5)
    return out


def _normal(cloud: PointCloud) -> NDArray[np.float32]:
    if cloud.normal is None:
        raise _missing(cloud, "normal", "nx, ny and nz of every point, or a mesh with faces")
    return cloud.normal


def _height(cloud: PointCloud) -> NDArray[np.float32]:
    z = np.ascontiguousarray(cloud.xyz_m[:, 2])
    # The k-th smallest by partition: a percentile by sorting would cost as much as voxelizing.
    rank = int(_GROUND_PERCENTILE / 100 * (len(z) - 1))
    ground = np.partition(z, rank)[rank] if len(z) else np.float32(0)
    return (z - ground)[:, None]


def _xyz(cloud: PointCloud) -> NDArray[np.float32]:
    return cloud.xyz_m


def _intensity(cloud: PointCloud) -> NDArray[np.float32]:
    if "intensity" not in cloud.extras:
        raise _missing(cloud, "intensity", "an intensity of every point")
    return np.asarray(cloud.extras["intensity"], dtype=np.float32).reshape(cloud.num_points, 1)


def _range(cloud: PointCloud) -> NDArray[np.float32]:
    if any(cloud.origin_m):
        raise _missing(cloud, "range", "coordinates in the frame of a sensor")
    return np.linalg.norm(cloud.xyz_m, axis=1, keepdims=True).astype(np.float32, copy=False)


def _sweep(cloud: PointCloud) -> NDArray[np.float32]:
    age = cloud.extras.get("sweep")
    if age is None:
        return np.zeros((cloud.num_points, 1), dtype=np.float32)
    return np.asarray(age, dtype=np.float32).reshape(cloud.num_points, 1)


def _ones(cloud: PointCloud) -> NDArray[np.float32]:
    return np.ones((cloud.num_points, 1), dtype=np.float32)


FEATURES: dict[str, tuple[int, Callable[[PointCloud], NDArray[np.float32]]]] = {
    "color": (3, _color),  # RGB in [-0.5, 0.5]
    "normal": (3, _normal),  # unit vectors
    "height": (1, _height),  # metres above the scene's 1st percentile of z
    "xyz": (3, _xyz),  # metres
    "intensity": (1, _intensity),  # as in the file
    "range": (1, _range),  # metres from the origin, where a lidar scan has its sensor
    "sweep": (1, _sweep),  # age in scans, 0 where the cloud is one scan
    "ones": (1, _ones),
}
"""Feature names: (number of channels, function of a cloud giving float32 [P, channels])."""


def _missing(cloud: PointCloud, feature: str, needs: str) -> MissingFeatureError:
    return MissingFeatureError(
        f"{cloud.scene_id}: feature {feature!r} needs {needs}, which this cloud does not have"
    )


def check_features(features: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple; ValueError for an unknown one, a repeated one, or none at all."""
    if isinstance(features, str):
        raise TypeError(f"features must be a list of names, got the string {features!r}")
    unknown = [name for name in features if name not in FEATURES]
    if unknown or not features or len(set(features)) != len(features):
        raise ValueError(
            f"features must be one or more of {', '.join(FEATURES)}, each once; got "
            f"{list(features)}"
        )
    return tuple(features)


def num_channels(features: Sequence[str]) -> int:
    """Channels C of a list of feature names."""
    return sum(FEATURES[name][0] for name in check_features(features))


def point_features(cloud: PointCloud, features: Sequence[str]) -> NDArray[np.float32]:
    """float32 [P, C], the channels of ``features`` in that order."""
    out = np.empty((cloud.num_points, num_channels(features)), dtype=np.float32)
    start = 0
    for name in features:
        width, function = FEATURES[name]
        out[:, start : start + width] = function(cloud)
        start += width
    return out


def voxelize_cloud(cloud: PointCloud, voxel_size_m: float, features: Sequence[str]) -> VoxelScene:
    """Group a cloud's points into voxels ``floor(xyz / voxel_size_m)``, computed in float32.

    Features are means over a voxel's points, its label the most frequent valid one. Points of other
    scans (``cloud.context``) make voxels as all others do; ``point_to_voxel`` and ``point_labels``
    have no row for them. An empty cloud, a missing feature or points out of range are ValueErrors.
    """
    if cloud.num_points == 0:
        raise ValueError(f"{cloud.scene_id}: the cloud has no points")
    feats = torch.from_numpy(point_features(cloud, features))
    # Copied: the arrays may be read-only maps, and tensors cannot be.
    xyz = torch.from_numpy(np.array(cloud.xyz_m))
    try:
        voxels = voxelize_points(xyz, voxel_size_m)
    except ValueError as error:
        raise ValueError(f"{cloud.scene_id}: {error}") from error
    labels: torch.Tensor | None = None
    voxel_labels = torch.full((voxels.num_voxels,), IGNORE_INDEX, dtype=torch.int64)
    if cloud.labels is not None:
        labels = torch.from_numpy(cloud.labels.astype(np.int64))
        voxel_labels = voxel_reduce(labels, voxels, "majority", ignore_index=IGNORE_INDEX)
    point_to_voxel = voxels.inverse
    if cloud.context is not None:
        own = torch.from_numpy(~cloud.context)
        point_to_voxel, labels = point_to_voxel[own], None if labels is None else labels[own]
    return VoxelScene(
        scene_id=cloud.scene_id,
        coords=voxels.coords[:, 1:].contiguous(),
        feats=voxel_reduce(feats, voxels, "mean"),
        voxel_labels=voxel_labels,
        point_to_voxel=point_to_voxel,
        point_labels=labels,
    )
