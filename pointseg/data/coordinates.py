"""Coordinates that can be points of a scene: finite, and not so far off that float32 is coarse."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LIMIT_M: Final = 1e5
"""Coordinates of a scan or a room are smaller: no sensor sees as far, and here neighbouring float32
are 8 mm apart.
"""
FARTHEST_M: Final = 1e8
"""Poses are closer than this to the origin of their map; northings of UTM reach 1e7 m."""


def are_near(xyz_m: NDArray[Any]) -> NDArray[np.bool_]:
    """bool [P]: whether all coordinates of a point [P, 3] are finite and below the limit."""
    near: NDArray[np.bool_] = (np.abs(xyz_m) < LIMIT_M).all(axis=1)  # false for nan
    return near


def check_finite(values: NDArray[Any], where: object, remedy: str) -> None:
    """ValueError with the number of rows of [P, C] that hold a value that is not finite."""
    broken = ~np.isfinite(values).all(axis=1)
    if broken.any():
        raise ValueError(
            f"{where}: {int(broken.sum())} of {len(values)} points are not finite (first: row "
            f"{int(broken.argmax())}); {remedy}"
        )


def check_points(points: NDArray[Any], where: object, remedy: str) -> None:
    """:func:`check_finite` for points [P, 3 or more], whose first columns must be near, too."""
    check_finite(points, where, remedy)
    far = ~are_near(points[:, :3])
    if far.any():
        raise ValueError(
            f"{where}: {int(far.sum())} of {len(points)} points are {LIMIT_M / 1000:.0f} km and "
            f"more away (first: row {int(far.argmax())}); {remedy}"
        )
