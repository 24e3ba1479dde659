"""Smooth random deformations of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from pointseg.data.transforms.base import check_probability, is_numbers, register
from pointseg.data.types import PointCloud

_MAX_GRID_NODES = 1 << 26  # about 0.8 GB of noise: a coarser granularity is meant


@register("elastic_distortion")
@dataclass(frozen=True)
class ElasticDistortion:
    """Add smooth noise to the coordinates, once per ``(granularity_m, magnitude_m)`` pair.

    Gaussian noise on a grid of nodes ``granularity_m`` apart is blurred twice along each axis over
    three nodes, sampled trilinearly at the points and multiplied by ``magnitude_m``. Normals stay.
    The defaults are those of the sparse convolution literature for rooms.
    """

    moves_sensor: ClassVar[bool] = True

    steps: tuple[tuple[float, float], ...] = ((0.2, 0.4), (0.8, 1.6))
    probability: float = 0.95

    def __post_init__(self) -> None:
        check_probability(self.probability)
        for step in self.steps:
            if not is_numbers(step, 2) or not (step[0] > 0 and step[1] >= 0):
                raise ValueError(
                    f"steps must be pairs of granularity_m > 0 and magnitude_m >= 0, got {step!r}"
                )

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if rng.random() >= self.probability or cloud.num_points == 0:
            return cloud
        # A row per axis: arithmetic along rows is several times faster than along columns of three.
        xyz = np.ascontiguousarray(cloud.xyz_m.T)
        for granularity_m, magnitude_m in self.steps:
            xyz = _distort(xyz, granularity_m, magnitude_m, rng)
        return cloud.replace(xyz_m=np.stack(list(xyz), axis=1))


def _distort(
    xyz: NDArray[np.float32], granularity_m: float, magnitude_m: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """One step for coordinates [3, P]."""
    low, high = xyz.min(axis=1), xyz.max(axis=1)
    # One node beyond the bounding box on every side, so that the blur's border lies outside.
    first = low - np.float32(granularity_m)
    num_nodes = np.ceil((high - low) / granularity_m).astype(np.int64) + 3
    if num_nodes.prod() > _MAX_GRID_NODES:
        raise ValueError(
            f"elastic distortion needs {num_nodes.prod():,} nodes {granularity_m} m apart for a "
            f"scene of {np.round(high - low, 1)} m; check the scene's units or use a larger "
            "granularity"
        )
    noise = rng.standard_normal((3, *num_nodes[::-1].tolist()), dtype=np.float32)
    for axis in (1, 2, 3, 1, 2, 3):
        noise = _sum_neighbors(noise, axis)
    noise *= np.float32(magnitude_m / 3**6)  # sums become means of three, six times
    moved = _sample(noise, (xyz - first[:, None]) * np.float32(1 / granularity_m))
    moved += xyz
    return moved


def _sample(field: NDArray[np.float32], at: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values [3, P] of a field [3, nz, ny, nx], trilinear at [3, P] (x, y, z), counted in nodes.

    Torch samples images four times as fast as volumes. So every pair of layers (z, z + 1) becomes
    an image of six channels, and all of them one image, a pair below the other. Its rows, some
    hundreds for a room, are told apart to nz * ny * 6e-8 nodes; the node beyond the box on every
    side keeps what rounding does inside a layer.
    """
    _, nz, ny, nx = field.shape
    image = np.concatenate([field[:, :-1], field[:, 1:]]).reshape(6, (nz - 1) * ny, nx)
    x, y, z = at
    layer = np.floor(z)
    # grid_sample's -1 and 1 are the first and the last pixel; its last axis is (column, row).
    pixel = np.empty((len(z), 2), dtype=np.float32)
    pixel[:, 0] = x * np.float32(2 / (nx - 1)) - np.float32(1)
    pixel[:, 1] = (y + layer * np.float32(ny)) * np.float32(2 / ((nz - 1) * ny - 1)) - np.float32(1)
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(image)[None],
        torch.from_numpy(pixel)[None, None],
        mode="bilinear",
        align_corners=True,
    )[0, :, 0].numpy()
    below, above = sampled[:3], sampled[3:]
    above -= below
    above *= z - layer
    above += below
    return above


def _sum_neighbors(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Sum over three neighbours along an axis, zero outside."""
    out = values.copy()
    ahead = [slice(None)] * values.ndim
    behind = [slice(None)] * values.ndim
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    out[tuple(ahead)] += values[tuple(behind)]
    out[tuple(behind)] += values[tuple(ahead)]
    return out
