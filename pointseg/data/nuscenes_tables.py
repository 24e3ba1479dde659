"""The json tables of one version of nuScenes, such as ``v1.0-trainval``: scans, scenes, labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from pointseg.data.json_records import read_records
from pointseg.data.labels import LabelMap
from pointseg.data.nuscenes_classes import NUSCENES16, read_as

T = TypeVar("T")

LIDAR: Final = "LIDAR_TOP"
AGAIN: Final = "unpack the metadata of this version again"
_AGAIN_LABELS: Final = "unpack nuScenes-lidarseg for this version again"
_MAX_LABEL: Final = 255  # labels are stored as bytes
_SCAN_FIELDS: Final[dict[str, type]] = {
    "token": str,
    "sample_token": str,
    "calibrated_sensor_token": str,
    "timestamp": int,
    "is_key_frame": bool,
    "filename": str,
}


class Keyframe(NamedTuple):
    """An annotated scan: its ``sample_data`` token, its scene's name, and its files below the root
    (``labels`` None where ``lidarseg.json`` has no record of it).
    """

    token: str
    scene: str
    points: str
    labels: str | None


@dataclass(frozen=True)
class Version:
    """What the tables in ``folder`` say about scans of LIDAR_TOP.

    keyframes  by token, a scene after the other and those of a scene in the order of time
    scenes     name of each scene -> tokens of its keyframes
    label_map  from the ids in label files to train ids
    """

    folder: Path
    keyframes: Mapping[str, Keyframe]
    scenes: Mapping[str, tuple[str, ...]]
    label_map: LabelMap


def once_a_process(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """``read(folder)``, remembered for as long as the tables in the folder stay as they are."""

    @functools.lru_cache(maxsize=4)
    def remembered(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> T:
        return read(folder)

    @functools.wraps(read)
    def wrapped(folder: Path) -> T:
        stats = ((path.name, path.stat()) for path in sorted(folder.glob("*.json")))
        return remembered(folder, tuple((name, s.st_size, s.st_mtime_ns) for name, s in stats))

    return wrapped


@once_a_process
def read_version(folder: Path) -> Version:
    """Read the tables in ``folder``.

    FileNotFoundError for a missing table; ValueError, with table, record and field, for a broken
    one and for tokens that lead nowhere. ``lidarseg.json`` may be missing or empty.
    """
    by_scene = _keyframes_by_scene(folder)
    keyframes = {k.token: k for rows in by_scene.values() for k in rows}
    if len(keyframes) < sum(map(len, by_scene.values())):
        raise ValueError(
            f"{folder / 'sample_data.json'}: some records have the same token; {AGAIN}"
        )
    return Version(
        folder,
        keyframes,
        scenes={scene: tuple(k.token for k in rows) for scene, rows in by_scene.items()},
        label_map=read_label_map(folder / "category.json"),
    )


def _keyframes_by_scene(folder: Path) -> dict[str, list[Keyframe]]:
    """The keyframes of LIDAR_TOP of every scene, by its name, in the order of time."""
    names = _column(folder / "scene.json", "name")
    scene_of = _through(folder / "sample.json", "scene_token", names)
    channel_of = read_channels(folder)
    labels = _label_files(folder / "lidarseg.json")
    found: dict[str, list[tuple[int, Keyframe]]] = {name: [] for name in names.values()}
    path = folder / "sample_data.json"
    for row in read_records(path, _SCAN_FIELDS, AGAIN):
        channel = follow(channel_of, row, "calibrated_sensor_token", path)
        if channel != LIDAR or not row["is_key_frame"]:
            continue
        scene = follow(scene_of, row, "sample_token", path)
        keyframe = Keyframe(row["token"], scene, row["filename"], labels.pop(row["token"], None))
        found[scene].append((row["timestamp"], keyframe))
    if labels:
        raise ValueError(
            f"{folder / 'lidarseg.json'}: sample_data_token {next(iter(labels))!r} is no keyframe "
            f"of {LIDAR} in {path.name}; {_AGAIN_LABELS}"
        )
    return {scene: [k for _, k in sorted(rows, key=itemgetter(0))] for scene, rows in found.items()}


def read_label_map(path: Path) -> LabelMap:
    """The classes by the ids that ``category.json`` gives to the categories.

    The table of nuScenes without lidarseg has no ids; the archives are unpacked into one folder, in
    any order, so that it may have replaced the other. Then the ids are those of the release.
    """
    if not any("index" in row for row in read_records(path, {"name": str}, _AGAIN_LABELS)):
        return NUSCENES16
    ids: dict[int, str] = {}
    for record in read_records(path, {"name": str, "index": int}, _AGAIN_LABELS):
        index = record["index"]
        if not 0 <= index <= _MAX_LABEL:
            raise ValueError(
                f"{path}: index {index!r:.60} is not in 0..{_MAX_LABEL}; {_AGAIN_LABELS}"
            )
        if index in ids:
            raise ValueError(f"{path}: index {index} is given twice; {_AGAIN_LABELS}")
        ids[index] = record["name"]
    try:
        return read_as(ids)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_AGAIN_LABELS}") from error


def read_channels(folder: Path) -> dict[str, str]:
    """The sensor's channel of every ``calibrated_sensor`` token."""
    channels = _column(folder / "sensor.json", "channel")
    return _through(folder / "calibrated_sensor.json", "sensor_token", channels)


def _label_files(path: Path) -> dict[str, str]:
    """Label file of every annotated ``sample_data`` token; none without lidarseg."""
    if not path.is_file():
        return {}
    fields = {"sample_data_token": str, "filename": str}
    rows = read_records(path, fields, _AGAIN_LABELS)
    return {row["sample_data_token"]: row["filename"] for row in rows}


def _column(path: Path, field: str) -> dict[str, str]:
    """``field`` of every record by the record's token."""
    rows = read_records(path, {"token": str, field: str}, AGAIN)
    return {row["token"]: row[field] for row in rows}


def _through(path: Path, field: str, table: Mapping[str, str]) -> dict[str, str]:
    """What ``table`` holds for the token in ``field`` of every record, by the record's token."""
    rows = read_records(path, {"token": str, field: str}, AGAIN)
    return {row["token"]: follow(table, row, field, path) for row in rows}


def follow(table: Mapping[str, T], row: Mapping[str, Any], field: str, path: Path) -> T:
    """``table[row[field]]`` for a record of ``path``; ValueError where it leads nowhere."""
    try:
        return table[row[field]]
    except KeyError:
        raise ValueError(
            f"{path}: record with token {row['token']!r}: {field} {row[field]!r} is in no record "
            f"of its table: the tables are not of one release; {AGAIN}"
        ) from None
