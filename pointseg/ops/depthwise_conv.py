"""Depthwise convolution: every channel has its own scalar kernel.

Contract
--------
* ``out[o, c] = sum over taps k of feats[i, c] * weight[k, c]`` for the pair (i, o) of tap k, in the
  order of the map's row lists. An output voxel without neighbours is zero.
* float32 and float64 compute in their own precision; float16 and bfloat16 are storage: products
  and sums are float32 and are rounded once, at the end. Autocast casts `feats` and leaves float32
  weights alone, so their gradient is float32.
* Differentiable once in feats and weight. The gradient of `feats` is the same op over the swapped
  map; that of `weight` sums over slices of the rows, of which sizes say how many, then over slices
  in order.
* Memory beyond inputs and outputs: for the gradient of `weight` up to 32 partial sums of it on the
  CPU, up to 512 on a GPU; the row lists, 8 bytes a pair, stay with the map.
* Deterministic, forward and backward: the same bits for any number of threads.
* No rows in, or no pairs, give zeros; gradients are zeros.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointseg.ops._arguments import check_parameter
from pointseg.ops._common import PairMap, autocast, check_feats, native, register


def depthwise_conv(feats: Tensor, weight: Tensor, kmap: PairMap) -> Tensor:
    """Convolve every channel by itself over a kernel map.

    Args:
        feats: [N_in, C].
        weight: [K, C], taps in the order of ``KernelSpec.offsets``; dtype of `feats`, or float32
            beside 16-bit features.
        kmap: from the grid of `feats` to the grid of the result.

    Returns:
        [N_out, C], dtype of `feats`, or of autocast where it is on.
    """
    check_feats("feats", feats, rows=kmap.num_in, device=kmap.segments.device)
    expected = [kmap.segments.shape[1], feats.shape[1]]
    if list(weight.shape) != expected:
        raise ValueError(f"weight: expected [K, C] = {expected}, got {list(weight.shape)}")
    feats = autocast(feats)
    check_parameter("weight", weight, feats)
    wants_gradient = feats.requires_grad and torch.is_grad_enabled()
    swapped = kmap.transposed().row_lists() if wants_gradient else (None, None, None)
    result: Tensor = native("depthwise_conv")(
        feats.contiguous(), weight.contiguous(), *kmap.row_lists(), *swapped
    )
    return result


def depthwise_conv_reference(feats: Tensor, weight: Tensor, kmap: PairMap) -> Tensor:
    """The same sum, tap by tap: gather, scale, add."""
    out = feats.new_zeros(kmap.num_out, feats.shape[1])
    for tap in range(weight.shape[0]):
        in_rows, out_rows = kmap.pairs(tap)
        out = out.index_add(0, out_rows, feats[in_rows] * weight[tap])
    return out


def _forward_fake(
    feats: Tensor,
    weight: Tensor,
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    swapped_row_starts: Tensor | None,
    swapped_taps: Tensor | None,
    swapped_neighbors: Tensor | None,
) -> Tensor:
    return feats.new_empty(row_starts.shape[0] - 1, feats.shape[1])


def _weight_grad_fake(
    feats: Tensor,
    grad_out: Tensor,
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    num_taps: int,
) -> Tensor:
    dtype = torch.float64 if feats.dtype == torch.float64 else torch.float32
    return feats.new_empty(num_taps, feats.shape[1], dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    feats, weight, *saved = ctx.saved_tensors
    lists, swapped = saved[:3], saved[3:]
    grad_out = grad_out.contiguous()
    grad_feats = grad_weight = None
    if ctx.needs_input_grad[0]:
        if swapped[0] is None:
            raise RuntimeError(
                "depthwise_conv: the gradient of feats needs the lists of the swapped map"
            )
        grad_feats = torch.ops.pointseg.depthwise_conv(grad_out, weight, *swapped, None, None, None)
    if ctx.needs_input_grad[1]:
        grad_weight = torch.ops.pointseg.depthwise_conv_weight_grad(
            feats, grad_out, *lists, weight.shape[0]
        ).to(weight.dtype)
    return (grad_feats, grad_weight, *([None] * 6))


register("depthwise_conv", _forward_fake, _backward, _setup_context)
register("depthwise_conv_weight_grad", _weight_grad_fake)
