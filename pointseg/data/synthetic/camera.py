"""A camera's way through a room: in the hand, or on a tripod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pointseg.data.synthetic.space import Space, Volume

VIEWS_PER_STATION = 8
_EYE_CLEARANCE_M = 0.25
_TRIPOD_TILT_RAD = 0.45


@dataclass(frozen=True)
class ScanSettings:
    """How densely a room is scanned.

    ``num_views`` depth images of ``width`` x ``height`` pixels, ``field_of_view_deg`` wide, are
    fused on a lattice of ``cell_m`` metres: at most one vertex a cell.
    """

    num_views: int = 15
    width: int = 168
    height: int = 132
    field_of_view_deg: float = 92.0
    cell_m: float = 0.028

    @property
    def pixel_pitch(self) -> float:
        """Distance between neighbouring rays at a depth of one metre, at the image's middle."""
        return 2.0 * float(np.tan(np.radians(self.field_of_view_deg / 2))) / self.width


@lru_cache(maxsize=4)
def _pixel_directions(settings: ScanSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit ray directions of a level camera looking along +x: forward, left, up, each [H, W]."""
    pitch = settings.pixel_pitch
    left = -(np.arange(settings.width) - (settings.width - 1) / 2) * pitch
    up = -(np.arange(settings.height) - (settings.height - 1) / 2) * pitch
    left_grid, up_grid = np.meshgrid(left, up)
    norm = np.sqrt(1.0 + left_grid**2 + up_grid**2)
    return (
        (1.0 / norm).astype(np.float32),
        (left_grid / norm).astype(np.float32),
        (up_grid / norm).astype(np.float32),
    )


def _free_eye(space: Space, x: float, y: float, z: float) -> tuple[float, float]:
    """Move an eye point towards the room's middle until it is outside all tall things."""
    middle_x, middle_y = space.width / 2, space.depth / 2
    for step in np.linspace(0.0, 1.0, 12):
        at_x = x + (middle_x - x) * float(step)
        at_y = y + (middle_y - y) * float(step)
        c = _EYE_CLEARANCE_M
        head = Volume((at_x - c, at_x + c), (at_y - c, at_y + c), (z - c, z + c))
        if not any(head.overlaps(volume) for volume in space.taken):
            return at_x, at_y
    return middle_x, middle_y


CameraPath = Callable[[Space, np.random.Generator, int], np.ndarray]


def camera_path(space: Space, rng: np.random.Generator, num_views: int) -> np.ndarray:
    """Poses [num_views, 5]: x, y, z in the room's frame, heading and tilt in radians.

    The eye goes round the room at 1.4-1.75 m while the camera looks across it and, every third
    view, outwards to the near wall; heading adds up to well over a full turn.
    """
    start, radius = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.40, 0.52))
    poses = np.zeros((num_views, 5))
    for i in range(num_views):
        angle = start + 2 * np.pi * 1.15 * i / num_views + float(rng.normal(0, 0.08))
        reach = radius * float(rng.uniform(0.85, 1.1))
        z = float(rng.uniform(1.4, 1.75))
        x, y = _free_eye(
            space,
            space.width * (0.5 + reach * float(np.cos(angle)) * 0.85),
            space.depth * (0.5 + reach * float(np.sin(angle)) * 0.85),
            z,
        )
        across = float(np.arctan2(space.depth / 2 - y, space.width / 2 - x))
        side = (0.0, 0.75, -0.75)[i % 3]
        tilt = float(rng.uniform(-0.58, -0.32)) if i % 5 else float(rng.uniform(-0.25, -0.1))
        poses[i] = (x, y, z, across + side + float(rng.normal(0, 0.15)), tilt)
    return poses


def tripod_path(space: Space, rng: np.random.Generator, num_views: int) -> np.ndarray:
    """Poses [num_views, 5] as of :func:`camera_path`, from stations along the room's longer side.

    At each of them the camera turns once round, looking up and down: eight views, which together
    see all but what is right above and below.
    """
    poses = np.zeros((num_views, 5))
    stations = -(-num_views // VIEWS_PER_STATION)
    for station in range(stations):
        along = (station + 0.5 + float(rng.uniform(-0.2, 0.2))) / stations
        across, z = float(rng.uniform(0.35, 0.65)), float(rng.uniform(1.4, 1.6))
        share = (along, across) if space.width >= space.depth else (across, along)
        x, y = _free_eye(space, space.width * share[0], space.depth * share[1], z)
        start = float(rng.uniform(0, 2 * np.pi))
        first = station * VIEWS_PER_STATION
        for view in range(first, min(first + VIEWS_PER_STATION, num_views)):
            heading = start + (view - first) // 2 * (np.pi / 2)
            poses[view] = (x, y, z, heading, _TRIPOD_TILT_RAD * (1 - 2 * (view % 2)))
    return poses


def view_rays(poses: np.ndarray, settings: ScanSettings) -> np.ndarray:
    """Rays float32 [num_views, height, width, 6]: origin and unit direction."""
    forward, left, up = _pixel_directions(settings)
    rays = np.empty((len(poses), settings.height, settings.width, 6), np.float32)
    rays[..., :3] = poses[:, None, None, :3]
    for view, (_, _, _, heading, tilt) in enumerate(poses):
        cos_t, sin_t = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        cos_h, sin_h = np.float32(np.cos(heading)), np.float32(np.sin(heading))
        ahead = cos_t * forward - sin_t * up
        rays[view, ..., 5] = sin_t * forward + cos_t * up
        rays[view, ..., 3] = cos_h * ahead - sin_h * left
        rays[view, ..., 4] = sin_h * ahead + cos_h * left
    return rays
