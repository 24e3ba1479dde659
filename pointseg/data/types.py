"""What passes between files, transforms and voxels: ``PointCloud`` and ``VoxelScene``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pointseg.data.labels import LabelMap

_ARRAYS: dict[str, tuple[type[np.generic], int | None]] = {  # name: dtype, columns
    "xyz_m": (np.float32, 3),
    "color": (np.uint8, 3),
    "normal": (np.float32, 3),
    "labels": (np.int16, None),
    "instances": (np.int32, None),
    "context": (np.bool_, None),
}


@dataclass(frozen=True, eq=False)
class PointCloud:
    """One scene as it was measured; every array has P rows.

    xyz_m      float32 [P, 3], metres, z up, relative to ``origin_m``
    color      uint8 [P, 3] RGB, or None
    normal     float32 [P, 3] of unit length (zero where unknown), or None
    labels     int16 [P] train ids, ``IGNORE_INDEX`` where not annotated, or None
    instances  int32 [P], 0 = no instance, or None
    context    bool [P]: points of other scans, which the model sees and nobody asks about: they get
               no prediction and are not scored (such as earlier sweeps of a lidar); or None
    extras     further per-point arrays [P, ...] by name, such as ``intensity``
    origin_m   what was subtracted to keep large coordinates exact in float32

    Arrays may be read-only memory maps. A wrong shape or dtype is a ValueError or TypeError.
    """

    scene_id: str
    xyz_m: NDArray[np.float32]
    color: NDArray[np.uint8] | None = None
    normal: NDArray[np.float32] | None = None
    labels: NDArray[np.int16] | None = None
    instances: NDArray[np.int32] | None = None
    context: NDArray[np.bool_] | None = None
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name, (dtype, columns) in _ARRAYS.items():
            array = getattr(self, name)
            if array is None and name != "xyz_m":
                continue
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                found = getattr(array, "dtype", type(array).__name__)
                raise TypeError(
                    f"{self.scene_id}: {name} must be a numpy array of {np.dtype(dtype)}, got "
                    f"{found}"
                )
            rows = len(self.xyz_m) if self.xyz_m.ndim else 0
            expected = (rows,) if columns is None else (rows, columns)
            if array.shape != expected:
                raise ValueError(
                    f"{self.scene_id}: {name} must have shape {expected}, got {array.shape}"
                )
        for name, array in self.extras.items():
            if array.shape[:1] != (self.num_points,):
                raise ValueError(
                    f"{self.scene_id}: extras[{name!r}] must have {self.num_points} rows, got "
                    f"shape {array.shape}"
                )
        # A plain dict, since a mapping proxy cannot be sent to a worker; copied so that a caller's
        # later changes stay outside.
        object.__setattr__(self, "extras", dict(self.extras))

    @property
    def num_points(self) -> int:
        return len(self.xyz_m)

    def own(self) -> PointCloud:
        """The points of the scene itself, in their order: without ``context``."""
        return self if self.context is None else self.select(~self.context).replace(context=None)

    def replace(self, **changes: Any) -> PointCloud:
        """A copy with the named fields changed; arrays are shared, never copied."""
        return dataclasses.replace(self, **changes)

    def select(self, rows: NDArray[Any]) -> PointCloud:
        """The points at ``rows`` (integer indices or a boolean mask [P]) in that order."""
        rows = np.asarray(rows)
        if rows.dtype == np.bool_:
            if rows.shape != (self.num_points,):
                raise ValueError(
                    f"{self.scene_id}: a mask must have shape ({self.num_points},), got "
                    f"{rows.shape}"
                )
            rows = np.flatnonzero(rows)
        # take() of rows is four times as fast as indexing with them.
        changes = {n: a.take(rows, axis=0) for n in _ARRAYS if (a := getattr(self, n)) is not None}
        extras = {name: array.take(rows, axis=0) for name, array in self.extras.items()}
        return self.replace(extras=extras, **changes)


class SceneSource(Protocol):
    """What a dataset of scenes offers: a sequence of clouds whose ids are known without reading."""

    @property
    def scene_ids(self) -> tuple[str, ...]: ...
    @property
    def label_map(self) -> LabelMap: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> PointCloud: ...


@dataclass(frozen=True, eq=False)
class VoxelScene:
    """One scene after transforms and voxelization, rows sorted by (x, y, z).

    coords          int32 [N, 3], floor(xyz / voxel size)
    feats           float32 [N, C], means over each voxel's points
    voxel_labels    int64 [N], majority of the annotated points, else ``IGNORE_INDEX``
    point_to_voxel  int64 [P], the row of each point's voxel; P: points of the scene itself, without
                    those of other scans (``PointCloud.context``)
    point_labels    int64 [P], or None where the scene has no annotation
    """

    scene_id: str
    coords: Tensor
    feats: Tensor
    voxel_labels: Tensor
    point_to_voxel: Tensor
    point_labels: Tensor | None


@dataclass(frozen=True)
class BrokenScene:
    """A scene whose files cannot be read, and what the reader says of them."""

    scene_id: str
    message: str
