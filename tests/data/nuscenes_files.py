"""A small dataset written in the layout of nuScenes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

CATEGORIES = (  # in the order of the release's ids
    *("noise", "animal"),
    *(f"human.pedestrian.{n}" for n in ("adult", "child", "construction_worker")),
    *(f"human.pedestrian.{n}" for n in ("personal_mobility", "police_officer", "stroller")),
    "human.pedestrian.wheelchair",
    *(f"movable_object.{n}" for n in ("barrier", "debris", "pushable_pullable", "trafficcone")),
    *("static_object.bicycle_rack", "vehicle.bicycle", "vehicle.bus.bendy", "vehicle.bus.rigid"),
    *("vehicle.car", "vehicle.construction", "vehicle.emergency.ambulance"),
    *("vehicle.emergency.police", "vehicle.motorcycle", "vehicle.trailer", "vehicle.truck"),
    *("flat.driveable_surface", "flat.other", "flat.sidewalk", "flat.terrain"),
    *("static.manmade", "static.other", "static.vegetation", "vehicle.ego"),
)


def token(*parts: object) -> str:
    """32 hex digits that stand for these parts."""
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def keyframe_token(scene: str, index: int) -> str:
    return token(scene, "LIDAR_TOP", index)


def sweep_token(scene: str, index: int) -> str:
    return token(scene, "LIDAR_TOP", index, "sweep")


def pose(yaw: float, x: float, y: float, z: float) -> dict[str, list[float]]:
    rotation = [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]
    return {"rotation": rotation, "translation": [x, y, z]}


def car(time: float) -> dict[str, list[float]]:
    """Where the car is; far from the world's origin, as in the maps of the release."""
    return pose(0.3 * time, 1600 + 5 * time, 900 - 2 * time, 0)


SENSOR = pose(-np.pi / 2, 0.9, 0, 1.8)  # on the car


def matrix(at: dict[str, list[float]]) -> np.ndarray:
    """float64 [4, 4] of a pose that turns about the vertical alone."""
    yaw = 2 * np.arctan2(at["rotation"][3], at["rotation"][0])
    out = np.eye(4)
    out[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    out[:3, 3] = at["translation"]
    return out


def sensor_to_world(time: float) -> np.ndarray:
    return matrix(car(time)) @ matrix(SENSOR)


@dataclass
class Dataset:
    """Scenes of ``keyframes`` samples each. A sample has a lidar and a camera keyframe; between two
    keyframes of the lidar lies one further sweep, which sees the same points of the world as the
    keyframe after it. The car moves and turns.
    """

    root: Path
    version: str = "v1.0-mini"
    scenes: Sequence[str] = ("scene-0061", "scene-0103")
    keyframes: int = 2
    num_points: int = 40
    labelled: bool = True
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def points(self, scene: str, index: int) -> np.ndarray:
        """float32 [P, 5] as in the file."""
        rng = np.random.default_rng([index, *scene.encode()])
        xyz = rng.normal(scale=10, size=(self.num_points, 3))
        intensity = rng.integers(0, 256, self.num_points)
        ring = rng.integers(0, 32, self.num_points)
        return np.column_stack([xyz, intensity, ring]).astype(np.float32)

    def sweep(self, scene: str, index: int) -> np.ndarray:
        """As :meth:`points`, of the sweep that follows keyframe ``index``."""
        points = self.points(scene, index + 1)
        move = np.linalg.inv(sensor_to_world(index + 0.5)) @ sensor_to_world(index + 1)
        points[:, :3] = points[:, :3] @ move[:3, :3].T + move[:3, 3]
        return points

    def raw_labels(self, index: int) -> np.ndarray:
        """uint8 [P], all 32 ids."""
        return ((np.arange(self.num_points) + index) % len(CATEGORIES)).astype(np.uint8)

    def points_path(self, scene: str, index: int) -> Path:
        return self.root / f"samples/LIDAR_TOP/{scene}-{index}.pcd.bin"

    def sweep_path(self, scene: str, index: int) -> Path:
        return self.root / f"sweeps/LIDAR_TOP/{scene}-{index}-later.pcd.bin"

    def labels_path(self, scene: str, index: int) -> Path:
        return self.root / f"lidarseg/{self.version}/{keyframe_token(scene, index)}_lidarseg.bin"

    def table_path(self, name: str) -> Path:
        return self.root / self.version / f"{name}.json"

    def write(self) -> Dataset:
        self._make_tables()
        for scene in self.scenes:
            for index in range(self.keyframes):
                self._write_keyframe(scene, index)
        for name in self.tables:
            self.write_table(name)
        return self

    def write_table(self, name: str, encoding: str = "utf-8", newline: str = "\n") -> None:
        path = self.table_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.tables[name], indent=0)
        path.write_bytes(text.replace("\n", newline).encode(encoding))

    def _write_keyframe(self, scene: str, index: int) -> None:
        points, labels = self.points_path(scene, index), self.labels_path(scene, index)
        sweep = self.sweep_path(scene, index)
        for path, content in (
            (points, self.points(scene, index)),
            (sweep, self.sweep(scene, index)),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.tobytes())
        if self.labelled:
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_bytes(self.raw_labels(index).tobytes())

    def _make_tables(self) -> None:
        sensors = ("LIDAR_TOP", "CAM_FRONT")
        frames = [(scene, index) for scene in self.scenes for index in range(self.keyframes)]
        self.tables = {
            "scene": [{"token": token(scene), "name": scene} for scene in self.scenes],
            "sample": [{"token": token(s, i), "scene_token": token(s)} for s, i in frames],
            "sensor": [{"token": token(s), "channel": s} for s in sensors],
            "calibrated_sensor": [
                {"token": token("calibrated", s), "sensor_token": token(s), **SENSOR}
                for s in sensors
            ],
            "ego_pose": [
                {"token": token("pose", s, time), **car(time)}
                for s, i in frames
                for time in (i, i + 0.5)
            ],
            "sample_data": [  # from the last to the first: the order comes from the timestamps
                self._scan(scene, index, channel, key)
                for scene, index in reversed(frames)
                for channel, key in (("LIDAR_TOP", False), ("LIDAR_TOP", True), ("CAM_FRONT", True))
            ],
            "category": [
                {"token": token(name), "name": name, "index": i}
                for i, name in enumerate(CATEGORIES)
            ],
        }
        if self.labelled:
            self.tables["lidarseg"] = [
                {
                    "token": keyframe_token(scene, index),
                    "sample_data_token": keyframe_token(scene, index),
                    "filename": str(self.labels_path(scene, index).relative_to(self.root)),
                }
                for scene, index in frames
            ]

    def _previous(self, scene: str, index: int, channel: str, key: bool) -> str:
        if not key:
            return keyframe_token(scene, index)
        if index == 0:
            return ""
        lidar = channel == "LIDAR_TOP"
        return sweep_token(scene, index - 1) if lidar else token(scene, channel, index - 1)

    def _scan(self, scene: str, index: int, channel: str, key: bool) -> dict[str, Any]:
        path = f"samples/{channel}/{scene}-{index}.pcd.bin"
        return {
            "token": token(scene, channel, index) if key else sweep_token(scene, index),
            "prev": self._previous(scene, index, channel, key),
            "ego_pose_token": token("pose", scene, index if key else index + 0.5),
            "sample_token": token(scene, index),
            "calibrated_sensor_token": token("calibrated", channel),
            "timestamp": 1_530_000_000_000_000 + 500_000 * index + (0 if key else 250_000),
            "is_key_frame": key,
            "filename": path if key else str(self.sweep_path(scene, index).relative_to(self.root)),
        }
