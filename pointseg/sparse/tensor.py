"""Features on a voxel grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointseg.sparse.grid import VoxelGrid


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """One feature row per voxel.

    Attributes:
        feats: [N, C].
        grid: N voxels; shared by every tensor on them, with the kernel maps found so far.
    """

    feats: Tensor
    grid: VoxelGrid

    def __post_init__(self) -> None:
        if self.feats.dim() != 2 or self.feats.shape[0] != self.grid.num_voxels:
            raise ValueError(
                f"feats: expected [{self.grid.num_voxels}, C], one row per voxel, "
                f"got {list(self.feats.shape)}"
            )

    @property
    def num_voxels(self) -> int:
        """N."""
        return self.grid.num_voxels

    @property
    def num_channels(self) -> int:
        """C."""
        return int(self.feats.shape[1])

    def replace(self, feats: Tensor) -> SparseTensor:
        """Other features on the same grid."""
        return SparseTensor(feats, self.grid)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SparseTensor:
        """Copy features and grid to a device."""
        feats = self.feats.to(device, non_blocking=non_blocking)
        return SparseTensor(feats, self.grid.to(device, non_blocking))

    def pin_memory(self) -> SparseTensor:
        """Copy to memory that a GPU reads by itself."""
        return SparseTensor(self.feats.pin_memory(), self.grid.pin_memory())
