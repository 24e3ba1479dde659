"""S3DIS as it is on disk: rooms of six areas, one text file for every object."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pointseg.data.catalog import ALL, DatasetSpec, check_bool
from pointseg.data.labels import LabelMap
from pointseg.data.s3dis_text import AGAIN, count_points, read_angles, read_points
from pointseg.data.types import PointCloud

logger = logging.getLogger(__name__)

_CLASSES = (
    ("ceiling", (0, 255, 0)),
    ("floor", (0, 0, 255)),
    ("wall", (0, 255, 255)),
    ("beam", (255, 255, 0)),
    ("column", (255, 0, 255)),
    ("window", (100, 100, 255)),
    ("door", (200, 200, 100)),
    ("table", (170, 120, 200)),
    ("chair", (255, 0, 0)),
    ("sofa", (200, 100, 100)),
    ("bookcase", (10, 200, 100)),
    ("board", (200, 200, 200)),
    ("clutter", (50, 50, 50)),
)
S3DIS13: Final = LabelMap(
    "s3dis13",
    names=tuple(name for name, _ in _CLASSES),
    raw_ids=tuple(range(len(_CLASSES))),
    palette=np.array([rgb for _, rgb in _CLASSES], dtype=np.uint8),
    unlabelled=255,
)
"""The 13 classes in PointNet's order, with its palette (``sem_seg/indoor3d_util.py``); the release
has names only. Superpoint Graph and KPConv order them otherwise: compare by name.
"""

# No class of the benchmark; every published protocol but one counts it as clutter.
_ALIASES = {"stairs": "clutter"}
_TRAIN_IDS = {name: i for i, name in enumerate(S3DIS13.names)}
_TRAIN_IDS.update({alias: _TRAIN_IDS[name] for alias, name in _ALIASES.items()})

ROOMS: Final = {
    "Area_1": 44, "Area_2": 40, "Area_3": 23, "Area_4": 49, "Area_5": 68, "Area_6": 48,
}  # fmt: skip
"""Areas, and the annotated rooms of each in the complete release."""
VALIDATION_AREA: Final = "Area_5"
AREAS_OF_SPLITS: Final[dict[str, tuple[str, ...]]] = {
    "train": tuple(area for area in ROOMS if area != VALIDATION_AREA),
    "val": (VALIDATION_AREA,),
    **{area: (area,) for area in ROOMS},
    ALL: tuple(ROOMS),
}
LAYOUT = """\
  <root>/Area_{1..6}/<roomType>_<n>/Annotations/<class>_<k>.txt
                                    <roomType>_<n>.txt
                     Area_{1..6}_alignmentAngle.txt   (not in the aligned release)"""

_ANNOTATION = re.compile(r"([a-z]+)_\d+")  # nothing else: "wall_1 (copy)" would count twice
_ROOM = re.compile(r"[A-Za-z]+_\d+")
_SCENE_ID = re.compile(rf"(Area_[1-6])_({_ROOM.pattern})")


@dataclass(frozen=True)
class S3DISSettings:
    """What the reader makes of the files; part of a prepared scene's identity.

    align  turn every room by the angle of its area's ``alignmentAngle.txt``, so that its walls lie
           along x and y. Only the release that is not aligned (``Stanford3dDataset_v1.2``) has
           these files; in the aligned one this is done.
    """

    align: bool = False

    def __post_init__(self) -> None:
        check_bool("align", self.align)


class S3DISReader:
    """Reads rooms of an S3DIS root, of either release.

    A room is the union of its annotation files, in the order of their names; each is one instance,
    numbered from 1. Coordinates are those of the files, in metres. Of the file of the whole room
    only the number of points is looked at, to warn where annotation files are missing or there
    twice.
    """

    label_map: LabelMap = S3DIS13

    def __init__(self, root: Path | str, settings: S3DISSettings | None = None) -> None:
        self.root = Path(root)
        self.settings = settings if settings is not None else S3DISSettings()

    # -- which rooms ------------------------------------------------------------------------------

    def listed(self, split: str) -> tuple[str, ...]:
        """Ids of the rooms of a split that are on disk, such as ``Area_5_office_1``, sorted.

        Splits are the areas, ``train`` (all areas but the fifth), ``val`` (the fifth) and ``all``.
        """
        if split not in AREAS_OF_SPLITS:
            raise ValueError(f"split must be one of {', '.join(AREAS_OF_SPLITS)}, got {split!r}")
        return tuple(sorted(i for area in AREAS_OF_SPLITS[split] for i in self._rooms(area)))

    def _rooms(self, area: str) -> Iterator[str]:
        folder = self.root / area
        if folder.is_dir():
            for path in folder.iterdir():
                if _ROOM.fullmatch(path.name) and path.is_dir():
                    yield f"{area}_{path.name}"

    def has(self, scene_id: str) -> bool:
        """Whether the room's folder is there."""
        return bool(_SCENE_ID.fullmatch(scene_id)) and self._room_dir(scene_id).is_dir()

    def _room_dir(self, scene_id: str) -> Path:
        match = _SCENE_ID.fullmatch(scene_id)
        if match is None:
            raise ValueError(f"scene id must be like Area_5_office_1, got {scene_id!r}")
        return self.root / match[1] / match[2]

    # -- one room ---------------------------------------------------------------------------------

    def source_files(self, scene_id: str) -> dict[str, Path]:
        """The annotation files and, for ``align``, the area's angles, by name."""
        room = self._room_dir(scene_id)
        files = {path.name: path for path in _text_files(room / "Annotations")}
        if self.settings.align:
            angles = _angles_path(room.parent)
            files[angles.name] = angles
        return files

    def num_points(self, scene_id: str) -> int:
        """Lines of the annotation files."""
        return sum(map(count_points, _text_files(self._room_dir(scene_id) / "Annotations")))

    def read_scene(self, scene_id: str) -> PointCloud:
        """A room with colours, labels and instances; points in the order of its annotation files.

        Missing, cut-off or broken files and unknown classes are a FileNotFoundError or ValueError
        that names the file and what to do.
        """
        room = self._room_dir(scene_id)
        files = _text_files(room / "Annotations")
        if not files:
            raise FileNotFoundError(
                f"{room / 'Annotations'}: no annotation files there; expected\n{LAYOUT}"
            )
        classes = [_class_of(path) for path in files]
        read = [read_points(path) for path in files]
        counts = [len(xyz) for xyz, _ in read]
        _compare_with_room(room, sum(counts))
        xyz = np.concatenate([xyz for xyz, _ in read])
        if self.settings.align:
            xyz = _turned(xyz, -self._angle_deg(room))
        return PointCloud(
            scene_id=scene_id,
            xyz_m=xyz.astype(np.float32),
            color=np.concatenate([color for _, color in read]),
            labels=np.repeat(np.array(classes, dtype=np.int16), counts),
            instances=np.repeat(np.arange(1, len(files) + 1, dtype=np.int32), counts),
        )

    def _angle_deg(self, room: Path) -> float:
        path = _angles_path(room.parent)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file, and align needs it: it comes with Stanford3dDataset_v1.2; "
                "rooms of the aligned release are turned already, read them without align"
            )
        angles = read_angles(path)
        if room.name not in angles:
            raise ValueError(f"{path}: no angle for room {room.name}; {AGAIN}")
        return angles[room.name]


