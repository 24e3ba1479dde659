"""The rows around every output voxel, side by side.

Contract
--------
* ``out[o, k] = feats[i]`` for the pair (i, o) of tap k, zeros where tap k has no voxel. A copy:
  no rounding in any dtype.
* Differentiable in feats: the gradient of row i sums the slots it was copied to, in tap order,
  float16 and bfloat16 in float32 and rounded once.
* Deterministic, forward and backward: the same bits for any number of threads.
* The result holds N_out x K x C numbers, most of them zeros on surfaces: meant for small C, for
  kernels under study and for tests. The other operators never build it.
* No rows in, or no pairs, give zeros; gradients are zeros.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointseg.ops._arguments import swapped_arrays
from pointseg.ops._common import PairMap, check_feats, native, register


def gather_neighbors(feats: Tensor, kmap: PairMap) -> Tensor:
    """Gather the neighbours of every output voxel.

    Args:
        feats: [N_in, C].
        kmap: from the grid of `feats` to the grid of the result.

    Returns:
        [N_out, K, C], dtype of `feats`.
    """
    check_feats("feats", feats, rows=kmap.num_in, device=kmap.segments.device)
    result: Tensor = native("gather_neighbors")(
        feats.contiguous(),
        kmap.in_rows,
        kmap.out_rows,
        kmap.segments,
        kmap.num_out,
        *swapped_arrays(kmap, feats),
    )
    return result


def gather_neighbors_reference(feats: Tensor, kmap: PairMap) -> Tensor:
    """The same, tap by tap."""
    taps = []
    for tap in range(kmap.segments.shape[1]):
        in_rows, out_rows = kmap.pairs(tap)
        column = feats.new_zeros(kmap.num_out, feats.shape[1])
        taps.append(column.index_put((out_rows,), feats[in_rows]))
    return torch.stack(taps, dim=1)


def _forward_fake(
    feats: Tensor,
    in_rows: Tensor,
    out_rows: Tensor,
    segments: Tensor,
    num_out: int,
    swapped_in_rows: Tensor | None,
    swapped_out_rows: Tensor | None,
    swapped_segments: Tensor | None,
) -> Tensor:
    return feats.new_empty(num_out, segments.shape[1], feats.shape[1])


def _backward_fake(
    grad_out: Tensor, in_rows: Tensor, out_rows: Tensor, segments: Tensor, num_in: int
) -> Tensor:
    return grad_out.new_empty(num_in, grad_out.shape[2])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    feats, _, _, _, _, *swapped = inputs
    ctx.num_in = feats.shape[0]
    ctx.save_for_backward(*swapped)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    swapped = ctx.saved_tensors
    if swapped[0] is None:
        raise RuntimeError(
            "gather_neighbors: the gradient of feats needs the swapped map as an input"
        )
    grad_feats = torch.ops.pointseg.gather_neighbors_backward(
        grad_out.contiguous(), *swapped, ctx.num_in
    )
    return (grad_feats, *([None] * 7))


register("gather_neighbors", _forward_fake, _backward, _setup_context)
register("gather_neighbors_backward", _backward_fake)
