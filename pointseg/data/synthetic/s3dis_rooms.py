"""Synthetic rooms in S3DIS's format: six areas, one text file for every object."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from pointseg.data.s3dis import AREAS_OF_SPLITS, S3DIS13, VALIDATION_AREA
from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.camera import ScanSettings, tripod_path
from pointseg.data.synthetic.dataset import FIRST_VALIDATION_ROOM, RoomFormat
from pointseg.data.synthetic.rooms import furnish
from pointseg.data.synthetic.s3dis_recipes import RECIPES
from pointseg.data.synthetic.scanner import Scan, scan_room
from pointseg.data.synthetic.writer import write_scene

S3DIS_GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other bytes."""

# By the id that rooms are made of; all that is not listed is clutter.
_CLASS_OF = {
    nyu40.CEILING: "ceiling",
    nyu40.FLOOR: "floor",
    nyu40.FLOOR_MAT: "floor",
    nyu40.WALL: "wall",
    nyu40.BEAM: "beam",
    nyu40.COLUMN: "column",
    nyu40.WINDOW: "window",
    nyu40.DOOR: "door",
    nyu40.TABLE: "table",
    nyu40.DESK: "table",
    nyu40.CHAIR: "chair",
    nyu40.SOFA: "sofa",
    nyu40.BOOKSHELF: "bookcase",
    nyu40.WHITEBOARD: "board",
}

_TRAINING_AREAS = AREAS_OF_SPLITS["train"]


def room_folder(index: int) -> Path:
    """Where a room lies, such as ``Area_1/office_1``: numbered by type within its area.

    Training rooms take turns between the areas; validation rooms are the fifth area. Neither
    depends on how many rooms there are.
    """
    kind = RECIPES[index % len(RECIPES)][0]
    if index >= FIRST_VALIDATION_ROOM:
        area, before = VALIDATION_AREA, range(FIRST_VALIDATION_ROOM, index)
    else:
        turns = len(_TRAINING_AREAS)
        area, before = _TRAINING_AREAS[index % turns], range(index % turns, index, turns)
    number = 1 + sum(RECIPES[i % len(RECIPES)][0] == kind for i in before)
    return Path(area, f"{kind}_{number}")


def room_files(name: str, scan: Scan) -> dict[str, bytes]:
    """The files of a room by name: all its points, and those of each object.

    Objects are numbered by class; the frame is the aligned one, with a corner at the origin. What
    is not annotated, which is seen through open doors, is left out: in S3DIS every point has a
    class.
    """
    turn, move = scan.axis_alignment[:3, :3], scan.axis_alignment[:3, 3]
    table = np.concatenate([scan.xyz_m.astype(np.float64) @ turn.T + move, scan.color], axis=1)
    annotated = scan.labels != nyu40.UNANNOTATED
    files = {f"{name}.txt": _text(table[annotated])}
    counts = dict.fromkeys(S3DIS13.names, 0)
    for instance in np.unique(scan.instances[annotated]):
        rows = np.flatnonzero(annotated & (scan.instances == instance))
        kind = _CLASS_OF.get(int(scan.labels[rows[0]]), "clutter")
        counts[kind] += 1
        files[f"Annotations/{kind}_{counts[kind]}.txt"] = _text(table[rows])
    return files


def _text(table: np.ndarray) -> bytes:
    """Rows ``x y z r g b`` as S3DIS's aligned release writes them: millimetres, whole colours."""
    line = "%.3f %.3f %.3f %d %d %d\n"
    return (line * len(table) % tuple(table.ravel().tolist())).encode("ascii")


def generate_room(folder: Path, seed: int, index: int, settings: ScanSettings) -> int:
    """Generate one room and write its folder; returns the number of points scanned."""
    scan = scan_room(furnish(seed, index, RECIPES), seed, index, settings, tripod_path)
    write_scene(folder, room_files(folder.name, scan))
    return len(scan.xyz_m)


S3DIS_ROOMS: Final = RoomFormat(
    "pointseg synthetic rooms in S3DIS's format",
    S3DIS_GENERATOR_VERSION,
    ScanSettings(num_views=24, cell_m=0.035),
    folder=room_folder,
    generate=generate_room,
)
"""S3DIS's aligned layout, scanned from three stations a room."""
