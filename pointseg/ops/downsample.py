"""Coarser grids, and the map of a kernel that covers every coarse voxel once.

Contract
--------
* Coordinates are rounded down to multiples of the stride, toward minus infinity, each result once,
  sorted by (batch, x, y, z). ``parents[i]`` is the row of the coarse voxel that sorted fine voxel i
  falls into.
* The map of a cube of size s from stride t to stride s * t needs no search: every fine voxel lies
  at one tap of its parent. Its groups are those of `kernel_map`.
* The result is the same on every device, for any number of threads. No voxels give none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pointseg.ops._common import native, register
from pointseg.ops.kernel_map import num_blocks
from pointseg.ops.voxelize import voxel_keys


class Coarser(NamedTuple):
    """A coarser grid.

    coords: int32 [M, 4]. keys: int64 [M], ascending. parents: int32 [N], for sorted fine voxels.
    """

    coords: Tensor
    keys: Tensor
    parents: Tensor


def downsample(keys: Tensor, stride: int) -> Coarser:
    """Round voxels down.

    Args:
        keys: int64 [N], ascending packed coordinates (``voxel_keys``).
        stride: of the result, in units of the finest voxel, at most 1,024.
    """
    return Coarser(*native("downsample")(keys, stride))


def downsample_map(
    keys: Tensor, coarser: Coarser, fine_stride: int, size: int, order: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs of a cube of `size` taps a side, dilation 1, between a grid and its coarser one.

    Args:
        keys: int64 [N], ascending, of the fine grid of stride `fine_stride`.
        coarser: ``downsample(keys, fine_stride * size)``.
        order: int32 [N], row of each sorted voxel; None where rows are sorted.

    Returns: in_rows int32 [N], out_rows int32 [N], segments int64 [blocks, size ** 3, 2].
    """
    in_rows, out_rows, segments = native("downsample_map")(
        keys, order, coarser.keys, coarser.parents, fine_stride, size
    )
    return in_rows, out_rows, segments


def downsample_reference(coords: Tensor, stride: int) -> Coarser:
    """The same of sorted coordinates [N, 4], with one `torch.unique` over rows."""
    rounded = coords.clone()
    rounded[:, 1:] = torch.div(coords[:, 1:], stride, rounding_mode="floor") * stride
    voxels, parents = torch.unique(rounded, dim=0, return_inverse=True)
    return Coarser(voxels, voxel_keys(voxels), parents.int())


def _downsample_fake(keys: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    voxels = torch.library.get_ctx().new_dynamic_size()
    coords = keys.new_empty(voxels, 4, dtype=torch.int32)
    return coords, keys.new_empty(voxels), keys.new_empty(keys.shape[0], dtype=torch.int32)


def _map_fake(
    keys: Tensor,
    order: Tensor | None,
    coarse_keys: Tensor,
    parents: Tensor,
    fine_stride: int,
    size: int,
) -> tuple[Tensor, Tensor, Tensor]:
    segments = keys.new_empty(num_blocks(coarse_keys.shape[0]), size**3, 2)
    return torch.empty_like(parents), torch.empty_like(parents), segments


register("downsample", _downsample_fake)
register("downsample_map", _map_fake)
