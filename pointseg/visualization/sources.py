"""Scenes, predictions and arrays to draw, from where they lie on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pointseg.data import (
    LabelMap,
    PointCloud,
    find_spec,
    open_dataset,
    open_reader,
)
from pointseg.evaluation.choice_files import choices_path, read_choices
from pointseg.evaluation.choices import StageChoice, check_rows


def scenes_of_dataset(
    dataset: str, root: Path | None, split: str, scene_ids: Sequence[str]
) -> tuple[tuple[str, ...], Iterator[PointCloud], LabelMap]:
    """Ids, clouds (read one at a time) and label map of some scenes, or of a whole split.

    Named scenes are read as they are, raw or prepared, without preparing anything; a whole split
    is opened as for training. Raises FileNotFoundError naming a scene that is not there.
    """
    if not scene_ids:
        source = open_dataset(dataset, root, split)
        clouds = (source[index] for index in range(len(source)))
        return tuple(source.scene_ids), clouds, source.label_map
    reader = open_reader(dataset, root)
    for scene_id in scene_ids:
        if not reader.has(scene_id):
            raise FileNotFoundError(f"{reader.root}: no scene {scene_id!r} in it")
    clouds = (reader.read_scene(scene_id) for scene_id in scene_ids)
    return tuple(scene_ids), clouds, find_spec(dataset).label_map


def predictions_path(folder: Path, scene_id: str) -> Path:
    """``<scene>.npy`` or else ``<scene>.txt`` of a folder; FileNotFoundError without either."""
    for suffix in (".npy", ".txt"):
        path = folder / f"{scene_id}{suffix}"
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder}: no labels of {scene_id} ({scene_id}.npy or {scene_id}.txt); "
        "`pointseg export-preds` writes them"
    )


def choices_of(folder: Path, cloud: PointCloud) -> dict[str, StageChoice]:
    """What the stages of a model chose in a scene, where ``folder`` has its file of choices.

    ValueError naming a file that is broken or belongs to other points.
    """
    path = choices_path(folder, cloud.scene_id)
    if not path.is_file():
        return {}
    choices = read_choices(path)
    try:
        check_rows(choices, cloud.num_points)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return choices


def read_predictions(path: Path, label_map: LabelMap) -> np.ndarray:
    """int16 [P] train ids from npy (train ids) or txt (raw ids, one per line)."""
    if path.suffix == ".npy":
        values = read_array(path)
        if values.dtype.kind not in "iu" or values.ndim != 1:
            raise ValueError(
                f"{path}: expected integer train ids [P], got {values.dtype} {list(values.shape)}"
            )
        # Before the width shrinks: 65536 is no class, and must not become class 0.
        is_class = (values >= 0) & (values < label_map.num_classes)
        return np.where(is_class, values, -1).astype(np.int16)
    try:
        raw_ids = np.array(path.read_text(encoding="ascii").split(), dtype=np.int64)
    except ValueError as error:
        raise ValueError(f"{path}: expected one integer label per line ({error})") from error
    return label_map.from_raw(raw_ids)


def read_array(path: Path) -> np.ndarray:
    """The array of an npy file; pickled objects are refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path}: not a readable npy array ({error})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(
            f"{path}: holds several arrays (npz); save the one to draw with numpy.save"
        )
    return array
