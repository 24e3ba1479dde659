"""Between voxels of two strides of one grid: read the coarse ones at the fine, average back.

Points, here, are the voxels of the finest grid: P of them, at the integer positions of their lower
corners, in units of the finest voxel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointseg import ops
from pointseg.sparse import SparseTensor, VoxelGrid, containing_rows


def voxels_to_points(x: SparseTensor, points: VoxelGrid) -> Tensor:
    """Features [P, C] of `x` read at the points, trilinear over the voxels that are there.

    Weights of missing corners are spread over the present ones, so a constant stays constant.
    Every point has at least the voxel it lies in, when `x` lives on a downsampling of `points`.
    """
    if x.grid is points:
        return x.feats
    ones = x.feats.new_ones(x.grid.num_voxels, 1)
    query = points.coords.float()
    read = ops.interpolate(torch.cat((x.feats, ones), dim=1), x.grid, query)
    return read[:, :-1] / read[:, -1:]


def points_to_voxels(feats: Tensor, points: VoxelGrid, coarse: VoxelGrid) -> SparseTensor:
    """Mean of the features [P, C] of the points in each voxel of `coarse`.

    `coarse` must be a downsampling of `points`.
    """
    if coarse is points:
        return SparseTensor(feats, coarse)
    rows = containing_rows(points, coarse)
    return SparseTensor(ops.scatter_reduce(feats, rows, coarse.num_voxels, "mean"), coarse)
