"""Scenes joined for a model: ``SegBatch`` and ``collate``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pointseg.data.types import VoxelScene
from pointseg.sparse import SparseTensor, VoxelGrid


@dataclass(frozen=True, eq=False)
class SegBatch:
    """B scenes side by side; points and voxels of a scene are contiguous, scenes in list order.

    voxels          SparseTensor over all N voxels, batch column 0..B-1
    voxel_labels    int64 [N]
    point_to_voxel  int64 [P], rows of ``voxels`` (over the whole batch)
    point_labels    int64 [P], or None where any scene has no annotation
    point_counts    points of each scene; they sum to P
    """

    voxels: SparseTensor
    voxel_labels: Tensor
    point_to_voxel: Tensor
    point_labels: Tensor | None
    point_counts: tuple[int, ...]
    scene_ids: tuple[str, ...]

    @property
    def num_scenes(self) -> int:
        return len(self.scene_ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SegBatch:
        """Copy to a device; ``non_blocking`` from pinned memory returns before it is done."""
        return self._mapped(
            self.voxels.to(device, non_blocking), lambda t: t.to(device, non_blocking=non_blocking)
        )

    def pin_memory(self) -> SegBatch:
        """Copy to memory that a GPU reads by itself; loaders ask for it by this name."""
        return self._mapped(self.voxels.pin_memory(), Tensor.pin_memory)

    def _mapped(self, voxels: SparseTensor, function: Callable[[Tensor], Tensor]) -> SegBatch:
        return dataclasses.replace(
            self,
            voxels=voxels,
            voxel_labels=function(self.voxel_labels),
            point_to_voxel=function(self.point_to_voxel),
            point_labels=None if self.point_labels is None else function(self.point_labels),
        )


def collate(scenes: Sequence[VoxelScene]) -> SegBatch:
    """Join voxelized scenes into one batch. ValueError for an empty list or differing channels."""
    if not scenes:
        raise ValueError("collate needs at least one scene, got none")
    channels = {scene.scene_id: scene.feats.shape[1] for scene in scenes}
    if len(set(channels.values())) > 1:
        raise ValueError(f"scenes of one batch must have equal feature channels, got {channels}")
    sizes = [len(scene.coords) for scene in scenes]
    batch = torch.arange(len(sizes), dtype=torch.int32).repeat_interleave(torch.tensor(sizes))
    coords = torch.cat([batch[:, None], torch.cat([scene.coords for scene in scenes])], dim=1)
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    rows = [s.point_to_voxel + start for s, start in zip(scenes, starts, strict=True)]
    labels = [scene.point_labels for scene in scenes if scene.point_labels is not None]
    grid = VoxelGrid(coords, num_scenes=len(scenes))
    return SegBatch(
        voxels=SparseTensor(torch.cat([scene.feats for scene in scenes]), grid),
        voxel_labels=torch.cat([scene.voxel_labels for scene in scenes]),
        point_to_voxel=torch.cat(rows),
        point_labels=torch.cat(labels) if len(labels) == len(scenes) else None,
        point_counts=tuple(len(scene.point_to_voxel) for scene in scenes),
        scene_ids=tuple(scene.scene_id for scene in scenes),
    )
