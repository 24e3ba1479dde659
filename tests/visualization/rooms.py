"""A small room with a ceiling, made by hand, for tests of pictures."""

from __future__ import annotations

import numpy as np

from pointseg.data.labels import LabelMap
from pointseg.data.types import PointCloud
from pointseg.evaluation.choices import StageChoice

LABEL_MAP = LabelMap(
    name="room",
    names=("wall", "floor", "table", "<lamp>"),
    raw_ids=(1, 2, 7, 35),
    palette=np.array([[60, 90, 200], [90, 200, 90], [230, 80, 60], [240, 200, 40]]),
)
WALL, FLOOR, TABLE, LAMP, IGNORED = 0, 1, 2, 3, -1
CEILING_M = 2.5


def room(step: float = 0.08) -> PointCloud:
    """A room of 4 m x 3 m x 2.5 m: floor, three walls, a table; the ceiling is not annotated."""
    across, along, up = (np.arange(0, size + 1e-9, step) for size in (4.0, 3.0, CEILING_M))
    parts = [
        (_sheet(across, along, [0.0]), FLOOR, (120, 90, 60), (0, 0, 1)),
        (_sheet(across, [0.0], up), WALL, (200, 200, 190), (0, 1, 0)),
        (_sheet(across, [3.0], up), WALL, (190, 200, 200), (0, -1, 0)),
        (_sheet([0.0], along, up), WALL, (200, 190, 200), (1, 0, 0)),
        (_sheet(across[10:25], along[10:20], [0.75]), TABLE, (80, 50, 30), (0, 0, 1)),
        (_sheet(across, along, [CEILING_M]), IGNORED, (240, 240, 240), (0, 0, -1)),
    ]
    sizes = [len(part[0]) for part in parts]
    return PointCloud(
        scene_id="room_a",
        xyz_m=np.concatenate([part[0] for part in parts]),
        color=np.repeat(np.array([part[2] for part in parts], np.uint8), sizes, axis=0),
        normal=np.repeat(np.array([part[3] for part in parts], np.float32), sizes, axis=0),
        labels=np.repeat(np.array([part[1] for part in parts], np.int16), sizes),
    )


def flawed_predictions(cloud: PointCloud) -> np.ndarray:
    """Right everywhere but on the half of the table with larger x, which is taken for floor."""
    assert cloud.labels is not None
    predictions = np.where(cloud.labels < 0, WALL, cloud.labels)
    table = cloud.labels == TABLE
    middle = np.median(cloud.xyz_m[table, 0])
    predictions[table & (cloud.xyz_m[:, 0] > middle)] = FLOOR
    return predictions.astype(np.int16)


def some_choices(cloud: PointCloud) -> dict[str, StageChoice]:
    """Two stages of three entries: by thirds of the room, and one entry that takes all of it."""
    third = np.clip(cloud.xyz_m[:, 0] // (4.0 / 3), 0, 2).astype(np.uint8)
    entropy = (cloud.xyz_m[:, 1] / 3.0 * np.log(3)).astype(np.float32)
    regions = ("cube 3", "cube 3, dilation 2", "cross 3")
    return {
        "encoder.1": StageChoice(third, entropy, regions),
        "decoder.0": StageChoice(np.ones_like(third), np.zeros_like(entropy), regions),
    }


def _sheet(x: object, y: object, z: object) -> np.ndarray:
    return np.stack(np.meshgrid(x, y, z), axis=-1).reshape(-1, 3).astype(np.float32)
