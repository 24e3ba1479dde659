"""Codebook attention: a depthwise convolution whose kernel every voxel and head chooses.

Contract
--------
* ``out[n, c] = sum over entries d, in order, of choice[n, h(c), d] * (sum over taps k of region d,
  in order, of weight[k, c] * v[nbr(n, k), c])``; head h(c) of channel c: heads are contiguous runs
  of C / H channels.
* One pass over the occupied taps of a voxel serves all entries (CodedVTR, CVPR 2022).
* Where ``choice`` is exactly zero for all heads of a voxel, the entry is not read, in the forward
  pass and in the gradients of v and weight: an infinity or NaN behind it then does not reach the
  result. (Where it is zero for some heads, it may be skipped for these.) The gradient of `choice`
  needs the sums of all entries and skips nothing.
* float32 and float64 compute in their own precision; float16 and bfloat16 are storage: sums are
  float32 and are rounded once, at the end.
* Differentiable once in v, choice and weight. v, choice, weight and the map are kept; the rest is
  recomputed, so memory beyond inputs and outputs is of the order N * H * D, never of pairs times
  channels; beside it, the weights once more, and in the backward pass partial sums of their
  gradient: at most 32 times the weights with 8 rows of D * C on the CPU, at most 512 times on a
  GPU. The CPU holds 16-bit inputs in float32 as well, a GPU the weights alone.
* Deterministic, forward and backward: the same bits for any number of threads, no atomics.
* No voxels give an empty result and zero gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointseg.ops._arguments import check_parameter
from pointseg.ops._common import CodebookLists, autocast, check_feats, native, register
from pointseg.ops.codebook_logits import entry_pairs


def codebook_attention(v: Tensor, choice: Tensor, weight: Tensor, rmap: CodebookLists) -> Tensor:
    """Gather the values around every voxel with the entries that it has chosen.

    Args:
        v: values [N, C].
        choice: [N, H, D], how much each head of a voxel takes of each entry; H divides C. Dtype of
            `v`, or float32 beside 16-bit values.
        weight: [sum of K_d, C], rows packed as ``RegionSet.tap_starts`` says; dtype like `choice`.
        rmap: the occupied taps of all entries' regions on the grid of `v`.

    Returns:
        [N, C], dtype of `v`, or of autocast where it is on.

    Raises:
        ValueError, TypeError: shapes, dtypes or devices that do not fit.
    """
    check_feats("v", v, rows=rmap.num_voxels, device=rmap.taps.device)
    if choice.dim() != 3 or (choice.shape[0], choice.shape[2]) != (v.shape[0], rmap.num_entries):
        raise ValueError(
            f"choice: expected [{v.shape[0]}, H, {rmap.num_entries}], got {list(choice.shape)}"
        )
    if choice.shape[1] < 1 or v.shape[1] % choice.shape[1]:
        raise ValueError(
            f"choice: the number of heads must divide {v.shape[1]} channels, got {choice.shape[1]}"
        )
    expected = [rmap.num_weight_rows, v.shape[1]]
    if list(weight.shape) != expected:
        raise ValueError(f"weight: expected [sum of K_d, C] = {expected}, got {list(weight.shape)}")
    v = autocast(v)
    check_parameter("choice", choice, v)
    check_parameter("weight", weight, v)
    result: Tensor = native("codebook_attention")(
        v.contiguous(),
        choice.transpose(1, 2).contiguous(),
        weight.contiguous(),
        rmap.row_starts,
        rmap.taps,
        rmap.neighbors,
        rmap.weight_rows,
        rmap.mirrored_weight_rows,
        rmap.entry_ends,
    )
    return result


def codebook_attention_reference(
    v: Tensor, choice: Tensor, weight: Tensor, rmap: CodebookLists
) -> Tensor:
    """The same sum, entry by entry: gather, scale, add; then choose."""
    width = v.shape[1] // choice.shape[1]
    out = torch.zeros_like(v)
    for entry, (voxels, neighbors, rows) in enumerate(entry_pairs(rmap)):
        partial = torch.zeros_like(v).index_add(0, voxels, v[neighbors] * weight[rows])
        out = out + choice[:, :, entry].repeat_interleave(width, dim=1) * partial
    return out


def _forward_fake(
    values: Tensor,
    choice: Tensor,
    weight: Tensor,
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    weight_rows: Tensor,
    mirrored_weight_rows: Tensor,
    entry_ends: Tensor,
) -> Tensor:
    return torch.empty_like(values)


def _values_grad_fake(
    grad_out: Tensor,
    choice: Tensor,
    weight: Tensor,
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    mirrored_weight_rows: Tensor,
    entry_ends: Tensor,
) -> Tensor:
    return torch.empty_like(grad_out)


def _choice_weight_grad_fake(
    values: Tensor,
    choice: Tensor,
    weight: Tensor,
    grad_out: Tensor,
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    weight_rows: Tensor,
    entry_ends: Tensor,
) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    return torch.empty_like(choice), torch.empty_like(weight, dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    values, choice, weight, starts, taps, neighbors, rows, mirrored, ends = ctx.saved_tensors
    grad_out = grad_out.contiguous()
    grad_values = grad_choice = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_values = torch.ops.pointseg.codebook_attention_values_grad(
            grad_out, choice, weight, starts, taps, neighbors, mirrored, ends
        )
    if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
        grad_choice, grad_weight = torch.ops.pointseg.codebook_attention_choice_weight_grad(
            values, choice, weight, grad_out, starts, taps, neighbors, rows, ends
        )
        grad_weight = grad_weight.to(weight.dtype)
    return (grad_values, grad_choice, grad_weight, *([None] * 6))


register("codebook_attention", _forward_fake, _backward, _setup_context)
register("codebook_attention_values_grad", _values_grad_fake)
register("codebook_attention_choice_weight_grad", _choice_weight_grad_fake)
