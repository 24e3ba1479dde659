"""Predicted labels of a scene as files: the benchmark's txt, npy, coloured ply.

All three have one entry per point, in the order of the input file. ``txt`` and the ply's ``label``
hold the data set's raw ids (nyu40 ids for ScanNet), ``npy`` holds train ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pointseg.evaluation.submission.encodings import TextLabels
from pointseg.files import refuse_existing, written_whole

if TYPE_CHECKING:
    from pointseg.data import LabelMap, PointCloud

FORMATS = ("txt", "npy", "ply")

_UNLABELLED_RGB = (0, 0, 0)


def label_paths(folder: Path, scene_id: str, formats: Iterable[str]) -> list[Path]:
    """The files that `write_labels` would write."""
    return [Path(folder) / f"{scene_id}.{suffix}" for suffix in _checked(formats)]


def write_labels(
    folder: Path,
    cloud: PointCloud,
    predictions: np.ndarray,
    label_map: LabelMap,
    formats: Iterable[str] = FORMATS,
    overwrite: bool = False,
) -> list[Path]:
    """Write ``<scene>.<format>`` for each of ``formats``; returns the paths.

    Parameters
    ----------
    cloud
        The raw scene; its points and their order go into the ply.
    predictions
        Integer [P] train ids, one per point of ``cloud``; anything else than a class is written as
        "not labelled" (raw id 0, train id -1, black).

    Raises
    ------
    ValueError
        If the number of predictions is not the number of points, or a format is unknown.
    FileExistsError
        If a file is there and ``overwrite`` is not set; nothing is written then.
    """
    predictions = np.asarray(predictions)
    if predictions.shape != (cloud.num_points,):
        raise ValueError(
            f"scene {cloud.scene_id} has {cloud.num_points} points; "
            f"got predictions of shape {predictions.shape}"
        )
    formats = _checked(formats)
    paths = label_paths(folder, cloud.scene_id, formats)
    refuse_existing(paths, overwrite)
    labelled = (predictions >= 0) & (predictions < label_map.num_classes)
    train_ids = np.where(labelled, predictions, -1).astype(np.int16)
    for path, suffix in zip(paths, formats, strict=True):
        with written_whole(path, overwrite) as temporary:
            if suffix == "txt":
                write_txt(temporary, label_map.to_raw(train_ids))
            elif suffix == "npy":
                with temporary.open("wb") as file:
                    np.save(file, train_ids, allow_pickle=False)
            else:
                write_ply(temporary, cloud, train_ids, label_map)
    return paths


def write_txt(path: Path, raw_ids: np.ndarray) -> None:
    """One integer per line, one line per point."""
    path.write_bytes(TextLabels().encode(raw_ids))


def write_ply(path: Path, cloud: PointCloud, train_ids: np.ndarray, label_map: LabelMap) -> None:
    """Binary ply with x, y, z in metres, the class's colour, and ``label`` = raw id."""
    from plyfile import PlyData, PlyElement

    # float32 cannot hold coordinates far from zero, which is why such a cloud has an origin
    coordinate = "<f8" if any(cloud.origin_m) else "<f4"
    properties = [(axis, coordinate) for axis in "xyz"]
    properties += [(channel, "u1") for channel in ("red", "green", "blue")]
    vertices = np.empty(cloud.num_points, dtype=[*properties, ("label", "<u2")])
    for axis, name in enumerate("xyz"):
        vertices[name] = cloud.xyz_m[:, axis] + np.array(cloud.origin_m[axis], dtype=coordinate)
    # one more row, so that -1 (not labelled) indexes the last
    palette = np.vstack([label_map.palette, np.array([_UNLABELLED_RGB])]).astype(np.uint8)
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = palette[train_ids, channel]
    vertices["label"] = label_map.to_raw(train_ids)
    PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(path))


def _checked(formats: Iterable[str]) -> tuple[str, ...]:
    formats = tuple(dict.fromkeys(formats))
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(
            f"formats must be some of {', '.join(FORMATS)}; got {', '.join(unknown) or 'none'}"
        )
    return formats
