"""Scores by distance from the origin, where a lidar scan has its sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pointseg.data import PointCloud

DEFAULT_EDGES_M = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)


@dataclass(frozen=True)
class DistanceRings:
    """Points by their distance from the origin of the scene's file.

    A ring has the points with ``low <= distance < high``; one more part has all that are as far
    away as the last edge or farther. The distance is that of x, y and z in float64.

    The default edges are those of ``evaluate_semantics_by_distance.py`` of
    PRBonn/semantic-kitti-api, which has no part beyond 50 m. Two things it does are not repeated
    here: its distance is the norm of all four columns of a scan, remission included, which moves a
    point outwards by at most 5 cm at 10 m; and a point exactly on an edge, or at the origin, is in
    no ring.

    edges_m           ascending, not negative, in metres
    sensor_at_origin  whether it is known that the origin is a sensor; the statement says so then
    """

    edges_m: tuple[float, ...] = DEFAULT_EDGES_M
    sensor_at_origin: bool = False

    def __post_init__(self) -> None:
        edges = self.edges_m
        rising = all(low < high for low, high in pairwise(edges))
        if len(edges) < 2 or not rising or edges[0] < 0 or not math.isfinite(edges[-1]):
            raise ValueError(
                f"edges_m must be two or more ascending distances, 0 or more, got {list(edges)}"
            )

    @property
    def statement(self) -> str:
        what = "sensor (origin of the file)" if self.sensor_at_origin else "origin"
        return f"distance from the {what}"

    @property
    def names(self) -> tuple[str, ...]:
        rings = (f"{low:g}-{high:g} m" for low, high in pairwise(self.edges_m))
        return (*rings, f"from {self.edges_m[-1]:g} m")

    def masks(self, cloud: PointCloud, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Name -> bool [P]; ``labels`` play no part."""
        xyz_m = cloud.xyz_m.astype(np.float64) + cloud.origin_m
        distance_m = np.linalg.norm(xyz_m, axis=1)
        ring = np.searchsorted(self.edges_m, distance_m, side="right") - 1
        return {name: ring == index for index, name in enumerate(self.names)}
