"""Scenes: files -> PointCloud -> transforms -> voxels -> batches; datasets by name."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Protocol

from pointseg.data.batch import SegBatch, collate
from pointseg.data.cache import SceneCache
from pointseg.data.clouds import check_units, read_cloud
from pointseg.data.dataset import SceneDataset
from pointseg.data.labels import IGNORE_INDEX, NYU40, SCANNET20, LabelMap
from pointseg.data.prepare import PrepareReport, prepare
from pointseg.data.prepared import PreparedScenes, open_scenes, resolve_root
from pointseg.data.scannet import ScanNetReader, ScanNetSettings
from pointseg.data.transforms import (
    TRANSFORMS,
    MixingTransform,
    SceneTransform,
    Transform,
    build_transform,
    build_transforms,
)
from pointseg.data.types import PointCloud, SceneSource, VoxelScene
from pointseg.data.voxelization import (
    FEATURES,
    MissingFeatureError,
    num_channels,
    voxelize_cloud,
)


class DatasetFactory(Protocol):
    """Opens one split of a dataset; ``root`` None means ``$POINTSEG_DATA/<name>``."""

    def __call__(
        self,
        root: Path | str | None,
        split: str,
        *,
        require_all: bool = False,
        workers: int | None = None,
    ) -> SceneSource: ...


DATASETS: dict[str, DatasetFactory] = {
    "scannet": functools.partial(open_scenes, "scannet"),
    # Generated rooms: the same format on disk, read by the same code.
    "synthetic": functools.partial(open_scenes, "synthetic"),
}
"""Datasets by name."""


def open_dataset(
    name: str,
    root: Path | str | None,
    split: str,
    *,
    require_all: bool = False,
    workers: int | None = None,
) -> SceneSource:
    """The scenes of a split of a registered dataset; an unknown name is a ValueError."""
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r} (valid: {', '.join(DATASETS)})")
    return DATASETS[name](root, split, require_all=require_all, workers=workers)


__all__ = [
    "DATASETS",
    "FEATURES",
    "IGNORE_INDEX",
    "NYU40",
    "SCANNET20",
    "TRANSFORMS",
    "DatasetFactory",
    "LabelMap",
    "MissingFeatureError",
    "MixingTransform",
    "PointCloud",
    "PrepareReport",
    "PreparedScenes",
    "ScanNetReader",
    "ScanNetSettings",
    "SceneCache",
    "SceneDataset",
    "SceneSource",
    "SceneTransform",
    "SegBatch",
    "Transform",
    "VoxelScene",
    "build_transform",
    "build_transforms",
    "check_units",
    "collate",
    "num_channels",
    "open_dataset",
    "open_scenes",
    "prepare",
    "read_cloud",
    "resolve_root",
    "voxelize_cloud",
]
