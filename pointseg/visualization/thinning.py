"""Reduce a cloud to a point budget: one point per voxel, the voxel size found by bisection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# 2^20 cells along an axis: three of them packed into one int64 key leave three bits to spare.
_MAX_CELLS = 1 << 20
_MAX_STEPS = 24
# Bisection stops as soon as this share of the budget is used: more steps would not be seen.
_GOOD_SHARE = 0.97


@dataclass(frozen=True, eq=False)
class Thinning:
    """Which points of a cloud are shown.

    index: int64 [N], rows of the points kept, ascending.
    voxel_size_m: edge of the voxels of which each kept one point; 0 where every point was kept.
    num_points: P, the number of points before thinning.
    """

    index: np.ndarray
    voxel_size_m: float
    num_points: int

    @property
    def num_shown(self) -> int:
        return len(self.index)

    @property
    def statement(self) -> str:
        """What a reader of the picture has to know: how many of how many points it shows."""
        if self.num_shown == self.num_points:
            return f"all {self.num_points:,} points shown"
        return (
            f"shown {self.num_shown:,} of {self.num_points:,} points "
            f"(one per {_length(self.voxel_size_m)} voxel)"
        )


def thin(xyz_m: np.ndarray, max_points: int) -> Thinning:
    """Keep at most ``max_points`` points, spread evenly over the occupied space.

    xyz_m: float [P, 3], metres, finite. Returns a `Thinning`; the same input gives the same
    points. Each voxel keeps its point nearest to the voxel's centre (the lowest row on a tie).
    Raises ValueError for a shape other than [P, 3], for coordinates that are not finite and for a
    budget below 1.
    """
    xyz = checked_xyz(xyz_m)
    if max_points < 1:
        raise ValueError(f"max_points: expected at least 1, got {max_points}")
    if len(xyz) <= max_points:
        return Thinning(np.arange(len(xyz), dtype=np.int64), 0.0, len(xyz))
    size = voxel_size_for_budget(xyz, max_points)
    return Thinning(_nearest_to_centre(xyz, size), size, len(xyz))


def voxel_size_for_budget(xyz_m: np.ndarray, max_voxels: int) -> float:
    """A voxel size near the smallest one at which at most ``max_voxels`` voxels are occupied."""
    xyz = checked_xyz(xyz_m)
    if max_voxels < 1:
        raise ValueError(f"max_voxels: expected at least 1, got {max_voxels}")
    extent = float((xyz.max(axis=0) - xyz.min(axis=0)).max()) if len(xyz) else 0.0
    # Above the extent there is a single voxel, so `fits` is within the budget from the start.
    fits = max(extent, 1e-9) * 1.01
    too_fine = fits / _MAX_CELLS
    if _num_occupied(xyz, too_fine) <= max_voxels:
        return too_fine
    for _ in range(_MAX_STEPS):
        size = float(np.sqrt(too_fine * fits))
        count = _num_occupied(xyz, size)
        if count > max_voxels:
            too_fine = size
            continue
        fits = size
        if count >= _GOOD_SHARE * max_voxels:
            break
    return fits


def point_spacing_m(xyz_m: np.ndarray) -> float:
    """Typical distance of neighbouring points on the surfaces of a cloud, in metres."""
    if len(xyz_m) < 2:
        return 1.0
    # Surfaces fill a plane: voxels that merge two points on average are sqrt(2) spacings wide.
    return voxel_size_for_budget(xyz_m, max(1, len(xyz_m) // 2)) / float(np.sqrt(2.0))


def checked_xyz(xyz_m: np.ndarray) -> np.ndarray:
    """``xyz_m`` as float64 [P, 3]; ValueError for another shape or values that are not finite."""
    xyz = np.asarray(xyz_m, dtype=np.float64)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ValueError(f"xyz_m: expected shape [P, 3], got {list(xyz.shape)}")
    finite = np.isfinite(xyz).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"xyz_m: {int((~finite).sum())} points are not finite (first: row {row}, "
            f"{xyz[row].tolist()}); remove them before drawing"
        )
    return xyz


def _cells(xyz: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    scaled = (xyz - xyz.min(axis=0)) / size
    cells = np.floor(scaled).astype(np.int64)
    keys = (cells[:, 0] << 42) + (cells[:, 1] << 21) + cells[:, 2]
    return keys, scaled - cells


def _num_occupied(xyz: np.ndarray, size: float) -> int:
    keys = np.sort(_cells(xyz, size)[0])
    return int((np.diff(keys) != 0).sum()) + 1


def _nearest_to_centre(xyz: np.ndarray, size: float) -> np.ndarray:
    keys, inside = _cells(xyz, size)
    distance = ((inside - 0.5) ** 2).sum(axis=1)
    order = np.lexsort((distance, keys))
    first = np.concatenate(([True], np.diff(keys[order]) != 0))
    return np.sort(order[first])


def _length(size_m: float) -> str:
    return f"{size_m * 100:.1f} cm" if size_m < 1 else f"{size_m:.2f} m"
