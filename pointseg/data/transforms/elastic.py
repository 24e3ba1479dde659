"""Smooth random deformations of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pointseg.data.transforms.base import check_probability, column_range, register
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

    steps: tuple[tuple[float, float], ...] = ((0.2, 0.4), (0.8, 1.6))
    probability: float = 0.95

    def __post_init__(self) -> None:
        check_probability(self.probability)
        for step in self.steps:
            if len(step) != 2 or not (step[0] > 0 and step[1] >= 0):
                raise ValueError(
                    f"steps must be pairs of granularity_m > 0 and magnitude_m >= 0, got {step!r}"
                )

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if rng.random() >= self.probability or cloud.num_points == 0:
            return cloud
        xyz = cloud.xyz_m
        for granularity_m, magnitude_m in self.steps:
            xyz = _distort(xyz, granularity_m, magnitude_m, rng)
        return cloud.replace(xyz_m=xyz)


def _distort(
    xyz: NDArray[np.float32], granularity_m: float, magnitude_m: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    low, high = column_range(xyz)
    # One node beyond the bounding box on every side, so that the blur's border lies outside.
    first = low - np.float32(granularity_m)
    num_nodes = np.ceil((high - low) / granularity_m).astype(np.int64) + 3
    if num_nodes.prod() > _MAX_GRID_NODES:
        raise ValueError(
            f"elastic distortion needs {num_nodes.prod():,} nodes {granularity_m} m apart for a "
            f"scene of {np.round(high - low, 1)} m; check the scene's units or use a larger "
            "granularity"
        )
    nx, ny, nz = num_nodes.tolist()
    noise = rng.standard_normal((3, nz, ny, nx), dtype=np.float32)
    for axis in (1, 2, 3, 1, 2, 3):
        noise = _blur(noise, axis)
    # grid_sample's -1 and 1 are the first and the last node; its last axis is x.
    scale = (2 / ((num_nodes - 1) * granularity_m)).astype(np.float32)
    at = np.empty_like(xyz)
    for axis in range(3):
        at[:, axis] = (xyz[:, axis] - first[axis]) * scale[axis] - np.float32(1)
    shift = torch.nn.functional.grid_sample(
        torch.from_numpy(noise)[None],
        torch.from_numpy(at)[None, None, None],
        mode="bilinear",
        align_corners=True,
    )[0, :, 0, 0].numpy()
    moved = np.empty_like(xyz)
    for axis in range(3):
        moved[:, axis] = xyz[:, axis] + shift[axis] * np.float32(magnitude_m)
    return moved


def _blur(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Mean over three neighbours along an axis, zero outside."""
    out = values.copy()
    ahead = [slice(None)] * values.ndim
    behind = [slice(None)] * values.ndim
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    out[tuple(ahead)] += values[tuple(behind)]
    out[tuple(behind)] += values[tuple(ahead)]
    out *= np.float32(1 / 3)
    return out
