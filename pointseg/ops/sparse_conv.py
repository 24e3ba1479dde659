"""Sparse convolution and its transpose.

Contract
--------
* ``out[o] = bias + sum over taps k, in order, of sum over pairs (i, o) of tap k of feats[i] @
  weight[k]``. An output voxel without neighbours is `bias`, or zero.
* float32 and float64 compute in their own precision; float16 and bfloat16 are storage: products
  and sums are float32 and are rounded once, at the end. Beside bfloat16 features float32 weights
  are rounded to bfloat16 first. Processors with products of bfloat16 (AVX512_BF16) use them, which
  takes numbers below 1.2e-38 for zero.
* On CUDA, float32 is multiplied with 11 significant bits by tensor cores where
  ``torch.backends.cuda.matmul.allow_tf32`` is set. `conv_choice` says which algorithm runs; a fused
  one multiplies the neighbours that a row lacks as zeros, so that weights which are not finite may
  give NaN there, too.
* Differentiable once in feats, weight and bias. The gradient of `feats` is the convolution over the
  swapped map with the transposed weights; that of `weight` sums over pairs in map order.
* Deterministic, forward and backward: the same bits for any number of threads.
* Memory beyond inputs and outputs: the packed weights, and for their gradient up to 16 partial sums
  of it, at most a quarter of what the rows take. Never a buffer of pairs x channels; on CUDA, by
  tap, one of a bounded number of pairs, and with split taps float32 sums of every range.
* No rows in, or no pairs, give the bias, or zeros; gradients are zeros.
* `sparse_conv_fused` starts the sum from ``bias + residual[o]`` and ends it with a ReLU, as
  inference with folded batch norm needs it. It has no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pointseg import _native
from pointseg.ops import conv_choice
from pointseg.ops._arguments import check_parameter
from pointseg.ops._common import PairMap, autocast, check_feats, native, register


def sparse_conv(feats: Tensor, weight: Tensor, kmap: PairMap, bias: Tensor | None = None) -> Tensor:
    """Convolve rows over a kernel map.

    Args:
        feats: [N_in, C_in].
        weight: [K, C_in, C_out], taps in the order of ``KernelSpec.offsets``; dtype of `feats`, or
            float32 beside 16-bit features.
        kmap: from the grid of `feats` to the grid of the result.
        bias: [C_out] or None.

    Returns:
        [N_out, C_out], dtype of `feats`, or of autocast where it is on.
    """
    feats = _check(feats, weight, kmap, bias)
    algorithm = _algorithm(feats, weight.shape)
    swapped = []
    if feats.requires_grad and torch.is_grad_enabled():
        turned = weight.transpose(1, 2).shape
        swapped = map_arrays(kmap.transposed(), _algorithm(feats, turned))
    result: Tensor = native("sparse_conv")(
        feats.contiguous(),
        weight,
        None if bias is None else bias.contiguous(),
        map_arrays(kmap, algorithm),
        kmap.num_out,
        swapped,
        algorithm,
    )
    return result


def sparse_conv_fused(
    feats: Tensor,
    weight: Tensor,
    kmap: PairMap,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """``relu(conv(feats) + bias + residual)`` in one pass, for inference.

    Args:
        feats, weight, kmap, bias: as of :func:`sparse_conv`.
        residual: [N_out, C_out], dtype of `feats`, or any where autocast is on; or None.
        relu: whether negative sums become 0.

    Returns:
        [N_out, C_out], dtype of `feats`, or of autocast where it is on.

    Raises:
        RuntimeError: gradients are on and an argument wants one.
    """
    feats = _check(feats, weight, kmap, bias)
    arguments = [x for x in (feats, weight, bias, residual) if x is not None]
    if torch.is_grad_enabled() and any(x.requires_grad for x in arguments):
        raise RuntimeError(
            "sparse_conv_fused has no gradient: use sparse_conv, or torch.no_grad() for inference"
        )
    if residual is not None:
        residual = autocast(residual)
        expected = (kmap.num_out, weight.shape[2])
        if tuple(residual.shape) != expected:
            raise ValueError(f"residual: expected {list(expected)}, got {list(residual.shape)}")
        if residual.dtype != feats.dtype:
            raise TypeError(f"residual: expected {feats.dtype} like feats, got {residual.dtype}")
        residual = residual.contiguous()
    algorithm = _algorithm(feats, weight.shape)
    result: Tensor = native("sparse_conv_fused")(
        feats.contiguous(),
        weight,
        None if bias is None else bias.contiguous(),
        residual,
        relu,
        map_arrays(kmap, algorithm),
        kmap.num_out,
        algorithm,
    )
    return result


def map_arrays(kmap: PairMap, algorithm: int = conv_choice.BY_TAP) -> list[Tensor]:
    """A map as the kernels of its device read it.

    The CPU reads pair lists. CUDA reads beside them, by tap, the number of pairs of every tap,
    which stays in host memory so that all sizes are known without waiting for the device; fused,
    row lists; and with split taps an order of the rows for each range.
    """
    arrays = [kmap.in_rows, kmap.out_rows, kmap.segments]
    if _native.uses_cuda_kernels(kmap.segments.device):
        arrays.append(kmap.tap_pairs())
        if algorithm >= conv_choice.FUSED:
            arrays += kmap.row_lists()
        if algorithm > conv_choice.FUSED:
            arrays.append(kmap.mask_order(algorithm))
    return arrays


def _algorithm(feats: Tensor, size: Sequence[int], direction: str = "forward") -> int:
    """The algorithm for weights of `size`, [K, C_in, C_out]."""
    if not _native.uses_cuda_kernels(feats.device):
        return conv_choice.BY_TAP  # the only one of the CPU
    num_taps, c_in, c_out = size
    return conv_choice.choose(feats.dtype, num_taps, c_in, c_out, direction)


def _algorithm_of(arrays: list[Tensor]) -> int:
    """What `map_arrays` was asked for: the reverse map of a gradient was made when the choice was,
    which by now might be another one.
    """
    if len(arrays) <= 4:
        return conv_choice.BY_TAP
    return conv_choice.FUSED if len(arrays) == 7 else int(arrays[7].shape[0])


def _check(feats: Tensor, weight: Tensor, kmap: PairMap, bias: Tensor | None) -> Tensor:
    """The features in the dtype to compute in."""
    check_feats("feats", feats, rows=kmap.num_in, device=kmap.segments.device)
    num_taps = kmap.segments.shape[1]
    expected = (num_taps, feats.shape[1])
    if weight.dim() != 3 or tuple(weight.shape[:2]) != expected:
        raise ValueError(
            f"weight: expected [K, C_in, C_out] = [{expected[0]}, {expected[1]}, C_out], "
            f"got {list(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[2:]:
        raise ValueError(f"bias: expected [{weight.shape[2]}], got {list(bias.shape)}")
    feats = autocast(feats)
    check_parameter("weight", weight, feats)
    if bias is not None:
        check_parameter("bias", bias, feats)
    return feats


def sparse_conv_transpose(
    feats: Tensor, weight: Tensor, kmap: PairMap, bias: Tensor | None = None
) -> Tensor:
    """Transposed convolution, from the coarse grid back to the fine one.

    Args:
        feats: [N_coarse, C_in].
        weight: [K, C_in, C_out]; tap k takes coarse voxel c to ``c + offset_k`` on the fine grid.
        kmap: the map of the strided convolution from the fine grid to the coarse one.
        bias: [C_out] or None.

    Returns:
        [N_fine, C_out].
    """
    return sparse_conv(feats, weight, kmap.transposed(), bias)


def sparse_conv_reference(
    feats: Tensor, weight: Tensor, kmap: PairMap, bias: Tensor | None = None
) -> Tensor:
    """The same sum, tap by tap: gather, multiply, add."""
    out = feats.new_zeros(kmap.num_out, weight.shape[2])
    for tap in range(weight.shape[0]):
        in_rows, out_rows = kmap.pairs(tap)
        out = out.index_add(0, out_rows, feats[in_rows] @ weight[tap])
    return out if bias is None else out + bias


def sparse_conv_fused_reference(
    feats: Tensor,
    weight: Tensor,
    kmap: PairMap,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """The same one after the other."""
    out = sparse_conv_reference(feats, weight, kmap, bias)
    out = out if residual is None else out + residual
    return torch.relu(out) if relu else out


def _forward_fake(
    feats: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    map: list[Tensor],
    num_out: int,
    swapped: list[Tensor],
    algorithm: int,
) -> Tensor:
    return feats.new_empty(num_out, weight.shape[2])


def _fused_fake(
    feats: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    relu: bool,
    map: list[Tensor],
    num_out: int,
    algorithm: int,
) -> Tensor:
    return feats.new_empty(num_out, weight.shape[2])


def _weight_grad_fake(feats: Tensor, grad_out: Tensor, map: list[Tensor], algorithm: int) -> Tensor:
    dtype = torch.float64 if feats.dtype == torch.float64 else torch.float32
    num_taps = map[2].shape[1]
    return feats.new_empty(num_taps, feats.shape[1], grad_out.shape[1], dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    feats, weight, bias, arrays, _, swapped, _ = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.num_arrays = len(arrays)
    ctx.save_for_backward(feats, weight, *arrays, *swapped)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Any, ...]:
    feats, weight, *saved = ctx.saved_tensors
    arrays, swapped = saved[: ctx.num_arrays], saved[ctx.num_arrays :]
    grad_out = grad_out.contiguous()
    grad_feats = grad_weight = grad_bias = None
    if ctx.needs_input_grad[0]:
        if not swapped:
            raise RuntimeError(
                "sparse_conv: the gradient of feats needs the swapped map as an input"
            )
        grad_feats = torch.ops.pointseg.sparse_conv(
            grad_out,
            weight.transpose(1, 2),
            None,
            swapped,
            feats.shape[0],
            [],
            _algorithm_of(swapped),
        )
    if ctx.needs_input_grad[1]:
        grad_weight = torch.ops.pointseg.sparse_conv_weight_grad(
            feats, grad_out, arrays, _algorithm(feats, weight.shape, "weight_grad")
        ).to(weight.dtype)
    if ctx.needs_input_grad[2]:
        grad_bias = grad_out.sum(0, dtype=ctx.bias_dtype)
    return (
        grad_feats,
        grad_weight,
        grad_bias,
        [None] * len(arrays),
        None,
        [None] * len(swapped),
        None,
    )


register("sparse_conv", _forward_fake, _backward, _setup_context)
register("sparse_conv_fused", _fused_fake)
register("sparse_conv_weight_grad", _weight_grad_fake)
