"""Two scans of a lidar, cut about the sensor and put together: by inclination, by azimuth."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pointseg.data.labels import LabelMap
from pointseg.data.transforms.base import (
    MixingTransform,
    check_count,
    check_probability,
    is_numbers,
    register,
)
from pointseg.data.transforms.mixing import (
    ClassList,
    check_classes,
    check_scans,
    check_sensor,
    choose_points,
    from_sensor,
    join_clouds,
    points_of,
    train_ids,
    turned,
)
from pointseg.data.types import PointCloud


@register("lasermix")
@dataclass(frozen=True)
class LaserMix(MixingTransform):
    """Areas of equal range of inclination, taken in turn from this scan and from another.

    The inclination of a point is its angle above the horizontal of the sensor, at ``sensor_m``. The
    range ``pitch_deg`` (lowest, highest) is cut into a number of areas of equal height, drawn from
    ``num_areas``; points outside the range belong to the area next to them. Which of the scans has
    the lowest area is drawn, too, so that both ways to put them together are seen.

    Source: Kong et al., LaserMix for Semi-Supervised LiDAR Semantic Segmentation, CVPR 2023,
    arXiv:2207.00026; here both scans are labelled. The defaults are the authors' for the 64 beams
    of SemanticKITTI; the lidar of nuScenes sees from -30 to 10 degrees.
    """

    num_areas: tuple[int, ...] = (3, 4, 5, 6)
    pitch_deg: tuple[float, float] = (-25.0, 3.0)
    sensor_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sensor(self.sensor_m)
        if not isinstance(self.num_areas, tuple) or not self.num_areas:
            raise TypeError(f"num_areas must be a list of numbers, got {self.num_areas}")
        if any(not isinstance(n, int) or n < 2 for n in self.num_areas):
            raise ValueError(f"num_areas must be whole numbers >= 2, got {self.num_areas}")
        pitch = self.pitch_deg
        if not is_numbers(pitch, 2) or not -90 <= pitch[0] < pitch[1] <= 90:
            raise ValueError(
                f"pitch_deg must be two angles, -90 <= lowest < highest <= 90, got {pitch}"
            )

    @property
    def about_sensor(self) -> bool:
        return True

    def mix(self, cloud: PointCloud, other: PointCloud, rng: np.random.Generator) -> PointCloud:
        check_scans(cloud, other)
        num_areas = self.num_areas[rng.integers(len(self.num_areas))]
        own = rng.integers(2)
        keep = self.areas(cloud, num_areas) % 2 == own
        take = self.areas(other, num_areas) % 2 != own
        return choose_points(cloud, keep, other, take)

    def areas(self, cloud: PointCloud, num_areas: int) -> NDArray[np.intp]:
        """int [P]: the area of each point, 0 for the lowest."""
        x, y, z = from_sensor(cloud, self.sensor_m)
        inclination = np.arctan2(z, np.hypot(x, y))
        low, high = np.deg2rad(self.pitch_deg)
        edges = np.linspace(low, high, num_areas + 1)[1:-1]
        return np.searchsorted(edges.astype(np.float32), inclination, side="right")


@register("polarmix")
@dataclass(frozen=True)
class PolarMix(MixingTransform):
    """A sector of another scan in place of this scan's, and turned copies of its objects.

    Two steps, both about the vertical through the sensor, at ``sensor_m``:

    swap   in a share ``swap_probability`` of the mixed scans, the sector of azimuth of
           ``sector_deg`` degrees from a direction drawn uniformly holds the points of the other
           scan instead of those of this one;
    paste  in a share ``paste_probability``, all points of ``classes`` of the other scan are added
           ``copies`` times: once where they are, but for those that came with the sector; then
           turned. Of ``copies`` equal parts of the circle, each but the last gives one angle, drawn
           uniformly in it. Nothing makes room for them.

    Each copy of an instance is an instance of its own. ``classes`` are names or train ids.

    Source: Xiao et al., PolarMix: A General Data Augmentation Technique for LiDAR Point Clouds,
    NeurIPS 2022, arXiv:2208.00223. The defaults are those of the authors' code, in which every
    sector holds the direction ahead; here it may lie anywhere.
    """

    probability: float = 1.0
    classes: ClassList = ()
    swap_probability: float = 0.5
    sector_deg: float = 180.0
    paste_probability: float = 1.0
    copies: int = 3
    sensor_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sensor(self.sensor_m)
        check_probability(self.swap_probability, "swap_probability")
        check_probability(self.paste_probability, "paste_probability")
        if not 0 < self.sector_deg < 360:
            raise ValueError(f"sector_deg must be in (0, 360), got {self.sector_deg}")
        check_count("copies", self.copies)
        if self.paste_probability > 0 or self.classes:
            check_classes(self.classes, "classes")

    @property
    def about_sensor(self) -> bool:
        return True

    def with_classes(self, label_map: LabelMap) -> PolarMix:
        return replace(self, classes=train_ids(self.classes, label_map, "polarmix: classes"))

    def mix(self, cloud: PointCloud, other: PointCloud, rng: np.random.Generator) -> PointCloud:
        check_scans(cloud, other)
        mixed, came = cloud, np.zeros(other.num_points, dtype=bool)
        if rng.random() < self.swap_probability:
            start = rng.uniform(-math.pi, math.pi)
            came = self.in_sector(other, start)
            mixed = choose_points(cloud, ~self.in_sector(cloud, start), other, came)
        if rng.random() < self.paste_probability:
            mixed = join_clouds([mixed, *self._copies(other, came, rng)])
        return mixed

    def in_sector(self, cloud: PointCloud, start_rad: float) -> NDArray[np.bool_]:
        """bool [P]: whether a point's azimuth is in the sector that begins at ``start_rad``."""
        x, y, _ = from_sensor(cloud, self.sensor_m)
        past = np.mod(np.arctan2(y, x) - np.float32(start_rad), np.float32(2 * math.pi))
        return past < np.float32(math.radians(self.sector_deg))

    def _copies(
        self, other: PointCloud, came: NDArray[np.bool_], rng: np.random.Generator
    ) -> list[PointCloud]:
        chosen = points_of(other, self.classes)
        objects = other.select(chosen)
        parts = np.arange(self.copies - 1) + rng.random(self.copies - 1)
        angles = 2 * math.pi / self.copies * parts
        copies = [turned(objects, angle, self.sensor_m) for angle in angles]
        return [other.select(chosen & ~came), *copies]
