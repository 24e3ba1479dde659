"""Files of a sequence in SemanticKITTI's on-disk layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointseg.data.synthetic.streets.scanner import Sweep
from pointseg.files import written_whole

# Projection of a made-up camera of 1241 x 376 pixels, and the baselines of four of them (metres).
_FOCAL, _CENTER = 710.0, (620.0, 187.5)
_BASELINES_M = (0.0, 0.54, -0.06, 0.48)


def lidar_to_camera() -> np.ndarray:
    """``Tr`` float64 [4, 4]: sensor's frame (x ahead, y left, z up) to the left camera's (x right,
    y down, z ahead), which sits ahead of and below the sensor and is not quite parallel to it.
    """
    small = np.radians([0.8, -0.5, 0.3])
    turn = np.eye(3)
    for axis, angle in enumerate(small):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    matrix[:3, 3] = (-0.01, -0.07, -0.28)
    return matrix


def _line(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.12e}" for value in matrix[:3].ravel())


def calib_text() -> str:
    """``calib.txt``: projections P0..P3 and Tr, 3 x 4 each, row by row."""
    lines = []
    for i, baseline in enumerate(_BASELINES_M):
        camera = np.array(
            [[_FOCAL, 0, _CENTER[0], -_FOCAL * baseline], [0, _FOCAL, _CENTER[1], 0], [0, 0, 1, 0]]
        )
        lines.append(f"P{i}: {_line(camera)}\n")
    return "".join(lines) + f"Tr: {_line(lidar_to_camera())}\n"


def poses_text(sensor_poses: np.ndarray) -> str:
    """``poses.txt``: the left camera's pose at every scan, relative to the first.

    Args:
        sensor_poses: float64 [K, 4, 4], of the lidar in any one frame. With P of a line,
            ``inv(Tr) @ P @ Tr`` is the lidar's pose in the frame it had at the first scan.
    """
    tr = lidar_to_camera()
    relative = np.linalg.inv(sensor_poses[0]) @ sensor_poses
    return "".join(f"{_line(pose)}\n" for pose in tr @ relative @ np.linalg.inv(tr))


def times_text(times_s: np.ndarray) -> str:
    """``times.txt``: seconds since the first scan, one a line."""
    return "".join(f"{time:.6e}\n" for time in times_s)


def scan_paths(sequence: Path, index: int, labelled: bool) -> dict[str, Path]:
    """The files of one scan: ``points`` and, with labels, ``labels``."""
    paths = {"points": sequence / "velodyne" / f"{index:06d}.bin"}
    if labelled:
        paths["labels"] = sequence / "labels" / f"{index:06d}.label"
    return paths


def write_sweep(sequence: Path, index: int, sweep: Sweep, labelled: bool) -> None:
    """Write a scan's points (float32 x, y, z, intensity) and labels (uint32), little-endian."""
    contents = {"points": sweep.points.astype("<f4"), "labels": sweep.labels.astype("<u4")}
    for name, path in scan_paths(sequence, index, labelled).items():
        with written_whole(path, overwrite=True) as partial:
            partial.write_bytes(contents[name].tobytes())
