"""Objects of another scene, set down where there is free ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pointseg.data.labels import LabelMap
from pointseg.data.transforms.base import (
    MixingTransform,
    check_count,
    check_non_negative,
    column_range,
    register,
)
from pointseg.data.transforms.mixing import (
    ClassList,
    check_classes,
    check_scans,
    check_sensor,
    join_clouds,
    points_of,
    train_ids,
    turned,
)
from pointseg.data.types import PointCloud

PLACEMENTS = ("anywhere", "around_sensor")
_GROUND_NEAR_M = 1.0  # around an object: lidars see no ground right behind what stands on it


@register("instance_paste")
@dataclass(frozen=True)
class InstancePaste(MixingTransform):
    """Paste up to ``max_objects`` instances of another scene where this one has free ground.

    Instances of ``classes`` with ``min_points`` or more are drawn without replacement. For each,
    places are drawn until one is good, at most ``attempts`` times; then it is left out.

    ``placement`` says which places are drawn: ``anywhere`` a point of the ground, any yaw;
    ``around_sensor`` the object's own place turned about the vertical through the sensor, at
    ``sensor_m``, by any angle: its distance, and so its density and the side that is seen, stay
    right for a lidar.

    A place is good where, with the object's box along the axes (as it is turned) grown by
    ``clearance_m`` on all sides,

    * at least one point of ``ground`` classes is above or below it, and all that are there lie
      within ``max_step_m`` of height: the object then stands as high above their median as it did
      in its own scene (on its lowest point, where it had no ground within 1 m);
    * no other point of the scene is in it, labelled or not; and no box of an object pasted before.

    Nothing is removed, neither the ground under an object nor what it would hide from a sensor.
    Pasting objects onto free ground is in use since Yan et al., SECOND, Sensors 2018 (boxes tested
    for collision), and Zhou et al., Panoptic-PolarNet, CVPR 2021, arXiv:2103.14962 (instances for
    panoptic segmentation); the rule of ground and clearance is this package's own.
    """

    classes: ClassList = ()
    ground: ClassList = ()
    placement: str = "anywhere"
    max_objects: int = 10
    min_points: int = 20
    attempts: int = 10
    clearance_m: float = 0.1
    max_step_m: float = 0.2
    sensor_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_classes(self.classes, "classes")
        check_classes(self.ground, "ground")
        both = set(self.classes) & set(self.ground)
        if both:
            raise ValueError(f"classes and ground must differ, got {both.pop()!r} in both")
        check_sensor(self.sensor_m)
        check_non_negative(clearance_m=self.clearance_m, max_step_m=self.max_step_m)
        if self.placement not in PLACEMENTS:
            raise ValueError(
                f"placement must be one of {', '.join(PLACEMENTS)}, got {self.placement!r}"
            )
        for name in ("max_objects", "min_points", "attempts"):
            check_count(name, getattr(self, name))

    @property
    def about_sensor(self) -> bool:
        return self.placement == "around_sensor"

    def with_classes(self, label_map: LabelMap) -> InstancePaste:
        return replace(
            self,
            classes=train_ids(self.classes, label_map, "instance_paste: classes"),
            ground=train_ids(self.ground, label_map, "instance_paste: ground"),
        )

    def mix(self, cloud: PointCloud, other: PointCloud, rng: np.random.Generator) -> PointCloud:
        if self.about_sensor:
            check_scans(cloud, other)
        site = _Site.of(cloud, points_of(cloud, self.ground))
        if site.ground.shape[1] == 0:
            return cloud
        boxes: list[_Box] = []
        pasted: list[PointCloud] = []
        for item, height_m in self._objects(other, rng):
            placed = self._place(item, height_m, site, boxes, rng)
            if placed is not None:
                pasted.append(placed)
                boxes.append(_Box.around(placed))
        return join_clouds([cloud, *pasted])

    def _objects(
        self, other: PointCloud, rng: np.random.Generator
    ) -> Iterator[tuple[PointCloud, float]]:
        """Instances that may be pasted, and how high each stands above its ground."""
        if other.instances is None:
            raise ValueError(
                f"{other.scene_id}: instance_paste needs instances, which it does not have"
            )
        rows = np.flatnonzero(points_of(other, self.classes) & (other.instances > 0))
        _, of, counts = np.unique(other.instances[rows], return_inverse=True, return_counts=True)
        chosen = rng.permutation(np.flatnonzero(counts >= self.min_points))[: self.max_objects]
        home = _Site.of(other, points_of(other, self.ground))
        for index in chosen:
            item = other.select(rows[of == index])
            box = _Box.around(item)
            under = home.ground_in(box.grown(_GROUND_NEAR_M))
            yield item, float(box.low[2] - np.median(under)) if len(under) else 0.0

    def _place(
        self,
        item: PointCloud,
        height_m: float,
        site: _Site,
        boxes: list[_Box],
        rng: np.random.Generator,
    ) -> PointCloud | None:
        for _ in range(self.attempts):
            moved = self._moved(item, site, rng)
            box = _Box.around(moved)
            under = site.ground_in(box.grown(self.clearance_m))
            if len(under) == 0 or under.max() - under.min() > self.max_step_m:
                continue
            lift = np.float32(np.median(under) + height_m - box.low[2])
            placed = moved.replace(xyz_m=moved.xyz_m + np.array([0, 0, lift], dtype=np.float32))
            room = _Box.around(placed).grown(self.clearance_m)
            if not any(room.meets(taken) for taken in boxes) and site.is_free(room):
                return placed
        return None

    def _moved(self, item: PointCloud, site: _Site, rng: np.random.Generator) -> PointCloud:
        yaw = rng.uniform(-np.pi, np.pi)
        if self.placement == "around_sensor":
            return turned(item, yaw, self.sensor_m)
        low, high = column_range(item.xyz_m)
        middle = (low + high) / 2
        goal = site.ground[:, rng.integers(site.ground.shape[1])]
        item = turned(item, yaw, middle)
        move = np.array([*(goal - middle)[:2], 0], dtype=np.float32)
        return item.replace(xyz_m=item.xyz_m + move)


@dataclass(frozen=True, eq=False)
class _Box:
    """A box along the axes: two corners, float32 [3]."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def around(cls, cloud: PointCloud) -> _Box:
        return cls(*column_range(cloud.xyz_m))

    def grown(self, by_m: float) -> _Box:
        return _Box(self.low - np.float32(by_m), self.high + np.float32(by_m))

    def meets(self, other: _Box) -> bool:
        return bool((self.low <= other.high).all() and (other.low <= self.high).all())


