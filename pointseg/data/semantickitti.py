"""SemanticKITTI as it is on disk: lidar scans of drives, read straight from their files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pointseg.data.catalog import ALL, DatasetSpec
from pointseg.data.coordinates import check_points
from pointseg.data.kitti_poses import POSES_REMEDY, lidar_poses
from pointseg.data.labels import LabelMap
from pointseg.data.point_rows import num_point_rows, read_point_rows
from pointseg.data.semantickitti_labels import SEMANTICKITTI
from pointseg.data.sweeps import join, move
from pointseg.data.types import PointCloud

LAYOUT = """\
  <root>/dataset/sequences/00..21/velodyne/000000.bin ...
                                  labels/000000.label ...    00..10
                                  calib.txt, poses.txt       where sweeps are joined
  or the same below <root>/sequences"""

_NUM_SCANS: Final = (  # of sequence 00, 01, ... in the complete release
    *(4541, 1101, 4661, 801, 271, 2761, 1101, 1101, 4071, 1591, 1201),
    *(921, 1061, 3281, 631, 1901, 1731, 491, 1801, 4981, 831, 2721),
)
_SCANS: Final = {f"{sequence:02d}": count for sequence, count in enumerate(_NUM_SCANS)}
_TEST: Final = tuple(sequence for sequence in _SCANS if sequence > "10")
SPLITS: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"),
    "val": ("08",),
    "test": _TEST,
    **{sequence: (sequence,) for sequence in _SCANS},
}
"""The sequences of each split, by number of two digits."""
_AGAIN = "copy or download the file again"
_COLUMNS = ("x", "y", "z", "remission")


@dataclass(frozen=True)
class SemanticKITTISettings:
    """What the reader makes of the files.

    num_sweeps  scans that make up a cloud: the scan itself and earlier ones of its sequence, moved
                into its frame by the poses. At the start of a sequence there are fewer.
    sweep_step  scans from one of them to the next; 1: consecutive ones, 0.1 s apart
    """

    num_sweeps: int = 1
    sweep_step: int = 1

    def __post_init__(self) -> None:
        for name in ("num_sweeps", "sweep_step"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")


@dataclass(frozen=True)
class _Scan:
    """A scan by its sequence's folder and its number in it."""

    folder: Path
    number: int

    @property
    def scene_id(self) -> str:
        return f"{self.folder.name}_{self.number:06d}"

    @property
    def points(self) -> Path:
        return self.folder / "velodyne" / f"{self.number:06d}.bin"

    @property
    def labels(self) -> Path:
        return self.folder / "labels" / f"{self.number:06d}.label"

    def has_labels(self) -> bool:
        """False for a scan of a test sequence without them; elsewhere they must be there."""
        return self.folder.name not in _TEST or self.labels.is_file()


class SemanticKITTIReader:
    """Reads scans of a SemanticKITTI root; a scene is one scan, such as ``08_000123``.

    Coordinates are the sensor's (x forward, y left, z up, metres), points in the file's order,
    ``extras["intensity"]`` is the remission. Instances are the upper 16 bits of the labels and last
    over a sequence. With several sweeps the earlier scans' points follow as ``context``, with their
    own labels, and ``extras["sweep"]`` (int16) is their age in scans.
    Missing, cut-off or mismatched files are a FileNotFoundError or ValueError that names the file
    and what to do.
    """

    label_map: LabelMap = SEMANTICKITTI

    def __init__(self, root: Path | str, settings: SemanticKITTISettings | None = None) -> None:
        self.root = Path(root)
        self.settings = settings if settings is not None else SemanticKITTISettings()
        self._poses: dict[str, NDArray[np.float64]] = {}  # of the sequences met so far

    # -- which scans ------------------------------------------------------------------------------

    def listed(self, split: str) -> tuple[str, ...]:
        """The scans of a split that are on disk, by sequence and number."""
        if split != ALL and split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join((*SPLITS, ALL))}, got {split!r}")
        sequences = _SCANS if split == ALL else SPLITS[split]
        folders = [self._sequences() / sequence for sequence in sequences]
        return tuple(scan.scene_id for folder in folders for scan in _scans_in(folder))

    def has(self, scene_id: str) -> bool:
        """Whether the scan's points are on disk; False for anything that is no scan's id."""
        named = _parse(scene_id)
        if named is None:
            return False
        sequence, number = named
        return any(_Scan(place / sequence, number).points.is_file() for place in self._places())

    def _places(self) -> list[Path]:
        places = self.root / "dataset" / "sequences", self.root / "sequences"
        return [place for place in places if place.is_dir()]

    def _sequences(self) -> Path:
        found = self._places()
        if not found:
            raise FileNotFoundError(f"{self.root}: no sequences; expected\n{LAYOUT}")
        if len(found) > 1:
            raise ValueError(f"{found[0]} and {found[1]} are both there; move one of them away")
        return found[0]

    # -- one scan ---------------------------------------------------------------------------------

    def source_files(self, scene_id: str) -> dict[str, Path]:
        """The files that decide what :meth:`read_scene` returns, by name."""
        scan = self._named(scene_id)
        paths = []
        for one in (scan, *self._earlier(scan)):
            paths += [one.points, one.labels] if one.has_labels() else [one.points]
        if self.settings.num_sweeps > 1:
            paths += [scan.folder / "calib.txt", scan.folder / "poses.txt"]
        return {path.name: path for path in paths}

    def num_points(self, scene_id: str) -> int:
        """Points of the scan itself, by the size of its file."""
        return num_point_rows(self._named(scene_id).points, _COLUMNS, _AGAIN)

    def read_scene(self, scene_id: str) -> PointCloud:
        """One scan, or the sweeps that end with it. Scans of 11 to 21 may have no labels."""
        scan = self._named(scene_id)
        if self.settings.num_sweeps == 1:
            return _read_scan(scan)
        earlier = self._earlier(scan)
        clouds = [_read_scan(scan), *(self._moved(_read_scan(s), s, scan) for s in earlier)]
        return join(clouds, [scan.number - s.number for s in (scan, *earlier)])

    def _named(self, scene_id: str) -> _Scan:
        named = _parse(scene_id)
        if named is None:
            raise ValueError(
                f"scene id must be a sequence from 00 to 21 and a scan, such as 08_000123, got "
                f"{scene_id!r}"
            )
        sequence, number = named
        return _Scan(self._sequences() / sequence, number)

    def _earlier(self, scan: _Scan) -> list[_Scan]:
        step = self.settings.sweep_step
        numbers = range(scan.number - step, -1, -step)[: self.settings.num_sweeps - 1]
        return [_Scan(scan.folder, number) for number in numbers]

    def _moved(self, cloud: PointCloud, scan: _Scan, to: _Scan) -> PointCloud:
        """The points of ``scan`` in the sensor's frame at ``to``."""
        matrix = np.linalg.inv(self._pose(to)) @ self._pose(scan)
        where = f"{scan.folder / 'poses.txt'}:{scan.number + 1}"
        return cloud.replace(xyz_m=move(cloud.xyz_m, matrix, where, POSES_REMEDY))

    def _pose(self, scan: _Scan) -> NDArray[np.float64]:
        sequence = scan.folder.name
        if sequence not in self._poses:
            self._poses[sequence] = lidar_poses(scan.folder)
        poses = self._poses[sequence]
        if scan.number >= len(poses):
            raise ValueError(
                f"{scan.folder / 'poses.txt'}: {len(poses)} poses, none for scan {scan.points.name}"
                f"; {POSES_REMEDY}, or set num_sweeps to 1"
            )
        return poses[scan.number]


