"""Features of voxels read at points between them.

Contract
--------
* The features of voxel (b, x, y, z) sit at the point (x, y, z): its lower corner,
  MinkowskiEngine's convention. Where they should sit at centres, pass ``query - stride / 2``.
* ``"trilinear"``: the eight voxels at the corners of the lattice cell around the query, on a grid
  of stride t a cell of edge t, weighted by the product of the distances. A corner without a voxel
  counts as zeros; weights are not rescaled.
* ``"nearest"``: the voxel at the nearest lattice point, halfway between two the upper one; zeros
  where there is no voxel. At ``query - stride / 2`` that is the voxel the point falls into.
* Weights are computed in float64 and rounded to the dtype that sums are held in: that of `feats`,
  float32 for float16 and bfloat16, which are storage and rounded once, at the end.
* Differentiable once in feats, not in query. The gradient of a voxel sums its queries in their
  order.
* Deterministic, forward and backward: the same bits for any number of threads, no atomics.
* No queries or no voxels give zeros.
* A query that is not finite or names no scene is an error on the CPU. On CUDA, where finding out
  would wait for the device, no voxel is near it: the result is zero.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from pointseg import _native
from pointseg.ops._arguments import check_choice
from pointseg.ops._common import check_feats, native, register
from pointseg.ops.voxelize import MAX_COORD, voxel_keys

InterpolationMode = Literal["trilinear", "nearest"]

_CORNERS = {"trilinear": 8, "nearest": 1}


class SearchGrid(Protocol):
    """What interpolation reads of a grid, see :class:`pointseg.sparse.VoxelGrid`."""

    @property
    def num_voxels(self) -> int: ...
    @property
    def order(self) -> Tensor: ...

    coords: Tensor
    sorted_keys: Tensor
    stride: int
    num_scenes: int


def interpolate(
    feats: Tensor, grid: SearchGrid, query: Tensor, mode: InterpolationMode = "trilinear"
) -> Tensor:
    """Read voxel features at arbitrary points.

    Args:
        feats: [N, C].
        grid: the voxels of the rows.
        query: float32 or float64 [Q, 4] (batch, x, y, z) in units of the finest voxel, finite; not
            checked on CUDA.
        mode: ``"trilinear"`` or ``"nearest"``.

    Returns:
        [Q, C], dtype of `feats`.
    """
    check_feats("feats", feats, rows=grid.num_voxels, device=grid.coords.device)
    check_choice("mode", mode, _CORNERS)
    _check_query(query, feats, grid.num_scenes)
    compute = torch.float64 if feats.dtype == torch.float64 else torch.float32
    rows, weights = native("interpolate_corners")(
        (query.double() if compute == torch.float64 else query).contiguous(),
        grid.sorted_keys,
        grid.order,
        grid.stride,
        _CORNERS[mode],
    )
    result: Tensor = native("interpolate")(feats.contiguous(), rows, weights.to(compute))
    return result


def _check_query(query: Tensor, feats: Tensor, num_scenes: int) -> None:
    if query.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"query: expected float32 or float64, got {query.dtype}")
    if query.dim() != 2 or query.shape[1] != 4:
        raise ValueError(f"query: expected shape [Q, 4] (batch, x, y, z), got {list(query.shape)}")
    if query.device != feats.device:
        raise ValueError(f"query: expected device {feats.device} like feats, got {query.device}")
    if query.requires_grad:
        raise ValueError(
            "query: there is no gradient with respect to positions; pass query.detach()"
        )
    # A graph under compilation cannot branch on values, and on CUDA that would wait for the device:
    # there the kernel finds no voxel.
    if (
        torch.compiler.is_compiling()
        or query.shape[0] == 0
        or _native.uses_cuda_kernels(query.device)
    ):
        return
    if not bool(torch.isfinite(query).all()):
        bad = int((~torch.isfinite(query)).any(dim=1).nonzero()[0])
        raise ValueError(f"query: expected finite numbers, got {query[bad].tolist()} at row {bad}")
    batch = query[:, 0]
    wrong = (batch != batch.floor()) | (batch < 0) | (batch >= max(num_scenes, 1))
    if bool(wrong.any()):
        bad = int(wrong.nonzero()[0])
        raise ValueError(
            f"query: expected batch 0 to {num_scenes - 1} in column 0, got {batch[bad].item():g} "
            f"at row {bad}"
        )


def interpolate_reference(
    feats: Tensor, grid: SearchGrid, query: Tensor, mode: InterpolationMode = "trilinear"
) -> Tensor:
    """The same, corner by corner."""
    cell = query[:, 1:].double() / grid.stride + (0.5 if mode == "nearest" else 0.0)
    low = cell.floor()
    part = (cell - low).to(query.dtype)
    out = feats.new_zeros(query.shape[0], feats.shape[1])
    for corner in product((0, 1), repeat=3) if mode == "trilinear" else [(0, 0, 0)]:
        up = torch.tensor(corner, device=query.device)
        position = torch.cat([query[:, :1].double(), (low + up) * grid.stride], dim=1)
        rows = _find_rows(grid, position)
        weight = torch.where(up == 1, part, 1 - part).prod(dim=1) if mode == "trilinear" else 1.0
        found = torch.where(rows >= 0, weight, 0.0).to(feats.dtype)
        if feats.shape[0] > 0:
            out = out + found[:, None] * feats[rows.clamp(min=0)]
    return out


def _find_rows(grid: SearchGrid, position: Tensor) -> Tensor:
    """Row of the voxel at integral positions [Q, 4], or -1."""
    inside = (position[:, 1:].abs() <= MAX_COORD).all(dim=1)
    keys = voxel_keys(torch.where(inside[:, None], position, 0.0).int())
    if grid.num_voxels == 0:
        return torch.full_like(keys, -1)
    place = torch.searchsorted(grid.sorted_keys, keys).clamp(max=grid.num_voxels - 1)
    found = inside & (grid.sorted_keys[place] == keys)
    return torch.where(found, grid.order[place].long(), -1)


def _corners_fake(
    query: Tensor, sorted_keys: Tensor, order: Tensor | None, stride: int, corners: int
) -> tuple[Tensor, Tensor]:
    rows = query.new_empty(query.shape[0], corners, dtype=torch.int32)
    return rows, query.new_empty(query.shape[0], corners)


def _forward_fake(feats: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    return feats.new_empty(rows.shape[0], feats.shape[1])


def _backward_fake(grad_out: Tensor, rows: Tensor, weights: Tensor, num_in: int) -> Tensor:
    return grad_out.new_empty(num_in, grad_out.shape[1])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    feats, rows, weights = inputs
    ctx.num_in = feats.shape[0]
    ctx.save_for_backward(rows, weights)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    rows, weights = ctx.saved_tensors
    grad_feats = torch.ops.pointseg.interpolate_backward(
        grad_out.contiguous(), rows, weights, ctx.num_in
    )
    return grad_feats, None, None


register("interpolate_corners", _corners_fake)
register("interpolate", _forward_fake, _backward, _setup_context)
register("interpolate_backward", _backward_fake)
