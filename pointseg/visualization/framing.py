"""Where to look from: the direction that shows most of a room, and the height of its ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CELL_M = 0.15
_LAYER_M = 0.05
_NUM_DIRECTIONS = 24
# Anything wider is an outdoor scan: it has no ceiling, whatever its density by height says.
_LARGEST_ROOM_M = 60.0


@dataclass(frozen=True)
class Framing:
    """First view of a scene.

    azimuth_deg, elevation_deg: direction from the scene to the eye (0 = +x, counter-clockwise).
    floor_m: height that counts as zero (1st percentile of z).
    clip_m: z above which points are hidden at first; None where nothing needs hiding.
    """

    azimuth_deg: float
    elevation_deg: float
    floor_m: float
    clip_m: float | None


def frame(xyz_m: np.ndarray) -> Framing:
    """First view of a cloud, xyz_m float [P, 3] in metres with z up."""
    if not len(xyz_m):
        return Framing(-60.0, 50.0, 0.0, None)
    floor = float(np.percentile(xyz_m[:, 2], 1))
    ceiling = ceiling_height_m(xyz_m)
    below = xyz_m if ceiling is None else xyz_m[xyz_m[:, 2] < ceiling]
    return Framing(_open_side_deg(below if len(below) else xyz_m), 56.0, floor, ceiling)


def ceiling_height_m(xyz_m: np.ndarray) -> float | None:
    """The z just under a ceiling that covers much of the scene, or None where there is none.

    A ceiling is a thin layer in the upper half that covers at least a third of the ground plan.
    """
    if len(xyz_m) < 100:
        return None
    low, high = (float(value) for value in np.percentile(xyz_m[:, 2], (1, 99.8)))
    plan = np.floor((xyz_m[:, :2] - xyz_m[:, :2].min(axis=0)) / _CELL_M).astype(np.int64)
    if high - low < 1.5 or plan.max() * _CELL_M > _LARGEST_ROOM_M:
        return None
    cells = plan[:, 0] * (plan[:, 1].max() + 1) + plan[:, 1]
    base = low + 0.5 * (high - low)
    upper = xyz_m[:, 2] > base
    layers = np.floor((xyz_m[upper, 2] - base) / _LAYER_M).astype(np.int64)
    coverage = _coverage(layers, cells[upper]) / len(np.unique(cells))
    if coverage.max() < 1 / 3:
        return None
    # Below the ceiling there are only walls: its lower edge is where coverage has risen half-way.
    threshold = (float(np.median(coverage)) + float(coverage.max())) / 2
    edge = int(np.argmax(coverage >= threshold))
    return base + (edge - 1) * _LAYER_M


def _coverage(layers: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Occupied cells of each layer together with its two neighbours, [number of layers].

    A noisy or slightly tilted ceiling straddles layers. Cells are counted as a union: a wall,
    which is in all three layers, must not count three times.
    """
    num_layers, num_cells = int(layers.max()) + 1, int(cells.max()) + 1
    keys = np.unique(layers * num_cells + cells)
    near = np.unique(np.concatenate([keys + step * num_cells for step in range(3)]))
    return np.bincount(near // num_cells, minlength=num_layers + 2)[1 : num_layers + 1]


def _open_side_deg(xyz_m: np.ndarray) -> float:
    """Azimuth on whose side the least tall structure stands in front of the room's middle."""
    low, high = np.percentile(xyz_m, (1, 99), axis=0)
    tall = xyz_m[xyz_m[:, 2] > low[2] + 0.5 * (high[2] - low[2])]
    if not len(tall):
        return -60.0
    plane = (tall[:, :2] - (low[:2] + high[:2]) / 2) / max(float((high - low)[:2].max()), 1e-6)
    azimuths = np.arange(_NUM_DIRECTIONS) * (360.0 / _NUM_DIRECTIONS) + 7.5
    directions = np.stack((np.cos(np.radians(azimuths)), np.sin(np.radians(azimuths))))
    hidden = np.maximum(plane @ directions, 0.0).mean(axis=0)
    return float(azimuths[int(np.argmin(hidden))])
