"""Scenes: files -> PointCloud -> transforms -> voxels -> batches; datasets by name."""

from __future__ import annotations

from pointseg.data.batch import SegBatch, collate
from pointseg.data.cache import SceneCache
from pointseg.data.catalog import ALL, DatasetSpec, SceneReader
from pointseg.data.clouds import check_units, read_cloud
from pointseg.data.dataset import SceneDataset
from pointseg.data.labels import IGNORE_INDEX, NYU40, SCANNET20, LabelMap
from pointseg.data.prepare import PrepareReport, prepare
from pointseg.data.prepared import PreparedReader
from pointseg.data.registry import (
    DATASETS,
    Scenes,
    find_spec,
    open_dataset,
    open_reader,
    present_scenes,
    resolve_root,
    split_lists,
)
from pointseg.data.scannet import ScanNetReader, ScanNetSettings
from pointseg.data.transforms import (
    TRANSFORMS,
    MixingTransform,
    SceneTransform,
    Transform,
    build_transform,
    build_transforms,
)
from pointseg.data.types import BrokenScene, PointCloud, SceneSource, VoxelScene
from pointseg.data.voxelization import (
    FEATURES,
    MissingFeatureError,
    num_channels,
    voxelize_cloud,
)

__all__ = [
    "ALL",
    "DATASETS",
    "FEATURES",
    "IGNORE_INDEX",
    "NYU40",
    "SCANNET20",
    "TRANSFORMS",
    "BrokenScene",
    "DatasetSpec",
    "LabelMap",
    "MissingFeatureError",
    "MixingTransform",
    "PointCloud",
    "PrepareReport",
    "PreparedReader",
    "ScanNetReader",
    "ScanNetSettings",
    "SceneCache",
    "SceneDataset",
    "SceneReader",
    "SceneSource",
    "SceneTransform",
    "Scenes",
    "SegBatch",
    "Transform",
    "VoxelScene",
    "build_transform",
    "build_transforms",
    "check_units",
    "collate",
    "find_spec",
    "num_channels",
    "open_dataset",
    "open_reader",
    "prepare",
    "present_scenes",
    "read_cloud",
    "resolve_root",
    "split_lists",
    "voxelize_cloud",
]
