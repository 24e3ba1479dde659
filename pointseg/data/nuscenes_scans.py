"""Scans of nuScenes' roof lidar: their files, and earlier ones moved into a keyframe's frame."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pointseg.data.coordinates import FARTHEST_M, check_points
from pointseg.data.json_records import read_records
from pointseg.data.nuscenes_tables import AGAIN, LIDAR, follow, once_a_process, read_channels
from pointseg.data.point_rows import num_point_rows, read_point_rows
from pointseg.data.sweeps import move

_AGAIN: Final = "unpack the lidar blob that it is in again"
_COLUMNS: Final = ("x", "y", "z", "intensity", "ring")
_CAR_M: Final = 1.0  # closer than this along x and y is the car, as in nuScenes' own code
_POSE_FIELDS: Final[dict[str, type]] = {"token": str, "rotation": list, "translation": list}
_SCAN_FIELDS: Final[dict[str, type]] = {
    "token": str,
    "prev": str,
    "ego_pose_token": str,
    "calibrated_sensor_token": str,
    "filename": str,
}


def read_scan(path: Path) -> NDArray[np.float32]:
    """A ``.pcd.bin`` file of nuScenes (which is no PCD file): float32 [P, 5], x, y, z in metres,
    intensity 0..255 and ring. An empty, cut-off or other file is a ValueError.
    """
    points = read_point_rows(path, _COLUMNS, _AGAIN)
    check_points(points, path, _AGAIN)
    ring = points[:, 4]
    if ((ring < 0) | (ring > 255) | (ring != np.floor(ring))).any():
        raise ValueError(
            f"{path}: the fifth column is no ring number: not a scan of nuScenes, or damaged; "
            f"{_AGAIN}"
        )
    return points


def count_points(path: Path) -> int:
    """Points of a scan, from the size of its file."""
    return num_point_rows(path, _COLUMNS, _AGAIN)


class Scan(NamedTuple):
    """A scan of LIDAR_TOP, keyframe or not: its file below the root, the token of the one before it
    (empty for a scene's first), and float64 [4, 4] from its frame to the world's.
    """

    points: str
    previous: str
    to_world: NDArray[np.float64]


@once_a_process
def read_scans(folder: Path) -> dict[str, Scan]:
    """All scans of LIDAR_TOP of the version whose tables are in ``folder``, by token.

    Errors are those of :func:`pointseg.data.nuscenes_tables.read_version`.
    """
    path = folder / "sample_data.json"
    channels = read_channels(folder)
    rows = [
        {field: row[field] for field in _SCAN_FIELDS}
        for row in read_records(path, _SCAN_FIELDS, AGAIN)
        if follow(channels, row, "calibrated_sensor_token", path) == LIDAR
    ]
    cars, car_to_world = _poses(folder / "ego_pose.json", {r["ego_pose_token"] for r in rows})
    sensors, sensor_to_car = _poses(
        folder / "calibrated_sensor.json", {r["calibrated_sensor_token"] for r in rows}
    )
    car = [follow(cars, row, "ego_pose_token", path) for row in rows]
    sensor = [sensors[row["calibrated_sensor_token"]] for row in rows]
    to_world = car_to_world[car] @ sensor_to_car[sensor]
    return {
        row["token"]: Scan(row["filename"], row["prev"], matrix)
        for row, matrix in zip(rows, to_world, strict=True)
    }


def earlier_scans(folder: Path, token: str, count: int) -> list[tuple[str, NDArray[np.float64]]]:
    """Up to ``count`` scans before one of them, the latest first: each one's file, and float64
    [4, 4] from its frame to that of the scan ``token``. ``folder`` has the tables.
    """
    scans = read_scans(folder)
    here = np.linalg.inv(scans[token].to_world)
    found: list[tuple[str, NDArray[np.float64]]] = []
    previous = scans[token].previous
    while previous and len(found) < count:
        if previous not in scans:
            raise ValueError(
                f"{folder / 'sample_data.json'}: prev {previous!r}, before the keyframe {token!r}, "
                f"is the token of no scan of {LIDAR}; {AGAIN}"
            )
        found.append((scans[previous].points, here @ scans[previous].to_world))
        previous = scans[previous].previous
    return found


def _poses(path: Path, wanted: set[str]) -> tuple[dict[str, int], NDArray[np.float64]]:
    """The ``wanted`` poses of a table: row by token, and matrices [R, 4, 4]."""
    rows: dict[str, int] = {}
    values: list[list[float]] = []
    for row in read_records(path, _POSE_FIELDS, AGAIN):
        if row["token"] not in wanted:
            continue
        if (len(row["rotation"]), len(row["translation"])) != (4, 3):
            raise ValueError(
                f"{path}: record with token {row['token']!r}: rotation must be 4 numbers and "
                f"translation 3; {AGAIN}"
            )
        rows[row["token"]] = len(values)
        values.append(row["rotation"] + row["translation"])
    try:
        numbers = np.array(values, dtype=np.float64).reshape(-1, 7)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: rotation and translation: {error}; {AGAIN}") from error
    unit = np.abs(np.linalg.norm(numbers[:, :4], axis=1) - 1) < 1e-3
    broken = ~(unit & (np.abs(numbers[:, 4:]) < FARTHEST_M).all(axis=1))  # also for nan
    if broken.any():
        token = list(rows)[int(broken.argmax())]
        raise ValueError(
            f"{path}: record with token {token!r}: {values[rows[token]]} is no unit quaternion "
            f"and a translation; {AGAIN}"
        )
    return rows, _matrices(numbers[:, :4], numbers[:, 4:])


def _matrices(
    quaternion: NDArray[np.float64], translation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Matrices [R, 4, 4] of unit quaternions [R, 4], real part first, and translations [R, 3]."""
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrices = np.tile(np.eye(4), (len(quaternion), 1, 1))
    matrices[:, :3, :3] = np.moveaxis(np.array(rotation), -1, 0)
    matrices[:, :3, 3] = translation
    return matrices


def read_moved(path: Path, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """A scan as :func:`read_scan` gives it, moved by a matrix [4, 4] and without the returns from
    the car itself, which would be smeared along its way.
    """
    points = read_scan(path)
    points = points[(np.abs(points[:, :2]) >= _CAR_M).any(axis=1)]
    where = f"{path}: by ego_pose.json and calibrated_sensor.json"
    points[:, :3] = move(points[:, :3], matrix, where, AGAIN)
    return points
