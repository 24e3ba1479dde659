"""Codebook logits: how well the neighbourhood of a voxel fits each codebook entry.

Contract
--------
* ``logits[n, h, d] = sum over taps k of region d, in order, of s[k, h] * q[nbr(n, k), g, h]`` with
  the row k of `s` that the tap has among the packed rows of all entries, and the group of queries
  g = d, or 0 where there is one group for all.
* With ``s[k, h]`` the sum of the entry's weights over the channels of head h this is the published
  form (CodedVTR, CVPR 2022), which repeats q over the channels of a head and sums afterwards, for
  a fraction of the work. `s` is an input of its own: whether a gradient goes on to the weights is
  the caller's decision (in the block it does not).
* float32 and float64 compute in their own precision; float16 and bfloat16 are storage: sums are
  float32 and are rounded once, at the end.
* Differentiable once in q and s. Backward recomputes; nothing of size pairs is kept.
* Deterministic, forward and backward: the same bits for any number of threads, no atomics.
* A voxel is its own neighbour at the centre, so only regions without a centre can be empty: then 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointseg.ops._arguments import check_parameter
from pointseg.ops._common import (
    FEATURE_DTYPES,
    CodebookLists,
    autocast,
    check_device,
    native,
    register,
)


def codebook_logits(q: Tensor, s: Tensor, rmap: CodebookLists) -> Tensor:
    """Logits of every voxel, head and codebook entry.

    Args:
        q: queries [N, G, H], G = D (one group per entry) or 1 (one for all).
        s: [sum of K_d, H], rows packed as ``RegionSet.tap_starts`` says; dtype of `q`, or float32
            beside 16-bit queries.
        rmap: the occupied taps of all entries' regions on the grid of `q`.

    Returns:
        [N, H, D], dtype of `q`, or of autocast where it is on.

    Raises:
        ValueError, TypeError: shapes, dtypes or devices that do not fit.
    """
    if not isinstance(q, Tensor) or q.dim() != 3:
        raise ValueError("q: expected a tensor of shape [N, G, H]")
    if q.dtype not in FEATURE_DTYPES:
        raise TypeError(f"q: expected a floating-point dtype, got {q.dtype}")
    if q.shape[0] != rmap.num_voxels or q.shape[1] not in (1, rmap.num_entries):
        raise ValueError(
            f"q: expected [{rmap.num_voxels}, {rmap.num_entries} or 1, H], got {list(q.shape)}"
        )
    check_device("q", q, rmap.taps.device)
    expected = [rmap.num_weight_rows, q.shape[2]]
    if list(s.shape) != expected:
        raise ValueError(f"s: expected [sum of K_d, H] = {expected}, got {list(s.shape)}")
    q = autocast(q)
    check_parameter("s", s, q)
    logits: Tensor = native("codebook_logits")(
        q.contiguous(),
        s.contiguous(),
        rmap.row_starts,
        rmap.taps,
        rmap.neighbors,
        rmap.weight_rows,
        rmap.mirrored_weight_rows,
        rmap.entry_ends,
    )
    return logits.transpose(1, 2)


def codebook_logits_reference(q: Tensor, s: Tensor, rmap: CodebookLists) -> Tensor:
    """The same sum, entry by entry: gather, scale, add."""
    columns = []
    for entry, (voxels, neighbors, rows) in enumerate(entry_pairs(rmap)):
        queries = q[:, 0 if q.shape[1] == 1 else entry]
        zeros = q.new_zeros(q.shape[0], q.shape[2])
        columns.append(zeros.index_add(0, voxels, queries[neighbors] * s[rows]))
    return torch.stack(columns, dim=2)


def entry_pairs(rmap: CodebookLists) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For every entry its pairs: (voxel, neighbour, row of the packed weights), int64."""
    counts = rmap.row_starts.diff()
    voxels = torch.repeat_interleave(torch.arange(counts.shape[0], device=counts.device), counts)
    taps, rows = rmap.taps.long(), rmap.weight_rows[rmap.taps.long()].long()
    begin, pairs = 0, []
    for end in rmap.entry_ends.tolist():
        inside = (taps >= begin) & (taps < end) & (rows >= 0)
        pairs.append((voxels[inside], rmap.neighbors[inside].long(), rows[inside]))
        begin = end
    return pairs


def _forward_fake(
    queries: Tensor,
    scale: Tensor,
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    weight_rows: Tensor,
    mirrored_weight_rows: Tensor,
    entry_ends: Tensor,
) -> Tensor:
    return queries.new_empty(queries.shape[0], entry_ends.shape[0], queries.shape[2])


def _queries_grad_fake(
    grad_logits: Tensor,
    scale: Tensor,
    groups: int,
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    mirrored_weight_rows: Tensor,
    entry_ends: Tensor,
) -> Tensor:
    return grad_logits.new_empty(grad_logits.shape[0], groups, grad_logits.shape[2])


def _scale_grad_fake(
    queries: Tensor,
    grad_logits: Tensor,
    num_weight_rows: int,
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    weight_rows: Tensor,
    entry_ends: Tensor,
) -> Tensor:
    dtype = torch.float64 if queries.dtype == torch.float64 else torch.float32
    return queries.new_empty(num_weight_rows, queries.shape[2], dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_logits: Tensor) -> tuple[Tensor | None, ...]:
    queries, scale, starts, taps, neighbors, rows, mirrored, ends = ctx.saved_tensors
    grad_logits = grad_logits.contiguous()
    grad_queries = grad_scale = None
    if ctx.needs_input_grad[0]:
        grad_queries = torch.ops.pointseg.codebook_logits_queries_grad(
            grad_logits, scale, queries.shape[1], starts, taps, neighbors, mirrored, ends
        )
    if ctx.needs_input_grad[1]:
        grad_scale = torch.ops.pointseg.codebook_logits_scale_grad(
            queries, grad_logits, scale.shape[0], starts, taps, neighbors, rows, ends
        ).to(scale.dtype)
    return (grad_queries, grad_scale, *([None] * 6))


register("codebook_logits", _forward_fake, _backward, _setup_context)
register("codebook_logits_queries_grad", _queries_grad_fake)
register("codebook_logits_scale_grad", _scale_grad_fake)
