"""One sweep of a spinning 64-beam lidar in a generated street, by intersecting rays with boxes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BEAMS, COLUMNS = 64, 2048
ELEVATION_DEG = (-24.8, 2.0)
SENSOR_HEIGHT_M = 1.73
RANGE_M = (1.5, 80.0)
NOISE_M = 0.02
HALF_STREET_M = 14.0  # from its middle to the facades
HALF_LENGTH_M = 90.0
YAW = 0.3  # of the street against the voxels' axes


def street_sweep(seed: int = 0) -> Tensor:
    """Points that one turn of the sensor sees, float32 [P, 3] in metres, the sensor at x = y = 0.

    Flat ground at z = 0, facades with gaps on both sides, parked cars and poles; distances with
    Gaussian noise. A beam that hits nothing within 80 m has no point.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = _boxes(generator)
    rays = _directions()
    distance = torch.full((rays.shape[0],), math.inf)
    ground = -SENSOR_HEIGHT_M / rays[:, 2]
    distance = torch.where(ground > 0, ground, distance)
    # Slabs: a ray is inside a box between the last entry and the first exit of its three axes.
    inverse = 1.0 / rays
    for corner, opposite in zip(low, high, strict=True):
        first, second = corner * inverse, opposite * inverse
        entry = torch.minimum(first, second).amax(dim=1)
        leave = torch.maximum(first, second).amin(dim=1)
        hit = (entry > 0) & (entry <= leave) & (entry < distance)
        distance = torch.where(hit, entry, distance)
    distance = distance + NOISE_M * torch.randn(distance.shape, generator=generator)
    seen = (distance >= RANGE_M[0]) & (distance <= RANGE_M[1])
    points = rays[seen] * distance[seen, None]
    points[:, 2] += SENSOR_HEIGHT_M
    c, s = math.cos(YAW), math.sin(YAW)
    return points @ torch.tensor([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


def _directions() -> Tensor:
    """Unit vectors [BEAMS * COLUMNS, 3], off the axes so that none has a component of zero."""
    elevation = torch.linspace(*ELEVATION_DEG, BEAMS).deg2rad()[:, None] + 1e-4
    azimuth = ((torch.arange(COLUMNS) + 0.5) * (2 * math.pi / COLUMNS))[None] + 1e-4
    flat = elevation.cos()
    parts = (flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin().expand(BEAMS, COLUMNS))
    return torch.stack(parts, dim=2).flatten(0, 1)


def _boxes(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Opposite corners [num_boxes, 3] each, relative to the sensor, the street along x."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    boxes: list[tuple[float, float, float, float, float, float]] = []  # centre x, y; size; bottom
    for side in (-1, 1):
        x = -HALF_LENGTH_M
        while x < HALF_LENGTH_M:  # houses, set back differently, some with a gap between them
            width = uniform(8, 20)
            near = HALF_STREET_M + uniform(0, 1.5)
            boxes.append((x + width / 2, side * (near + 5), width, 10, uniform(6, 14), 0))
            x += width + max(0.0, uniform(-3, 4))
        x = -HALF_LENGTH_M
        while x < HALF_LENGTH_M:  # parked cars: a body off the ground and a cabin
            length, kerb = uniform(3.8, 4.8), side * (HALF_STREET_M - 3.2 + uniform(-0.2, 0.2))
            if uniform(0, 1) < 0.7:
                boxes.append((x, kerb, length, 1.8, 0.7, 0.25))
                boxes.append((x - 0.2, kerb, 0.55 * length, 1.6, 0.55, 0.95))
            x += length + uniform(0.6, 2.5)
        x = -HALF_LENGTH_M + uniform(0, 10)
        while x < HALF_LENGTH_M:
            boxes.append((x, side * (HALF_STREET_M - 1.5), 0.2, 0.2, uniform(3, 7), 0))
            x += uniform(10, 20)
    x, y, length, width, height, bottom = torch.tensor(boxes).T
    bottom = bottom - SENSOR_HEIGHT_M
    low = torch.stack([x - length / 2, y - width / 2, bottom], dim=1)
    high = torch.stack([x + length / 2, y + width / 2, bottom + height], dim=1)
    return low, high
