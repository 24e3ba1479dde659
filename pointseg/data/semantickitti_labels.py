"""SemanticKITTI's ids: the 19 classes of the single-scan benchmark and what is merged into them.

Source: ``config/semantic-kitti.yaml`` of the benchmark's repository, semantic-kitti-api.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pointseg.data.labels import IGNORE_INDEX, LabelMap

_CLASSES: Final[tuple[tuple[str, int, tuple[int, int, int]], ...]] = (  # name, raw id, RGB
    ("car", 10, (100, 150, 245)),
    ("bicycle", 11, (100, 230, 245)),
    ("motorcycle", 15, (30, 60, 150)),
    ("truck", 18, (80, 30, 180)),
    ("other-vehicle", 20, (0, 0, 255)),
    ("person", 30, (255, 30, 30)),
    ("bicyclist", 31, (255, 40, 200)),
    ("motorcyclist", 32, (150, 30, 90)),
    ("road", 40, (255, 0, 255)),
    ("parking", 44, (255, 150, 255)),
    ("sidewalk", 48, (75, 0, 75)),
    ("other-ground", 49, (175, 0, 75)),
    ("building", 50, (255, 200, 0)),
    ("fence", 51, (255, 120, 50)),
    ("vegetation", 70, (0, 175, 0)),
    ("trunk", 71, (135, 60, 0)),
    ("terrain", 72, (150, 240, 80)),
    ("pole", 80, (255, 240, 150)),
    ("traffic-sign", 81, (255, 0, 0)),
)
_MERGED: Final[dict[int, str]] = {
    13: "other-vehicle",  # bus
    16: "other-vehicle",  # on-rails
    60: "road",  # lane-marking
    252: "car",  # from here on: moving
    253: "bicyclist",
    254: "person",
    255: "motorcyclist",
    256: "other-vehicle",  # on-rails
    257: "other-vehicle",  # bus
    258: "truck",
    259: "other-vehicle",
}
_IGNORED: Final = (0, 1, 52, 99)  # unlabeled, outlier, other-structure, other-object


def _semantickitti() -> LabelMap:
    names = tuple(name for name, _, _ in _CLASSES)
    raw_ids = tuple(raw_id for _, raw_id, _ in _CLASSES)
    reads = {raw_id: train_id for train_id, raw_id in enumerate(raw_ids)}
    reads.update({raw_id: names.index(name) for raw_id, name in _MERGED.items()})
    reads.update(dict.fromkeys(_IGNORED, IGNORE_INDEX))
    palette = np.array([rgb for _, _, rgb in _CLASSES], dtype=np.uint8)
    return LabelMap("semantickitti", names, raw_ids, palette, reads)


SEMANTICKITTI: Final = _semantickitti()
"""The 19 classes; ``raw_ids`` are those that submissions are written in, and an id that the
benchmark's table does not have is an error.
"""
