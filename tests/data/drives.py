"""Small sequences written in SemanticKITTI's format: a world that stands still, seen on a drive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Lidar -> camera of a real car: the camera looks along x of the lidar.
TR = np.array(
    [
        [4.276802385584e-04, -9.999672484946e-01, -8.084491683471e-03, -1.198459927713e-02],
        [-7.210626507497e-03, 8.081198471645e-03, -9.999413164504e-01, -5.403984729748e-02],
        [9.999738645903e-01, 4.859485810390e-04, -7.206933692422e-03, -2.921968648686e-01],
        [0, 0, 0, 1],
    ]
)
FAR = np.eye(4)
FAR[:3, 3] = (900.0, -20.0, 1500.0)
"""Where the drive begins in the frame of ``poses.txt``: kilometres off, as after a long drive."""

RAW_IDS = np.array([0, 10, 252, 40, 60, 72, 81, 99])
"""Among them ignored and moving ones; the world's points have them in turn."""


def lidar_pose(number: int) -> np.ndarray:
    """Where the lidar is at a scan, from its first pose: on a bend that climbs, [4, 4]."""
    yaw = 0.03 * number
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    pose[:3, 3] = [1.1 * number, 0.02 * number**2, 0.01 * number]
    return pose


def world(num_points: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points float64 [P, 3] in the first scan's frame, remissions and labels uint32 [P]."""
    rng = np.random.default_rng(5)
    xyz = rng.uniform((-60, -60, -2), (60, 60, 8), (num_points, 3))
    index = np.arange(num_points, dtype=np.uint32)
    return xyz, rng.uniform(0, 0.99, num_points), RAW_IDS[index % 8] + (index // 8 << 16)


def rows(matrices: Sequence[np.ndarray]) -> str:
    """Lines of 12 numbers."""
    return "".join(" ".join(f"{v:.12e}" for v in m[:3].ravel()) + "\n" for m in matrices)


def write_drive(root: Path, sequence: str = "00", num_scans: int = 4, labels: bool = True) -> Path:
    """Write a sequence below ``root/sequences`` and return its folder.

    Every scan sees the whole world, and scan k begins with k points less of it.
    """
    folder = root / "sequences" / sequence
    for name in ("velodyne", "labels") if labels else ("velodyne",):
        (folder / name).mkdir(parents=True)
    xyz, remission, values = world()
    poses = [lidar_pose(number) for number in range(num_scans)]
    for number, pose in enumerate(poses):
        seen = (xyz - pose[:3, 3]) @ pose[:3, :3]  # by the inverse of the rotation
        points = np.column_stack([seen, remission])[number:].astype("<f4")
        points.tofile(folder / "velodyne" / f"{number:06d}.bin")
        if labels:
            values[number:].astype("<u4").tofile(folder / "labels" / f"{number:06d}.label")
    (folder / "calib.txt").write_text(f"P0: {rows([np.eye(4)])}Tr: {rows([TR])}")
    (folder / "poses.txt").write_text(rows([TR @ FAR @ pose @ np.linalg.inv(TR) for pose in poses]))
    return folder