@dataclass(frozen=True, eq=False)
class _Site:
    """A scene as a place to put things: ground and everything else, float32 [3, points] each."""

    ground: NDArray[np.float32]
    solid: NDArray[np.float32]

    @classmethod
    def of(cls, cloud: PointCloud, ground: NDArray[np.bool_]) -> _Site:
        columns = np.ascontiguousarray(cloud.xyz_m.T)
        return cls(
            columns.take(np.flatnonzero(ground), axis=1),
            columns.take(np.flatnonzero(~ground), axis=1),
        )

    def ground_in(self, box: _Box) -> NDArray[np.float32]:
        """Heights of the ground above and below a box."""
        heights: NDArray[np.float32] = self.ground[2].take(_rows_in(self.ground[:2], box))
        return heights

    def is_free(self, box: _Box) -> bool:
        return len(_rows_in(self.solid, box)) == 0


def _rows_in(columns: NDArray[np.float32], box: _Box) -> NDArray[np.intp]:
    """Which points are in the box, along the axes that ``columns`` has; edges are inside."""
    rows = np.flatnonzero((columns[0] >= box.low[0]) & (columns[0] <= box.high[0]))
    for axis in range(1, len(columns)):
        values = columns[axis].take(rows)
        rows = rows[(values >= box.low[axis]) & (values <= box.high[axis])]
    return rows
