"""What one writes without us: gather, multiply and add per tap, in plain torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from pointseg.sparse import KernelMap, KernelSpec, RegionSet, VoxelGrid

Pairs = list[tuple[Tensor, Tensor]]


def tap_pairs(kmap: KernelMap) -> Pairs:
    """The pairs of every tap as index tensors, made before any clock runs."""
    return [kmap.pairs(tap) for tap in range(kmap.num_taps)]


def sparse_conv(feats: Tensor, weight: Tensor, pairs: Pairs, num_out: int) -> Tensor:
    """[N_in, C_in] -> [N_out, C_out], accumulated in place tap by tap."""
    out = feats.new_zeros(num_out, weight.shape[2])
    for tap, (in_rows, out_rows) in enumerate(pairs):
        out.index_add_(0, out_rows, feats.index_select(0, in_rows) @ weight[tap])
    return out


def voxelize(coords: Tensor) -> tuple[Tensor, Tensor]:
    """Unique rows of int32 [P, 4], ascending, and which of them each row is.

    By packed keys: `torch.unique` of whole rows takes forty times as long.
    """
    keys, inverse = torch.unique(_keys(coords.long()), return_inverse=True)
    columns = [keys >> 51, *((keys >> shift) % 2**17 - 2**15 for shift in (34, 17, 0))]
    return torch.stack(columns, dim=1).int(), inverse


def kernel_map(grid: VoxelGrid, spec: KernelSpec) -> Pairs:
    """Pairs of a stride-1 kernel from coordinates: pack, sort, one binary search per tap."""
    keys = _keys(grid.coords.long())
    sorted_keys, order = keys.sort()
    rows = torch.arange(keys.shape[0], device=keys.device)
    pairs = []
    for x, y, z in spec.offsets:
        shift = (x * 2**34 + y * 2**17 + z) * grid.stride * spec.dilation
        in_rows, found = _find(sorted_keys, order, keys + shift)
        pairs.append((in_rows[found], rows[found]))
    return pairs


def halving_map(grid: VoxelGrid) -> Pairs:
    """Pairs of the kernel of size 2 and stride 2: parents by `unique`, taps by lowest bits."""
    coords = grid.coords.long()
    xyz = torch.div(coords[:, 1:], grid.stride, rounding_mode="floor")
    parents = torch.cat([coords[:, :1], torch.div(xyz, 2, rounding_mode="floor")], dim=1)
    _, out_rows = torch.unique(_keys(parents), return_inverse=True)
    bits = xyz % 2
    taps = bits[:, 0] + 2 * bits[:, 1] + 4 * bits[:, 2]  # no product of integers on a GPU
    in_rows = [(taps == tap).nonzero()[:, 0] for tap in range(8)]
    return [(rows, out_rows[rows]) for rows in in_rows]


def depthwise_conv(feats: Tensor, weight: Tensor, pairs: Pairs, num_out: int) -> Tensor:
    """[N_in, C] -> [N_out, C]: ``out[o] += x[i] * W[k]``, tap by tap that has a pair."""
    out = feats.new_zeros(num_out, feats.shape[1])
    for tap, (in_rows, out_rows) in enumerate(pairs):
        if in_rows.numel():
            out.index_add_(0, out_rows, feats.index_select(0, in_rows) * weight[tap])
    return out


def max_pool(feats: Tensor, pairs: Pairs, num_out: int) -> Tensor:
    """The largest of the pairs of every output row."""
    in_rows, out_rows = (torch.cat(rows) for rows in zip(*pairs, strict=True))
    return scatter_reduce(feats.index_select(0, in_rows), out_rows, num_out, "max")


def avg_pool(feats: Tensor, pairs: Pairs, num_out: int) -> Tensor:
    """The mean of the pairs of every output row."""
    in_rows, out_rows = (torch.cat(rows) for rows in zip(*pairs, strict=True))
    counts = torch.bincount(out_rows, minlength=num_out).clamp(min=1)
    total = scatter_reduce(feats.index_select(0, in_rows), out_rows, num_out, "sum")
    return total / counts[:, None]


def gather_neighbors(feats: Tensor, table: Tensor) -> Tensor:
    """[N, C] and rows [N_out, K] (-1: none) -> [N_out, K, C], through a row of zeros at the end."""
    return torch.cat([feats, feats.new_zeros(1, feats.shape[1])])[table]


def scatter_reduce(src: Tensor, index: Tensor, num_out: int, reduce: str) -> Tensor:
    """Rows into bins: ``"sum"`` or ``"max"``."""
    zeros = src.new_zeros(num_out, src.shape[1])
    if reduce == "sum":
        return zeros.index_add(0, index, src)
    where = index[:, None].expand_as(src)
    return zeros.scatter_reduce(0, where, src, "amax", include_self=False)


def interpolate(feats: Tensor, grid: VoxelGrid, query: Tensor) -> Tensor:
    """Trilinear: one binary search and one gather per corner."""
    sorted_keys, order = _keys(grid.coords.long()).sort()
    cell = query[:, 1:] / grid.stride
    low = cell.floor()
    part = cell - low
    out = feats.new_zeros(query.shape[0], feats.shape[1])
    for corner in product((0, 1), repeat=3):
        up = torch.tensor(corner, device=query.device)
        place = torch.cat([query[:, :1], (low + up) * grid.stride], dim=1).long()
        rows, found = _find(sorted_keys, order, _keys(place))
        weight = torch.where(up == 1, part, 1 - part).prod(dim=1) * found
        out = out + feats.index_select(0, rows) * weight[:, None]
    return out


def vector_quantize(z: Tensor, codes: Tensor) -> Tensor:
    """[N, H, M] and [H, D, M] -> [N, H], from all distances."""
    return torch.cdist(z.transpose(0, 1), codes).argmin(dim=2).T


def entry_pairs(grid: VoxelGrid, regions: RegionSet) -> list[Pairs]:
    """The pairs of every tap of every codebook entry."""
    return [tap_pairs(grid.kernel_map(region)) for region in regions]


def codebook_logits(q: Tensor, weight: Tensor, entries: list[Pairs]) -> Tensor:
    """[N, D, H] -> [N, H, D] as published: queries repeated over the channels of their head, a
    depthwise convolution with the weights, which gets no gradient, and the sum over those channels.
    """
    heads, width = q.shape[2], weight.shape[1] // q.shape[2]
    columns = []
    for entry, (pairs, taps) in enumerate(_with_weights(weight.detach(), entries)):
        repeated = q[:, entry].repeat_interleave(width, dim=1)
        out = depthwise_conv(repeated, taps, pairs, q.shape[0])
        columns.append(out.unflatten(1, (heads, width)).sum(dim=2))
    return torch.stack(columns, dim=1).transpose(1, 2)  # heads last, where softmax is faster


def codebook_attention(v: Tensor, choice: Tensor, weight: Tensor, entries: list[Pairs]) -> Tensor:
    """[N, C] -> [N, C]: a depthwise convolution per entry, times its share of the choice."""
    width = v.shape[1] // choice.shape[1]
    out = torch.zeros_like(v)
    for entry, (pairs, taps) in enumerate(_with_weights(weight, entries)):
        share = choice[:, :, entry].repeat_interleave(width, dim=1)
        out = out + share * depthwise_conv(v, taps, pairs, v.shape[0])
    return out


def _with_weights(weight: Tensor, entries: list[Pairs]) -> Iterator[tuple[Pairs, Tensor]]:
    return zip(entries, weight.split([len(pairs) for pairs in entries]), strict=True)


def _keys(coords: Tensor) -> Tensor:
    """One int64 per row of int64 coordinates [N, 4], ordered as they are."""
    shifted = coords + torch.tensor([0, 2**15, 2**15, 2**15], device=coords.device)
    return ((shifted[:, 0] * 2**17 + shifted[:, 1]) * 2**17 + shifted[:, 2]) * 2**17 + shifted[:, 3]


def _find(sorted_keys: Tensor, order: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The row of each wanted key, and whether there is one."""
    place = torch.searchsorted(sorted_keys, wanted).clamp_(max=sorted_keys.shape[0] - 1)
    return order[place], sorted_keys[place] == wanted
