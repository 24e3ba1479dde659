"""Where a lidar was: the calibration and the poses of a KITTI odometry sequence.

``calib.txt`` holds lines ``<name>: <12 numbers>``, of which ``Tr`` leads from the lidar's frame to
the left camera's; ``poses.txt`` one line of 12 numbers a scan, the camera's pose in the frame of
the first. Twelve numbers are a matrix [3, 4] by rows, a rotation and a shift in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pointseg.data.coordinates import FARTHEST_M
from pointseg.data.text_lines import read_lines, to_number

CALIBRATION_REMEDY = (
    "take calib.txt of the odometry calibration download (data_odometry_calib.zip); those in the "
    "image downloads lack Tr"
)
POSES_REMEDY = "take poses.txt of SemanticKITTI's label download (data_odometry_labels.zip)"
# Files have seven digits; what is read in the wrong order or place is off by far more.
_ROTATION_TOLERANCE = 1e-2


def read_calibration(path: Path) -> NDArray[np.float64]:
    """``Tr`` of a ``calib.txt``, lidar -> left camera: float64 [4, 4].

    A missing or broken file is a FileNotFoundError or ValueError that names it.
    """
    lines = read_lines(path, CALIBRATION_REMEDY)
    found = [line for line in lines if line.partition(":")[0].strip() == "Tr"]
    if len(found) != 1:
        names = ", ".join(line.partition(":")[0][:20] for line in lines)
        raise ValueError(
            f"{path}: expected one line Tr, got {len(found)} (lines: {names or 'none'}); "
            f"{CALIBRATION_REMEDY}"
        )
    row = _numbers(found[0].partition(":")[2].split(), f"{path}: Tr", CALIBRATION_REMEDY)
    matrix = _to_matrices(row[None])
    if not _are_rigid(matrix)[0]:
        raise ValueError(f"{path}: Tr is no rotation with a shift; {CALIBRATION_REMEDY}")
    return matrix[0]


def read_poses(path: Path) -> NDArray[np.float64]:
    """The camera's pose at every scan of a ``poses.txt``: float64 [S, 4, 4].

    A missing or broken file is a FileNotFoundError or ValueError that names it and its line. Empty
    lines are refused too, but at the end: they would shift the poses behind them.
    """
    lines = read_lines(path, POSES_REMEDY)
    rows = [_numbers(s.split(), f"{path}:{n}", POSES_REMEDY) for n, s in enumerate(lines, start=1)]
    if not rows:
        raise ValueError(f"{path}: the file is empty; {POSES_REMEDY}")
    poses = _to_matrices(np.stack(rows))
    wrong = np.flatnonzero(~_are_rigid(poses))
    if len(wrong):
        raise ValueError(
            f"{path}:{wrong[0] + 1}: the pose is no rotation with a shift ({len(wrong)} of "
            f"{len(poses)} lines are none); {POSES_REMEDY}"
        )
    return poses


def lidar_poses(sequence: Path) -> NDArray[np.float64]:
    """The lidar's pose at every scan of a sequence's folder, in the frame that it had at the first:
    float64 [S, 4, 4].
    """
    lidar_to_camera = read_calibration(sequence / "calib.txt")
    poses = read_poses(sequence / "poses.txt")
    return np.asarray(np.linalg.inv(lidar_to_camera) @ poses @ lidar_to_camera)


def _numbers(words: Sequence[str], where: str, remedy: str) -> NDArray[np.float64]:
    try:
        row = np.array([to_number(word) for word in words])
    except ValueError as error:
        raise ValueError(f"{where}: {error}; {remedy}") from error
    if row.shape != (12,) or not np.isfinite(row).all():
        raise ValueError(f"{where}: expected 12 finite numbers, got {len(row)} words; {remedy}")
    return row


def _to_matrices(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, :3] = rows.reshape(-1, 3, 4)
    return matrices


def _are_rigid(matrices: NDArray[np.float64]) -> NDArray[np.bool_]:
    rotation = matrices[:, :3, :3]
    off = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    near = np.abs(matrices[:, :3, 3]).max(axis=1) < FARTHEST_M
    return (off < _ROTATION_TOLERANCE) & (np.linalg.det(rotation) > 0) & near
