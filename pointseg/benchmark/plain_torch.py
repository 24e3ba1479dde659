"""What one writes without us: gather, multiply and add per tap, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid

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


def kernel_map(grid: VoxelGrid, spec: KernelSpec) -> Pairs:
    """Pairs of a stride-1 kernel from coordinates: pack, sort, one binary search per tap."""
    coords = grid.coords.long() + torch.tensor([0, 2**15, 2**15, 2**15])
    keys = ((coords[:, 0] * 2**17 + coords[:, 1]) * 2**17 + coords[:, 2]) * 2**17 + coords[:, 3]
    sorted_keys, order = keys.sort()
    rows = torch.arange(keys.shape[0])
    pairs = []
    for x, y, z in spec.offsets:
        wanted = keys + (x * 2**34 + y * 2**17 + z) * grid.stride * spec.dilation
        place = torch.searchsorted(sorted_keys, wanted).clamp_(max=keys.shape[0] - 1)
        found = sorted_keys[place] == wanted
        pairs.append((order[place[found]], rows[found]))
    return pairs
