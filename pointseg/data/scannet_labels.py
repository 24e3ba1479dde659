"""ScanNet's annotation files: category table, aggregation, segments, and known bad values."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointseg.data.labels import LabelMap

logger = logging.getLogger(__name__)

TSV_NAME = "scannetv2-labels.combined.tsv"
_MAX_NYU40 = 40
_MAX_ID = int(np.iinfo(np.int32).max) - 1  # instances are stored as objectId + 1
# Three training scenes carry an id of another table in labels.ply. What it stands for is known from
# the raw category of the same vertices (ScanNet issues 20 and 86): rack/stand -> otherfurniture,
# shoe -> otherprop.
_KNOWN_BAD_VALUES: dict[str, tuple[int, int]] = {  # scene: (value in the file, nyu40 id)
    "scene0270_00": (50, 39),
    "scene0270_02": (50, 39),
    "scene0384_00": (149, 40),
}


def repair_nyu40(labels: NDArray[np.uint16], scene_id: str, path: Path) -> NDArray[np.uint16]:
    """nyu40 ids with the known bad value of this scene replaced; any other id > 40 is a ValueError.

    The v1 release stores ids of the category table (up to about 1,200) in the same place.
    """
    if scene_id in _KNOWN_BAD_VALUES:
        bad, nyu40 = _KNOWN_BAD_VALUES[scene_id]
        labels = np.where(labels == bad, np.array(nyu40, labels.dtype), labels)
    if len(labels) and labels.max() > _MAX_NYU40:
        values = np.unique(labels[labels > _MAX_NYU40])
        raise ValueError(
            f"{path}: label {values[0]} (and {len(values) - 1} more values above {_MAX_NYU40}) is "
            "no nyu40 id: this is a file of the v1 release; download the v2 release of the scene "
            f"({path.name} with ScanNet's download script, without --v1)"
        )
    return labels


def find_tsv(root: Path) -> Path:
    """The category table, in ``root/meta`` or ``root``; FileNotFoundError otherwise."""
    for path in (root / "meta" / TSV_NAME, root / TSV_NAME):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{root}: no {TSV_NAME} in it or in meta/; it comes with the ScanNet v2 download "
        "(--label_map), and labels cannot be built from aggregations without it"
    )


@dataclass(frozen=True)
class ClassSource:
    """Where classes come from: the ids in a column of the category table, and what they stand for.

    Only nyu40 ids (column ``nyu40id``) are also in ``labels.ply``.
    """

    label_map: LabelMap
    column: str


def read_categories(path: Path, column: str) -> dict[str, int]:
    """``raw_category`` -> id in ``column``, such as ``nyu40id`` (0 where the table has none)."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        found = rows.fieldnames or ()
        if "raw_category" not in found or column not in found:
            raise ValueError(
                f"{path}: no columns raw_category and {column} (found: {', '.join(found[:5])} "
                f"...); the v1 table is a different file, take {TSV_NAME} of the v2 release"
            )
        try:
            return {row["raw_category"]: _read_id(row[column] or 0) for row in rows}
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: line {rows.line_num}: {error}; download the file again"
            ) from error


@dataclass(frozen=True)
class SegmentGroup:
    """One annotated object: the segments it is made of and its raw category."""

    object_id: int
    category: str
    segments: tuple[int, ...]


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; download it with the scene")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # also UnicodeDecodeError
        raise ValueError(f"{path}: not valid json ({error}); download the file again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a json object; download the file again")
    return content


def _check_scene(content: Mapping[str, Any], path: Path, scene_id: str) -> None:
    """Refuse a file that says it is of another scene; the release has ``scannet.scene0000_00``."""
    named = content.get("sceneId")
    if named is not None and not str(named).endswith(scene_id):
        raise ValueError(
            f"{path}: sceneId is {named!r:.60}: this is a file of another scene; download "
            f"{scene_id} again"
        )


def _read_id(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= _MAX_ID:
        raise ValueError(f"{value!r:.60} is no id of 0..{_MAX_ID}")
    return number


def read_aggregation(path: Path, scene_id: str) -> list[SegmentGroup]:
    """The objects of the ``aggregation.json`` of a scene. A file of v1 or of another scene and a
    broken one are a ValueError.
    """
    content = _read_json(path)
    _check_scene(content, path, scene_id)
    if str(content.get("appId", "")).startswith("Aggregator.v1"):
        raise ValueError(
            f"{path}: written by {content['appId']}: this is a file of the v1 release; download "
            "the v2 release of the scene"
        )
    try:
        return [
            SegmentGroup(
                _read_id(g["objectId"]), str(g["label"]), tuple(map(_read_id, g["segments"]))
            )
            for g in content["segGroups"]
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{path}: segGroups must be a list of objectId, label and segments ({error!r}); "
            "download the file again"
        ) from error


def read_segments(path: Path, scene_id: str, num_vertices: int) -> NDArray[np.int64]:
    """The segment id of every vertex of a scene, int64 [P]."""
    content = _read_json(path)
    _check_scene(content, path, scene_id)
    try:
        segments = np.asarray(content["segIndices"], dtype=np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{path}: segIndices must be a list of integers ({error!r}); download the file again"
        ) from error
    if segments.shape != (num_vertices,):
        raise ValueError(
            f"{path}: segIndices has shape {segments.shape}, but the mesh has {num_vertices} "
            "vertices; segments and mesh must be of the same scene and release: download both "
            "again"
        )
    return segments


def check_segments(
    groups: list[SegmentGroup], segments: NDArray[np.int64], aggregation: Path, of: Path
) -> None:
    """Refuse groups with segments that no vertex has: the two files do not belong together."""
    named = np.unique(np.array([s for group in groups for s in group.segments], dtype=np.int64))
    unknown = np.setdiff1d(named, segments)
    if len(unknown):
        raise ValueError(
            f"{aggregation}: {len(unknown)} of its {len(named)} segments (first: {unknown[0]}) are "
            f"not in {of}: they are not of the same scene and release; download both again"
        )


def annotate(
    groups: list[SegmentGroup], segments: NDArray[np.int64], values: list[int]
) -> NDArray[np.int32]:
    """``values[g]`` on every vertex of group g, 0 elsewhere; int32 [P]. All segments of the groups
    must be there (:func:`check_segments`).

    Where a segment is in several groups the last one counts, as in ScanNet's own exporter.
    """
    ids, vertex_to_id = np.unique(segments, return_inverse=True)
    per_id = np.zeros(len(ids), dtype=np.int32)
    for group, value in zip(groups, values, strict=True):
        per_id[np.searchsorted(ids, np.array(group.segments, dtype=np.int64))] = value
    return per_id[vertex_to_id]


class CategoryTable:
    """Raw categories -> ids of a column; unknown ones become 0, with one warning each."""

    def __init__(self, path: Path, column: str) -> None:
        self.path = path
        self._ids = read_categories(path, column)
        self._warned: set[str] = set()

    def __call__(self, category: str) -> int:
        if category not in self._ids and category not in self._warned:
            self._warned.add(category)
            logger.warning("%s: unknown category %r: its points are ignored", self.path, category)
        return self._ids.get(category, 0)
