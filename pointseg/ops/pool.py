"""Pooling over the voxels around an output voxel, and over whole scenes.

Contract
--------
* ``"sum"`` adds the voxels that are present in tap order, ``"avg"`` divides that by their number,
  ``"max"`` takes the largest channel by channel.
* Ties of max go to the lowest tap, and so does the gradient. A NaN wins, the first one of
  several.
* An output voxel without neighbours is zero and passes no gradient on.
* float32 and float64 compute in their own precision; float16 and bfloat16 are storage: sums are
  float32 and are rounded once, at the end.
* Differentiable once in feats; gradients gather over the swapped map.
* Deterministic, forward and backward: the same bits for any number of threads.
* `global_pool` does the same over all voxels of a scene: sums run in chunks of some hundred rows
  that are joined in order, and ties of max go to the lowest row. A scene without voxels is zero.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from pointseg.ops._arguments import check_choice, swapped_arrays
from pointseg.ops._common import PairMap, check_feats, native, register
from pointseg.ops.scatter_reduce import scatter_reduce, scatter_reduce_reference

PoolReduction = Literal["max", "avg", "sum"]

_MODES = {"sum": 0, "avg": 1, "max": 2}
_SCATTER: dict[str, Literal["sum", "mean", "max"]] = {"sum": "sum", "avg": "mean", "max": "max"}


class SceneGrid(Protocol):
    """What global pooling reads of a grid, see :class:`pointseg.sparse.VoxelGrid`."""

    @property
    def num_voxels(self) -> int: ...

    coords: Tensor
    num_scenes: int


def pool(feats: Tensor, kmap: PairMap, reduce: PoolReduction) -> Tensor:
    """Pool rows over a kernel map.

    Args:
        feats: [N_in, C].
        kmap: from the grid of `feats` to the grid of the result.
        reduce: ``"max"``, ``"avg"`` (over the voxels present) or ``"sum"``.

    Returns:
        [N_out, C], dtype of `feats`.
    """
    check_feats("feats", feats, rows=kmap.num_in, device=kmap.segments.device)
    check_choice("reduce", reduce, _MODES)
    out, _ = native("pool")(
        feats.contiguous(),
        kmap.in_rows,
        kmap.out_rows,
        kmap.segments,
        kmap.num_out,
        _MODES[reduce],
        *swapped_arrays(kmap, feats),
    )
    result: Tensor = out
    return result


def global_pool(feats: Tensor, grid: SceneGrid, reduce: PoolReduction) -> Tensor:
    """Pool all voxels of each scene.

    Args:
        feats: [N, C].
        grid: the voxels of the rows.
        reduce: ``"max"``, ``"avg"`` or ``"sum"``.

    Returns:
        [B, C], one row per scene, dtype of `feats`.
    """
    check_feats("feats", feats, rows=grid.num_voxels, device=grid.coords.device)
    check_choice("reduce", reduce, _SCATTER)
    return scatter_reduce(feats, grid.coords[:, 0].long(), grid.num_scenes, _SCATTER[reduce])


def pool_reference(feats: Tensor, kmap: PairMap, reduce: PoolReduction) -> Tensor:
    """The same, tap by tap."""
    channels = feats.shape[1]
    out = feats.new_zeros(kmap.num_out, channels)
    present = torch.zeros(kmap.num_out, 1, dtype=feats.dtype, device=feats.device)
    for tap in range(kmap.segments.shape[1]):
        in_rows, out_rows = kmap.pairs(tap)
        rows = feats[in_rows]
        if reduce == "max":
            best = out[out_rows]
            take = (present[out_rows] == 0) | (rows > best)
            out = out.index_put((out_rows,), torch.where(take, rows, best))
        else:
            out = out.index_add(0, out_rows, rows)
        present[out_rows] += 1
    return out / present.clamp(min=1) if reduce == "avg" else out


def global_pool_reference(feats: Tensor, grid: SceneGrid, reduce: PoolReduction) -> Tensor:
    """The same, scene by scene."""
    index = grid.coords[:, 0].long()
    return scatter_reduce_reference(feats, index, grid.num_scenes, _SCATTER[reduce])


def _forward_fake(
    feats: Tensor,
    in_rows: Tensor,
    out_rows: Tensor,
    segments: Tensor,
    num_out: int,
    mode: int,
    swapped_in_rows: Tensor | None,
    swapped_out_rows: Tensor | None,
    swapped_segments: Tensor | None,
) -> tuple[Tensor, Tensor]:
    out = feats.new_empty(num_out, feats.shape[1])
    saved = (num_out, feats.shape[1]) if mode == _MODES["max"] else (num_out,)
    return out, feats.new_empty(saved, dtype=torch.int32)


def _backward_fake(
    grad_out: Tensor,
    saved: Tensor,
    in_rows: Tensor,
    out_rows: Tensor,
    segments: Tensor,
    num_in: int,
    mode: int,
) -> Tensor:
    return grad_out.new_empty(num_in, grad_out.shape[1])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    feats, _, _, _, _, mode, *swapped = inputs
    ctx.num_in, ctx.mode = feats.shape[0], mode
    ctx.save_for_backward(output[1], *swapped)


def _backward(ctx: Any, grad_out: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    saved, *swapped = ctx.saved_tensors
    if swapped[0] is None:
        raise RuntimeError("pool: the gradient of feats needs the swapped map as an input")
    grad_feats = torch.ops.pointseg.pool_backward(
        grad_out.contiguous(), saved, *swapped, ctx.num_in, ctx.mode
    )
    return (grad_feats, *([None] * 8))


register("pool", _forward_fake, _backward, _setup_context)
register("pool_backward", _backward_fake)
