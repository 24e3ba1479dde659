"""Coordinates that can be points of a scene: finite, and not so far off that float32 is coarse."""

from __future__ import annotations

from pathlib import Path
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


def check_points(points: NDArray[Any], path: Path, remedy: str) -> None:
    """ValueError with path, number and ``remedy`` where values of points [P, 3 or more] are not
    finite, or coordinates, the first three, not near.
    """
    finite = np.isfinite(points).all(axis=1)
    far = f"{LIMIT_M / 1000:.0f} km and more away"
    for good, what in ((finite, "not finite"), (are_near(points[:, :3]), far)):
        if not good.all():
            raise ValueError(
                f"{path}: {int((~good).sum())} of {len(points)} points are {what} (first: row "
                f"{int(good.argmin())}); {remedy}"
            )
