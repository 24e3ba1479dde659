"""What mixing transforms share: clouds joined to one, classes by name, the place of the sensor."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pointseg.data.labels import LabelMap
from pointseg.data.transforms.base import is_numbers
from pointseg.data.types import PointCloud

_OPTIONAL = ("color", "normal", "labels", "instances")
_MAX_INSTANCE = int(np.iinfo(np.int32).max)

ClassList = tuple[int | str, ...]
"""Classes by name, or by train id."""


def join_clouds(clouds: Sequence[PointCloud]) -> PointCloud:
    """The points of one or more clouds, one cloud after the other, under the first one's id.

    Coordinates are joined as they are: whoever joins has brought them into the frame of the first.
    Instances of a later cloud are renumbered behind those of all before it, so that none is joined
    to another; 0 stays 0. Clouds without ``context`` count as clouds without such points. Any other
    array that one cloud has and another lacks, or has in another type, is a ValueError that names
    both.
    """
    first = clouds[0]
    for other in clouds[1:]:
        _check_alike(first, other)
    names = [n for n in ("xyz_m", *_OPTIONAL) if getattr(first, n) is not None]
    arrays = {n: np.concatenate([getattr(c, n) for c in clouds]) for n in names}
    extras = {n: np.concatenate([c.extras[n] for c in clouds]) for n in first.extras}
    if first.instances is not None:
        arrays["instances"] = np.concatenate(_renumbered(clouds))
    if any(c.context is not None for c in clouds):
        arrays["context"] = np.concatenate([_context(c) for c in clouds])
    return first.replace(extras=extras, **arrays)


def choose_points(
    cloud: PointCloud, keep: NDArray[np.bool_], other: PointCloud, take: NDArray[np.bool_]
) -> PointCloud:
    """The points ``keep`` of one cloud, then the points ``take`` of the other, as one cloud.

    Where that would be no point at all, the first cloud as it is: a scene must not be empty.
    """
    joined = join_clouds([cloud.select(keep), other.select(take)])
    return joined if joined.num_points else cloud


def _check_alike(first: PointCloud, other: PointCloud) -> None:
    for name in _OPTIONAL:
        if (getattr(first, name) is None) != (getattr(other, name) is None):
            has, lacks = (first, other) if getattr(other, name) is None else (other, first)
            raise ValueError(_cannot_mix(lacks, has, f"lacks {name}, which the other has"))
    if first.extras.keys() != other.extras.keys():
        name = min(first.extras.keys() ^ other.extras.keys())
        has, lacks = (first, other) if name in first.extras else (other, first)
        raise ValueError(_cannot_mix(lacks, has, f"lacks extras[{name!r}], which the other has"))
    for name, array in first.extras.items():
        found = other.extras[name]
        if (array.dtype, array.shape[1:]) != (found.dtype, found.shape[1:]):
            was = f"{array.dtype} {array.shape[1:]} and {found.dtype} {found.shape[1:]}"
            raise ValueError(_cannot_mix(first, other, f"extras[{name!r}] of a point is {was}"))


def _cannot_mix(one: PointCloud, two: PointCloud, why: str) -> str:
    return (
        f"{one.scene_id} cannot be mixed with {two.scene_id}: {why}; mix scenes that hold the same "
        "arrays, or take the mixing transforms out of data.transforms"
    )


def _renumbered(clouds: Sequence[PointCloud]) -> list[NDArray[np.int32]]:
    out: list[NDArray[np.int32]] = []
    used = 0
    for cloud in clouds:
        ids = cloud.instances
        assert ids is not None
        last = used + int(ids.max(initial=0))
        if last > _MAX_INSTANCE:
            raise ValueError(
                f"{cloud.scene_id}: instances up to {ids.max()} behind {used} others exceed "
                f"{_MAX_INSTANCE}; number the instances of a scene from 1"
            )
        out.append(ids if used == 0 else np.where(ids == 0, ids, ids + np.int32(used)))
        used = last
    return out


def _context(cloud: PointCloud) -> NDArray[np.bool_]:
    return np.zeros(cloud.num_points, dtype=bool) if cloud.context is None else cloud.context


# -- classes --------------------------------------------------------------------------------------


def check_classes(classes: ClassList, option: str) -> None:
    """ValueError or TypeError unless ``classes`` is a list of names or train ids, each once."""
    if isinstance(classes, str) or not isinstance(classes, tuple):
        raise TypeError(f"{option} must be a list of class names or train ids, got {classes!r}")
    if not classes:
        raise ValueError(f"{option} must list at least one class, by name or train id")
    for entry in classes:
        if isinstance(entry, bool) or not isinstance(entry, int | str):
            raise TypeError(f"{option}: {entry!r} is neither a class name nor a train id")
    if len(set(classes)) < len(classes):
        raise ValueError(f"{option} must list each class once, got {list(classes)}")


def train_ids(classes: ClassList, label_map: LabelMap, option: str) -> tuple[int, ...]:
    """The train ids of classes; ValueError for one that the label map does not have."""
    return tuple(_train_id(entry, label_map, option) for entry in classes)


def _train_id(entry: int | str, label_map: LabelMap, option: str) -> int:
    if isinstance(entry, str) and entry in label_map.names:
        return label_map.names.index(entry)
    if isinstance(entry, int) and 0 <= entry < label_map.num_classes:
        return entry
    close = difflib.get_close_matches(str(entry), label_map.names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"{option}: no class {entry!r} in {label_map.name!r}{hint} "
        f"(valid: {', '.join(label_map.names)})"
    )


def points_of(cloud: PointCloud, classes: ClassList) -> NDArray[np.bool_]:
    """bool [P]: which points have one of the classes, given by train ids."""
    if cloud.labels is None:
        raise ValueError(f"{cloud.scene_id}: pasting by class needs labels, which it does not have")
    names = [entry for entry in classes if isinstance(entry, str)]
    if names:
        raise ValueError(f"class names {names} must be looked up first: with_classes(label_map)")
    return np.isin(cloud.labels, classes)


# -- the sensor -----------------------------------------------------------------------------------


def check_sensor(sensor_m: tuple[float, float, float]) -> None:
    """ValueError unless it is a point in space."""
    if not is_numbers(sensor_m, 3) or not np.isfinite(sensor_m).all():
        raise ValueError(f"sensor_m must be three finite coordinates, got {sensor_m}")


def check_scans(*clouds: PointCloud) -> None:
    """ValueError for a cloud that is stored relative to an origin of its own: a map, no scan."""
    for cloud in clouds:
        if any(cloud.origin_m):
            raise ValueError(
                f"{cloud.scene_id}: its coordinates are relative to {cloud.origin_m}, so it is a "
                "map and not a scan around its sensor; mix3d mixes such scenes"
            )


def from_sensor(
    cloud: PointCloud, sensor_m: tuple[float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """x, y and z of a scan's points, seen from the sensor, each float32 [P]."""
    x, y, z = np.ascontiguousarray(cloud.xyz_m.T) - np.array(sensor_m, dtype=np.float32)[:, None]
    return x, y, z


def turned(
    cloud: PointCloud, yaw_rad: float, middle_m: Sequence[float] | NDArray[np.float32]
) -> PointCloud:
    """The cloud turned about the vertical through ``middle_m``; normals turn along."""
    cos, sin = np.float32(np.cos(yaw_rad)), np.float32(np.sin(yaw_rad))
    rows = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], dtype=np.float32)
    middle = np.array([middle_m[0], middle_m[1], 0], dtype=np.float32)
    return cloud.replace(
        xyz_m=(cloud.xyz_m - middle) @ rows + middle,
        normal=None if cloud.normal is None else cloud.normal @ rows,
    )
