"""Rows reduced by the bin that an index names.

Contract
--------
* ``"sum"``, ``"mean"``, ``"max"`` or ``"min"`` of ``src[p]`` over the rows p with ``index[p] ==
  bin``.
* An empty bin is zero, for every reduction, and passes no gradient on.
* Rows of a bin are taken in order, those of a long bin in chunks of some hundred that are joined in
  order. Ties of max and min go to the lowest row, and so does the gradient. A NaN wins, the first
  one of several.
* float32 and float64 compute in their own precision; float16 and bfloat16 are storage: sums are
  float32 and are rounded once, at the end.
* Differentiable once in src.
* Deterministic, forward and backward: the same bits for any number of threads, and no atomics:
  rows are sorted by bin first.
* No rows give zeros.
* An index outside the bins is an error on the CPU. On CUDA, where finding out would wait for the
  device, such a row is left out, and its gradient is zero.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from pointseg import _native
from pointseg.ops._arguments import check_choice
from pointseg.ops._common import check_feats, native, register

ScatterReduction = Literal["sum", "mean", "max", "min"]

_MODES = {"sum": 0, "mean": 1, "max": 2, "min": 3}


def scatter_reduce(
    src: Tensor, index: Tensor, num_out: int, reduce: ScatterReduction = "sum"
) -> Tensor:
    """Reduce the rows of `src` into bins.

    Args:
        src: [P, C].
        index: int64 [P], the bin of each row, 0 to num_out - 1; not checked on CUDA.
        num_out: number of bins.
        reduce: ``"sum"``, ``"mean"``, ``"max"`` or ``"min"``.

    Returns:
        [num_out, C], dtype of `src`.
    """
    check_feats("src", src)
    check_choice("reduce", reduce, _MODES)
    _check_index(index, src, num_out)
    out, _ = native("scatter_reduce")(src.contiguous(), index.contiguous(), num_out, _MODES[reduce])
    result: Tensor = out
    return result


def _check_index(index: Tensor, src: Tensor, num_out: int) -> None:
    if num_out < 0:
        raise ValueError(f"num_out: expected a count, got {num_out}")
    if index.dtype != torch.int64:
        raise TypeError(f"index: expected int64, got {index.dtype}")
    if index.shape != src.shape[:1]:
        raise ValueError(f"index: expected shape [{src.shape[0]}], got {list(index.shape)}")
    if index.device != src.device:
        raise ValueError(f"index: expected device {src.device} like src, got {index.device}")
    # A graph under compilation cannot branch on values, and on CUDA that would wait for the device:
    # there the kernel deals with them.
    if (
        torch.compiler.is_compiling()
        or index.numel() == 0
        or _native.uses_cuda_kernels(index.device)
    ):
        return
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= num_out:
        raise ValueError(f"index: expected bins 0 to {num_out - 1}, got {low} to {high}")


def scatter_reduce_reference(
    src: Tensor, index: Tensor, num_out: int, reduce: ScatterReduction = "sum"
) -> Tensor:
    """The same with torch's `index_add`, and bin by bin for max and min."""
    if reduce in ("sum", "mean"):
        total = src.new_zeros(num_out, src.shape[1]).index_add(0, index, src)
        if reduce == "sum":
            return total
        return total / torch.bincount(index, minlength=num_out).clamp(min=1)[:, None].to(src.dtype)
    rows = []
    for target in range(num_out):
        inside = src[index == target]
        if inside.shape[0] == 0:
            rows.append(src.new_zeros(src.shape[1]))
        else:
            rows.append(inside.max(dim=0).values if reduce == "max" else inside.min(dim=0).values)
    return torch.stack(rows) if rows else src.new_zeros(0, src.shape[1])


def _is_extreme(mode: int) -> bool:
    return mode in (_MODES["max"], _MODES["min"])


def _forward_fake(src: Tensor, index: Tensor, num_out: int, mode: int) -> tuple[Tensor, Tensor]:
    out = src.new_empty(num_out, src.shape[1])
    saved = (num_out, src.shape[1]) if _is_extreme(mode) else (num_out,)
    return out, index.new_empty(saved)


def _backward_fake(grad_out: Tensor, index: Tensor, saved: Tensor, mode: int) -> Tensor:
    return grad_out.new_empty(index.shape[0], grad_out.shape[1])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, index, _, mode = inputs
    ctx.mode = mode
    ctx.save_for_backward(index, output[1])


def _backward(ctx: Any, grad_out: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    index, saved = ctx.saved_tensors
    grad_src = torch.ops.pointseg.scatter_reduce_backward(
        grad_out.contiguous(), index, saved, ctx.mode
    )
    return grad_src, None, None, None


register("scatter_reduce", _forward_fake, _backward, _setup_context)
register("scatter_reduce_backward", _backward_fake)
