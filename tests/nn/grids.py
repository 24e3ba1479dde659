"""Small random scenes for tests of modules and models."""

from __future__ import annotations

import torch

from pointseg.sparse import SparseTensor, VoxelGrid


def random_coords(num_voxels: int, extent: int = 12, num_scenes: int = 2, seed: int = 0):
    """Unique int32 rows (batch, x, y, z), negative ones included, in random order."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(-extent, extent, (8 * num_voxels, 3), generator=generator)
    batch = torch.randint(0, num_scenes, (8 * num_voxels, 1), generator=generator)
    coords = torch.unique(torch.cat((batch, draws), dim=1), dim=0)
    coords = coords[torch.randperm(len(coords), generator=generator)[:num_voxels]]
    assert len(coords) == num_voxels
    return coords.to(torch.int32)


def random_tensor(
    num_voxels: int,
    num_channels: int,
    extent: int = 12,
    num_scenes: int = 2,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> SparseTensor:
    """Random features on a random grid."""
    coords = random_coords(num_voxels, extent, num_scenes, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    feats = torch.randn(num_voxels, num_channels, generator=generator, dtype=dtype)
    return SparseTensor(feats, VoxelGrid(coords, num_scenes=num_scenes))