def _angles_path(area: Path) -> Path:
    return area / f"{area.name}_alignmentAngle.txt"


def _text_files(folder: Path) -> list[Path]:
    """The text files of a folder by name; systems leave hidden ones and ``Icon`` behind."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.glob("*.txt") if not p.name.startswith(".") and p.is_file())
    return sorted(found, key=lambda path: path.name)


def _class_of(path: Path) -> int:
    name = _ANNOTATION.fullmatch(path.stem)
    if name is None or name[1] not in _TRAIN_IDS:
        what = "no name of an annotation" if name is None else f"unknown class {name[1]!r}"
        raise ValueError(
            f"{path}: {what}; annotation files are named <class>_<number>.txt after one of "
            f"{', '.join(_TRAIN_IDS)}: rename the file, remove it where it is a copy, or unpack "
            "the room again"
        )
    return _TRAIN_IDS[name[1]]


def _compare_with_room(room: Path, annotated: int) -> None:
    """Warn where the file of the whole room, whatever its name, has another number of points."""
    for path in _text_files(room):
        total = count_points(path)
        if annotated != total:
            logger.warning(
                "%s: %d points, but the annotation files beside it have %d: some may be %s",
                path, total, annotated, "missing" if annotated < total else "there twice",
            )  # fmt: skip


def _turned(xyz: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Turned about the vertical through the middle of the points' box, counter-clockwise."""
    middle = (xyz.min(axis=0) + xyz.max(axis=0)) / 2
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return (xyz - middle) @ turn.T + middle


SPEC: Final = DatasetSpec(
    reader=S3DISReader,
    settings=S3DISSettings,
    label_map=S3DIS13,
    splits=tuple(split for split in AREAS_OF_SPLITS if split != ALL),
    benchmark="s3dis",
    marks=("Area_[1-6]/*/Annotations",),
    layout=LAYOUT,
    listed_as_found=True,
    expected={split: sum(ROOMS[a] for a in areas) for split, areas in AREAS_OF_SPLITS.items()},
)
"""S3DIS, and generated rooms in its format."""
