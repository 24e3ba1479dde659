"""The classes of nuScenes-lidarseg, and what ids its category table gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np

from pointseg.data.labels import IGNORE_INDEX, LabelMap

_CLASSES: Final[dict[str, tuple[int, int, int]]] = {
    "barrier": (112, 128, 144),
    "bicycle": (220, 20, 60),
    "bus": (255, 127, 80),
    "car": (255, 158, 0),
    "construction_vehicle": (233, 150, 70),
    "motorcycle": (255, 61, 99),
    "pedestrian": (0, 0, 230),
    "traffic_cone": (47, 79, 79),
    "trailer": (255, 140, 0),
    "truck": (255, 99, 71),
    "driveable_surface": (0, 207, 191),
    "other_flat": (175, 0, 75),
    "sidewalk": (75, 0, 75),
    "terrain": (112, 180, 60),
    "manmade": (222, 184, 135),
    "vegetation": (0, 175, 0),
}
# Category: its class, None where it is ignored. The order is that of the ids in the release.
_CATEGORIES: Final[dict[str, str | None]] = {
    "noise": None,
    "animal": None,
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.personal_mobility": None,
    "human.pedestrian.police_officer": "pedestrian",
    "human.pedestrian.stroller": None,
    "human.pedestrian.wheelchair": None,
    "movable_object.barrier": "barrier",
    "movable_object.debris": None,
    "movable_object.pushable_pullable": None,
    "movable_object.trafficcone": "traffic_cone",
    "static_object.bicycle_rack": None,
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.construction": "construction_vehicle",
    "vehicle.emergency.ambulance": None,
    "vehicle.emergency.police": None,
    "vehicle.motorcycle": "motorcycle",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
    "flat.driveable_surface": "driveable_surface",
    "flat.other": "other_flat",
    "flat.sidewalk": "sidewalk",
    "flat.terrain": "terrain",
    "static.manmade": "manmade",
    "static.other": None,
    "static.vegetation": "vegetation",
    "vehicle.ego": None,
}


def _reads(ids: Mapping[int, str]) -> dict[int, int]:
    train = {name: i for i, name in enumerate(_CLASSES)}
    classes = {raw: _CATEGORIES[category] for raw, category in ids.items()}
    return {raw: IGNORE_INDEX if c is None else train[c] for raw, c in classes.items()}


NUSCENES16: Final = LabelMap(
    "nuscenes16",
    names=tuple(_CLASSES),
    raw_ids=tuple(range(1, len(_CLASSES) + 1)),
    palette=np.array(list(_CLASSES.values()), dtype=np.uint8),
    reads=_reads(dict(enumerate(_CATEGORIES))),
)
"""The 16 classes of the lidar segmentation challenge.

Raw ids are 1..16, as submissions have them; annotation files have the 32 ids of the categories.
Source: nuscenes-devkit, eval/lidarseg (classes), utils/color_map.py (colours).
"""


def read_as(ids: Mapping[int, str]) -> LabelMap:
    """:data:`NUSCENES16` for annotation files with these ids, given as id -> category name.

    An unknown category is a ValueError.
    """
    unknown = [category for category in ids.values() if category not in _CATEGORIES]
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is none of the {len(_CATEGORIES)} categories of nuScenes-lidarseg"
        )
    return dataclasses.replace(NUSCENES16, reads=_reads(ids))
