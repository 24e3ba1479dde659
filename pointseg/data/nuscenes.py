"""nuScenes-lidarseg as it is on disk: annotated scans of the roof lidar and their labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pointseg.data.catalog import ALL, DatasetSpec
from pointseg.data.labels import LabelMap
from pointseg.data.nuscenes_classes import NUSCENES16
from pointseg.data.nuscenes_scans import (
    count_points,
    earlier_scans,
    read_moved,
    read_scan,
    read_scans,
)
from pointseg.data.nuscenes_splits import SPLITS
from pointseg.data.nuscenes_tables import LIDAR, Keyframe, Version, read_version
from pointseg.data.sweeps import join
from pointseg.data.types import PointCloud

LAYOUT: Final = """\
  <root>/v1.0-{trainval,test,mini}/{scene,sample,sample_data,sensor,calibrated_sensor,category}.json
  <root>/v1.0-{trainval,mini}/lidarseg.json
  <root>/samples/LIDAR_TOP/*.pcd.bin
  <root>/sweeps/LIDAR_TOP/*.pcd.bin   with v1.0-*/ego_pose.json, where num_sweeps is more than 1
  <root>/lidarseg/v1.0-{trainval,mini}/<token>_lidarseg.bin"""
REMEDY: Final = (
    "metadata, lidar blobs and nuScenes-lidarseg from nuscenes.org, unpacked into one folder"
)
_AGAIN: Final = "unpack the archive again"
_VERSION_NAME: Final = re.compile(r"\w[\w.-]*")  # no pattern, and no other place
_SCENE_NAME: Final = re.compile(r"scene-\d{4}")


@dataclass(frozen=True)
class NuScenesSettings:
    """What the reader makes of the files.

    version     folder of the tables, such as ``v1.0-trainval``; None: the one that a split belongs
                to, of those that are there
    num_sweeps  scans that make up a cloud: the keyframe itself and earlier scans of its scene, 0.05
                s apart, where the scene has so many. The challenge allows for 11.
    """

    version: str | None = None
    num_sweeps: int = 1

    def __post_init__(self) -> None:
        name = self.version
        if name is not None and not (isinstance(name, str) and _VERSION_NAME.fullmatch(name)):
            raise ValueError(f"version must be the name of a folder in the root, got {name!r}")
        if type(self.num_sweeps) is not int or self.num_sweeps < 1:
            raise ValueError(f"num_sweeps must be an integer >= 1, got {self.num_sweeps!r}")


class NuScenesReader:
    """Reads the keyframes of LIDAR_TOP; a scene is one scan, its id the ``sample_data`` token.

    Points are in the sensor's frame (x right, y forward, z up), in the file's order and all of
    them, returns from the car itself included. ``extras``: ``intensity`` float32, the file's 0..255
    as 0..1, and ``ring`` uint8, the laser. Scans of ``v1.0-test`` have no labels. With several
    sweeps the points of earlier scans follow as ``context``, without labels, and
    ``extras["sweep"]`` (int16) is their age in scans.

    The tables of a version are read when they are first needed, which takes some ten seconds for
    ``v1.0-trainval`` and some thirty with sweeps; they are not sent along to other processes.
    """

    label_map: LabelMap = NUSCENES16

    def __init__(self, root: Path | str, settings: NuScenesSettings | None = None) -> None:
        self.root = Path(root)
        self.settings = settings if settings is not None else NuScenesSettings()
        # In the order of their first use, None where the tables must be read (again).
        self._versions: dict[str, Version | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_versions": dict.fromkeys(self._versions)}

    # -- which scenes -----------------------------------------------------------------------------

    def listed(self, split: str) -> tuple[str, ...]:
        """Tokens of a split: of an official one, of one scene by its name (``scene-0061``), or of
        all keyframes whose scan is on disk (``all``). By scene, then by time.
        """
        if split == ALL:
            tokens = dict.fromkeys(t for name in self._found() for t in self._read(name).keyframes)
            return tuple(token for token in tokens if self.has(token))
        if split in SPLITS:
            version = self._version_of(split)
            scenes = SPLITS[split].scenes
            absent = [scene for scene in scenes if scene not in version.scenes]
            if absent:
                raise ValueError(
                    f"{version.folder / 'scene.json'}: {len(absent)} of {len(scenes)} scenes of "
                    f"split {split!r} are not in this version (first: {absent[0]}); its own scenes "
                    "can be given by name"
                )
            return tuple(token for scene in scenes for token in version.scenes[scene])
        if not _SCENE_NAME.fullmatch(split):
            raise ValueError(
                f"split must be one of {', '.join((*SPLITS, ALL))} or the name of a scene such as "
                f"scene-0061, got {split!r}"
            )
        for name in self._found():
            if split in self._read(name).scenes:
                return self._read(name).scenes[split]
        raise ValueError(f"{self.root}: no scene {split!r} in {', '.join(self._found())}")

    def has(self, scene_id: str) -> bool:
        """Whether the scan of a keyframe is on disk; its labels may be missing."""
        found = self._find(scene_id)
        return found is not None and (self.root / found[1].points).is_file()

    def _version_of(self, split: str) -> Version:
        found = self._found()
        wanted = SPLITS[split].versions if self.settings.version is None else found
        name = next((name for name in wanted if name in found), None)
        if name is None:
            raise FileNotFoundError(
                f"{self.root}: split {split!r} needs {wanted[0]}/, which is not there (found: "
                f"{', '.join(found)}); download its metadata from nuscenes.org"
            )
        return self._read(name)

    def _found(self) -> list[str]:
        """Names of the versions that may be read; FileNotFoundError where there are none."""
        pattern = "v1.0-*" if self.settings.version is None else self.settings.version
        found = (path.parent.name for path in self.root.glob(f"{pattern}/scene.json"))
        names = sorted(found, reverse=True)  # v1.0-trainval before its part v1.0-mini
        if not names:
            raise FileNotFoundError(
                f"{self.root}: no {pattern}/scene.json; expected\n{LAYOUT}\n({REMEDY})"
            )
        return names

    def _read(self, name: str) -> Version:
        version = self._versions.get(name)
        if version is None:
            self._versions[name] = version = read_version(self.root / name)
            if self.settings.num_sweeps > 1:
                read_scans(version.folder)  # now, so that processes forked from this one have them
        return version

    def _find(self, scene_id: str) -> tuple[Version, Keyframe] | None:
        """A keyframe and the version it is in; further tables are read only where they have to."""
        for name in self._versions:
            version = self._read(name)
            if scene_id in version.keyframes:
                return version, version.keyframes[scene_id]
        unread = [name for name in self._found() if name not in self._versions]
        if not unread:
            return None
        self._read(unread[0])
        return self._find(scene_id)

    def _keyframe(self, scene_id: str) -> tuple[Version, Keyframe]:
        found = self._find(scene_id)
        if found is None:
            raise ValueError(
                f"{self.root}: {scene_id!r} is no token of a keyframe of {LIDAR} in "
                f"{', '.join(self._found())}"
            )
        return found

    # -- one scene --------------------------------------------------------------------------------

    def num_points(self, scene_id: str) -> int:
        """Points of a scan, from the size of its file."""
        return count_points(self.root / self._keyframe(scene_id)[1].points)

    def source_files(self, scene_id: str) -> dict[str, Path]:
        """The scan with its sweeps, and the labels and the table of categories where it is
        annotated. The other tables, which say what belongs together, are not among them.
        """
        version, keyframe = self._keyframe(scene_id)
        paths = [
            self.root / keyframe.points,
            *(path for path, _ in self._sweeps(version, scene_id)),
        ]
        if keyframe.labels is not None:
            paths += [self.root / keyframe.labels, version.folder / "category.json"]
        return {path.name: path for path in paths if path.is_file()}

    def read_scene(self, scene_id: str) -> PointCloud:
        """One scan. A broken or missing file is an error that names it."""
        version, keyframe = self._keyframe(scene_id)
        cloud = _cloud(scene_id, read_scan(self.root / keyframe.points))
        cloud = cloud.replace(labels=self._read_labels(version, keyframe, cloud.num_points))
        if self.settings.num_sweeps == 1:
            return cloud
        earlier = [read_moved(path, matrix) for path, matrix in self._sweeps(version, scene_id)]
        clouds = [cloud, *(_cloud(scene_id, points) for points in earlier)]
        return join(clouds, range(len(clouds)))

    def _sweeps(self, version: Version, token: str) -> list[tuple[Path, NDArray[np.float64]]]:
        """Files of the earlier scans, and what moves each into the keyframe's frame."""
        count = self.settings.num_sweeps - 1
        if count == 0:
            return []
        found = earlier_scans(version.folder, token, count)
        return [(self.root / points, matrix) for points, matrix in found]

    def _read_labels(
        self, version: Version, keyframe: Keyframe, num_points: int
    ) -> NDArray[np.int16] | None:
        if keyframe.labels is None:
            if version.folder.name.endswith("-test"):
                return None
            raise FileNotFoundError(
                f"{version.folder / 'lidarseg.json'}: no labels of keyframe {keyframe.token} "
                f"({keyframe.scene}): the table is missing or has no record of it; unpack "
                f"nuScenes-lidarseg for {version.folder.name} into {self.root}"
            )
        path = self.root / keyframe.labels
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; unpack nuScenes-lidarseg again")
        raw = np.fromfile(path, dtype=np.uint8)
        if len(raw) != num_points:
            raise ValueError(
                f"{path}: {len(raw)} labels of one byte, but {keyframe.points} has {num_points} "
                f"points; {_AGAIN}"
            )
        try:
            return version.label_map.to_train(raw)
        except ValueError as error:
            raise ValueError(f"{path}: {error}; {_AGAIN}") from error


def _cloud(scene_id: str, points: NDArray[np.float32]) -> PointCloud:
    return PointCloud(
        scene_id,
        np.ascontiguousarray(points[:, :3]),
        extras={
            "intensity": points[:, 3] / np.float32(255),
            "ring": points[:, 4].astype(np.uint8),
        },
    )


SPEC: Final = DatasetSpec(
    reader=NuScenesReader,
    settings=NuScenesSettings,
    label_map=NUSCENES16,
    splits=tuple(SPLITS),
    benchmark="nuscenes",
    marks=("*/sample_data.json",),
    layout=LAYOUT,
    remedy=REMEDY,
    prepared=False,
    expected={"train": 28130, "val": 6019, "test": 6008, "mini_train": 323, "mini_val": 81},
    sensor_at_origin=True,
)
"""nuScenes-lidarseg; scenes are counted in keyframes."""
