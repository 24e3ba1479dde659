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


@dataclass
class Dataset:
    """Scenes of ``keyframes`` samples each. A sample has a lidar and a camera keyframe, and between
    two of them lies one further sweep of the lidar.
    """

    root: Path
    version: str = "v1.0-mini"
    scenes: Sequence[str] = ("scene-0061", "scene-0103")
    keyframes: int = 2
    num_points: int = 40
    indexed: bool = True  # whether category.json has ids
    labelled: bool = True
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def points(self, scene: str, index: int) -> np.ndarray:
        """float32 [P, 5] as in the file."""
        rng = np.random.default_rng([index, *scene.encode()])
        xyz = rng.normal(scale=10, size=(self.num_points, 3))
        intensity = rng.integers(0, 256, self.num_points)
        ring = rng.integers(0, 32, self.num_points)
        return np.column_stack([xyz, intensity, ring]).astype(np.float32)

    def raw_labels(self, index: int) -> np.ndarray:
        """uint8 [P], all 32 ids."""
        return ((np.arange(self.num_points) + index) % len(CATEGORIES)).astype(np.uint8)

    def points_path(self, scene: str, index: int) -> Path:
        return self.root / f"samples/LIDAR_TOP/{scene}-{index}.pcd.bin"

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
        points.parent.mkdir(parents=True, exist_ok=True)
        points.write_bytes(self.points(scene, index).tobytes())
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
                {"token": token("calibrated", s), "sensor_token": token(s)} for s in sensors
            ],
            "sample_data": [  # from the last to the first: the order comes from the timestamps
                self._scan(scene, index, channel, key)
                for scene, index in reversed(frames)
                for channel, key in (("LIDAR_TOP", False), ("LIDAR_TOP", True), ("CAM_FRONT", True))
            ],
            "category": [
                {"token": token(name), "name": name, **({"index": i} if self.indexed else {})}
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

    def _scan(self, scene: str, index: int, channel: str, key: bool) -> dict[str, Any]:
        folder = "samples" if key else "sweeps"
        return {
            "token": token(scene, channel, index) if key else token(scene, channel, index, "sweep"),
            "sample_token": token(scene, index),
            "calibrated_sensor_token": token("calibrated", channel),
            "timestamp": 1_530_000_000_000_000 + 500_000 * index + (0 if key else 250_000),
            "is_key_frame": key,
            "filename": f"{folder}/{channel}/{scene}-{index}.pcd.bin",
        }
