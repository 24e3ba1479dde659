"""Several scans of a lidar as one cloud: earlier ones moved into the frame of the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pointseg.data.coordinates import LIMIT_M
from pointseg.data.labels import IGNORE_INDEX
from pointseg.data.types import PointCloud

_T = TypeVar("_T", bound=np.generic)


def move(
    xyz_m: NDArray[np.float32], matrix: NDArray[np.float64], where: object, remedy: str
) -> NDArray[np.float32]:
    """Points [P, 3] moved by a matrix [4, 4], computed in float64: poses are up to kilometres from
    the origin.

    ValueError with ``where`` and ``remedy`` where the frames are too far apart for one drive.
    """
    apart = np.abs(matrix[:3, 3]).max()
    if not apart < LIMIT_M:  # also for nan
        raise ValueError(
            f"{where}: the scan is {apart:g} m from the one that it is joined to; {remedy}"
        )
    moved = xyz_m.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    return moved.astype(np.float32)


def join(clouds: Sequence[PointCloud], ages: Sequence[int]) -> PointCloud:
    """The first cloud's points, then those of the others as context.

    All are in the frame of the first and have the same ``extras``, to which ``sweep`` (int16) is
    added: the age of a point's cloud in scans. Labels and instances are those of the clouds, where
    the first has them; points of others that lack them have no class and no instance.
    """
    first = clouds[0]
    counts = [cloud.num_points for cloud in clouds]
    extras: dict[str, NDArray[Any]] = {
        name: np.concatenate([cloud.extras[name] for cloud in clouds]) for name in first.extras
    }
    return PointCloud(
        scene_id=first.scene_id,
        xyz_m=np.concatenate([cloud.xyz_m for cloud in clouds]),
        labels=_joined([cloud.labels for cloud in clouds], counts, IGNORE_INDEX),
        instances=_joined([cloud.instances for cloud in clouds], counts, 0),
        context=np.repeat(np.array(ages) > 0, counts),
        extras={**extras, "sweep": np.repeat(np.array(ages, dtype=np.int16), counts)},
    )


def _joined(
    arrays: Sequence[NDArray[_T] | None], counts: Sequence[int], missing: int
) -> NDArray[_T] | None:
    """None where the first is; ``missing`` for all points of others that are None."""
    first = arrays[0]
    if first is None:
        return None
    filled = [
        np.full(count, missing, first.dtype) if array is None else array
        for array, count in zip(arrays, counts, strict=True)
    ]
    return np.concatenate(filled)
