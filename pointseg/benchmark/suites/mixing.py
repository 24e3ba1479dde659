"""Transforms that mix two scans, in a sweep of a lidar with another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from pointseg.benchmark.report import Row
from pointseg.benchmark.street import SENSOR_HEIGHT_M, street_sweep
from pointseg.benchmark.suites.cases import Options
from pointseg.benchmark.timing import median_ms
from pointseg.data import MixingTransform, PointCloud
from pointseg.data.transforms import InstancePaste, LaserMix, Mix3D, PolarMix

GROUND, OBJECT, REST = 0, 1, 2
_GROUND_BELOW_M, _OBJECT_BELOW_M, _OBJECT_M = 0.2, 1.8, 3.0
_SENSOR_M = (0.0, 0.0, SENSOR_HEIGHT_M)

MIXES: dict[str, MixingTransform] = {
    "mix3d": Mix3D(),
    "lasermix": LaserMix(sensor_m=_SENSOR_M),
    "polarmix": PolarMix(classes=(OBJECT,), swap_probability=1.0, sensor_m=_SENSOR_M),
    "instance_paste": InstancePaste(classes=(OBJECT,), ground=(GROUND,)),
    "instance_paste_around_sensor": InstancePaste(
        classes=(OBJECT,), ground=(GROUND,), placement="around_sensor", sensor_m=_SENSOR_M
    ),
}
"""By name of their case; both steps of polarmix, which the recipe takes every second time."""


def mixing_rows(options: Options) -> Iterator[Row]:
    """The time that each takes for two sweeps in memory; call it within one thread."""
    cloud, other = sweep_cloud(0), sweep_cloud(1)
    for name, transform in MIXES.items():
        ms = median_ms(partial(_mix, transform, cloud, other), options.repeats)
        yield Row.alone("data", f"{name}_lidar", "ms", ms)


def _mix(transform: MixingTransform, cloud: PointCloud, other: PointCloud) -> PointCloud:
    return transform.mix(cloud, other, np.random.default_rng(0))


def sweep_cloud(seed: int) -> PointCloud:
    """A sweep with intensity at random: ground, objects up to 1.8 m, and what is higher."""
    xyz = street_sweep(seed).numpy()
    height = xyz[:, 2]
    labels = np.where(
        height < _GROUND_BELOW_M, GROUND, np.where(height < _OBJECT_BELOW_M, OBJECT, REST)
    )
    cells = np.floor(xyz[:, :2] / _OBJECT_M).astype(np.int64)
    cells -= cells.min(axis=0)
    ids = 1 + cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]
    return PointCloud(
        f"sweep{seed}",
        xyz,
        labels=labels.astype(np.int16),
        instances=np.where(labels == OBJECT, ids, 0).astype(np.int32),
        extras={"intensity": np.random.default_rng(seed).random(len(xyz), dtype=np.float32)},
    )
