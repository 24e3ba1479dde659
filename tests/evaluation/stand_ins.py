"""Small scenes and models whose right answers can be worked out by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pointseg.data import VoxelScene


def voxel_scene(
    scene_id: str = "scene",
    num_voxels: int = 30,
    num_points: int = 100,
    num_channels: int = 4,
    seed: int = 0,
    extent: tuple[int, int, int] = (12, 10, 6),
    labelled: bool = True,
) -> VoxelScene:
    """Random voxels sorted by (x, y, z), each with a point; labels are random classes or -1."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(int(np.prod(extent)), size=num_voxels, replace=False)
    low = np.array([-5, -3, -1])
    coords = np.stack(np.unravel_index(np.sort(cells), extent), axis=1) + low
    rows = np.concatenate(
        [np.arange(num_voxels), rng.integers(0, num_voxels, num_points - num_voxels)]
    )
    rng.shuffle(rows)
    labels = torch.from_numpy(rng.integers(-1, num_channels, num_points)) if labelled else None
    return VoxelScene(
        scene_id=scene_id,
        coords=torch.from_numpy(coords.astype(np.int32)),
        feats=torch.from_numpy(rng.normal(size=(num_voxels, num_channels)).astype(np.float32)),
        voxel_labels=torch.zeros(num_voxels, dtype=torch.int64),
        point_to_voxel=torch.from_numpy(rows),
        point_labels=labels,
    )


class LargestFeature(nn.Module):
    """Logits are the features: the class of a voxel is its largest channel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(0.9)  # would show if the model were not in eval mode

    def forward(self, x) -> Tensor:
        assert not torch.is_grad_enabled()
        return self.dropout(x.feats * self.scale)


class NeighbourSum(nn.Module):
    """Logits are the features summed over all voxels at most ``reach`` steps away on each axis."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.largest_input = 0
        self.num_passes = 0

    def forward(self, x) -> Tensor:
        coords = x.grid.coords.long()
        self.largest_input = max(self.largest_input, len(coords))
        self.num_passes += 1
        near = ((coords[:, None] - coords[None]).abs() <= self.reach).all(dim=2)
        # float64, so that the order of summation cannot decide between classes
        return near.double() @ x.feats.double()