def _parse(scene_id: str) -> tuple[str, int] | None:
    """Sequence and number of ``08_000123``."""
    match = re.fullmatch(r"([0-9]{2})_([0-9]{6})", scene_id)
    return (match[1], int(match[2])) if match and match[1] in _SCANS else None


def _scans_in(folder: Path) -> Iterator[_Scan]:
    """The scans of a sequence's folder in order; other files beside them are passed over."""
    for path in sorted(folder.glob("velodyne/*.bin")):
        if re.fullmatch(r"[0-9]{6}", path.stem):
            yield _Scan(folder, int(path.stem))


def _read_scan(scan: _Scan) -> PointCloud:
    points = read_point_rows(scan.points, _COLUMNS, _AGAIN)
    check_points(points, scan.points, _AGAIN)
    at_sensor = int((~points[:, :3].any(axis=1)).sum())
    if at_sensor:  # no lidar sees itself; a download that was interrupted leaves zeros
        raise ValueError(
            f"{scan.points}: x, y and z of {at_sensor} of {len(points)} points are all 0; {_AGAIN}"
        )
    labels, instances = _read_labels(scan, len(points)) if scan.has_labels() else (None, None)
    return PointCloud(
        scene_id=scan.scene_id,
        xyz_m=np.ascontiguousarray(points[:, :3]),
        labels=labels,
        instances=instances,
        extras={"intensity": np.ascontiguousarray(points[:, 3])},
    )


def _read_labels(scan: _Scan, num_points: int) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    path = scan.labels
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; labels come with data_odometry_labels.zip, and scans without "
            f"any belong in a sequence from {_TEST[0]} to {_TEST[-1]}"
        )
    if path.stat().st_size != 4 * num_points:
        raise ValueError(
            f"{path}: {path.stat().st_size} bytes, but the {num_points} points of {scan.points} "
            f"need {4 * num_points}; {_AGAIN}"
        )
    values = np.fromfile(path, dtype="<u4")
    try:
        labels = SEMANTICKITTI.to_train(values & 0xFFFF)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_AGAIN}") from error
    return labels, (values >> 16).astype(np.int32)


SPEC: Final = DatasetSpec(
    reader=SemanticKITTIReader,
    settings=SemanticKITTISettings,
    label_map=SEMANTICKITTI,
    splits=tuple(SPLITS),
    benchmark="semantickitti",
    marks=("dataset/sequences/[0-9][0-9]/velodyne", "sequences/[0-9][0-9]/velodyne"),
    layout=LAYOUT,
    prepared=False,
    listed_as_found=True,
    expected={split: sum(_SCANS[s] for s in SPLITS[split]) for split in SPLITS},
    sensor_at_origin=True,
)
"""SemanticKITTI; a split is ``train``, ``val``, ``test`` or a sequence."""

STREETS: Final = dataclasses.replace(
    SPEC, remedy="`pointseg synthesize-streets` writes such scans", expected=None
)
"""Generated streets: the same format on disk, read by the same code."""
