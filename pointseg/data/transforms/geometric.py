"""Rotations, scales, flips, shifts and jitter of the coordinates; normals follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pointseg.data.transforms.base import (
    check_non_negative,
    check_probability,
    column_range,
    is_numbers,
    register,
)
from pointseg.data.types import PointCloud

Pivot = Literal["middle", "origin"]
"""What stays in place: the middle of the bounding box, or the origin of the coordinates. For scans
in the sensor's frame the origin keeps every distance from the sensor.
"""


def check_pivot(about: str) -> None:
    if about not in get_args(Pivot):
        raise ValueError(f"about must be one of {', '.join(get_args(Pivot))}, got {about!r}")


def _center(xyz: NDArray[np.float32]) -> NDArray[np.float32]:
    """Middle of the bounding box, float32 [3]."""
    low, high = column_range(xyz)
    center: NDArray[np.float32] = (low + high) * np.float32(0.5)
    return center


def transform_linearly(cloud: PointCloud, matrix: NDArray[np.float64], about: Pivot) -> PointCloud:
    """Apply an orthogonal matrix (on column vectors) about a pivot; normals turn along."""
    # Row vectors, hence the transpose; contiguous, which the product is far faster for.
    rows = np.ascontiguousarray(matrix.T, dtype=np.float32)
    xyz = cloud.xyz_m @ rows
    if about == "middle":
        center = _center(cloud.xyz_m)
        shift = center - center @ rows
        for axis in range(3):
            xyz[:, axis] += shift[axis]
    return cloud.replace(xyz_m=xyz, normal=None if cloud.normal is None else cloud.normal @ rows)


def rotation_matrix(x_rad: float, y_rad: float, z_rad: float) -> NDArray[np.float64]:
    """Rotation about x, then y, then z; acts on column vectors. float64 [3, 3]."""
    (cx, sx), (cy, sy), (cz, sz) = ((math.cos(a), math.sin(a)) for a in (x_rad, y_rad, z_rad))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@register("random_rotation")
@dataclass(frozen=True)
class RandomRotation:
    """Rotate about a pivot: any yaw, and a small tilt about x and y.

    Angles are uniform in ``[-max, max]``, in degrees; the tilt's default is pi / 64.
    """

    max_yaw_deg: float = 180.0
    max_tilt_deg: float = 180.0 / 64
    probability: float = 1.0
    about: Pivot = "middle"

    def __post_init__(self) -> None:
        check_pivot(self.about)
        check_probability(self.probability)
        check_non_negative(max_yaw_deg=self.max_yaw_deg, max_tilt_deg=self.max_tilt_deg)

    @property
    def moves_sensor(self) -> bool:
        """Whether the sensor of a lidar scan is elsewhere afterwards than at the origin."""
        return self.about == "middle"

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if rng.random() >= self.probability or cloud.num_points == 0:
            return cloud
        x, y, z = np.deg2rad((self.max_tilt_deg, self.max_tilt_deg, self.max_yaw_deg)) * (
            rng.uniform(-1, 1, size=3)
        )
        return transform_linearly(cloud, rotation_matrix(x, y, z), self.about)


@register("random_scale")
@dataclass(frozen=True)
class RandomScale:
    """Multiply all coordinates by one factor, uniform in ``[low, high]``."""

    low: float = 0.9
    high: float = 1.1

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"need 0 < low <= high, got low={self.low}, high={self.high}")

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        return cloud.replace(xyz_m=cloud.xyz_m * np.float32(rng.uniform(self.low, self.high)))


@register("random_flip")
@dataclass(frozen=True)
class RandomFlip:
    """Mirror x and y, each with the given probability, about a pivot."""

    probability: float = 0.5
    about: Pivot = "middle"

    def __post_init__(self) -> None:
        check_pivot(self.about)
        check_probability(self.probability)

    @property
    def moves_sensor(self) -> bool:
        """Whether the sensor of a lidar scan is elsewhere afterwards than at the origin."""
        return self.about == "middle"

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        flipped = rng.random(2) < self.probability
        if not flipped.any() or cloud.num_points == 0:
            return cloud
        mirror = np.diag([*np.where(flipped, -1.0, 1.0), 1.0])
        return transform_linearly(cloud, mirror, self.about)


@register("random_translation")
@dataclass(frozen=True)
class RandomTranslation:
    """Shift by a vector uniform in ``[-max_shift_m, max_shift_m]`` per axis (x, y, z).

    Shifts also move the scene against the voxel faces.
    """

    moves_sensor: ClassVar[bool] = True

    max_shift_m: tuple[float, float, float] = (0.2, 0.2, 0.0)

    def __post_init__(self) -> None:
        if not is_numbers(self.max_shift_m, 3) or not min(self.max_shift_m) >= 0:
            raise ValueError(f"max_shift_m must be three lengths >= 0, got {self.max_shift_m}")

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        shift = rng.uniform(-1, 1, size=3) * self.max_shift_m
        xyz = np.array(cloud.xyz_m)
        for axis in range(3):
            xyz[:, axis] += np.float32(shift[axis])
        return cloud.replace(xyz_m=xyz)


@register("random_jitter")
@dataclass(frozen=True)
class RandomJitter:
    """Add Gaussian noise to every coordinate, cut off at ``clip_m``; normals stay."""

    std_m: float = 0.005
    clip_m: float = 0.02
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_probability(self.probability)
        check_non_negative(std_m=self.std_m, clip_m=self.clip_m)

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if rng.random() >= self.probability:
            return cloud
        noise = rng.standard_normal(cloud.xyz_m.shape, dtype=np.float32)
        noise *= np.float32(self.std_m)
        np.clip(noise, -self.clip_m, self.clip_m, out=noise)
        noise += cloud.xyz_m
        return cloud.replace(xyz_m=noise)
