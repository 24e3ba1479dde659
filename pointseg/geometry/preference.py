"""Which entry the surroundings of a voxel speak for, before anything is learned.

A raw share favours the region with the smallest reach: around almost any voxel of a surface the
nearest places are the fullest. So shares are compared after standardising each region's by its own
mean and deviation over the dataset. The geometry prior of the codebook block is the softmax of
these over the entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def standardised_shares(shares: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``(shares - mean) / std`` for every region.

    Args:
        shares: [N, D], occupied share of each region.
        mean, std: D numbers each, of the shares at this stride over the dataset; std > 0.

    Returns: [N, D], dtype of `shares`.
    """
    if shares.dim() != 2 or not shares.is_floating_point():
        raise ValueError(
            f"shares: expected floating point [N, D], got {shares.dtype} {list(shares.shape)}"
        )
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != shares.shape[1]:
            raise ValueError(
                f"{name}: expected {shares.shape[1]} numbers, one a region, got {len(values)}"
            )
    if not all(value > 0 for value in std):
        raise ValueError(f"std: expected numbers above 0, got {tuple(std)}")
    return (shares - shares.new_tensor(list(mean))) / shares.new_tensor(list(std))


def preferred_entry(shares: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """int64 [N]: the entry whose region is fuller than usual by most; the first one of equals."""
    return torch.argmax(standardised_shares(shares, mean, std), dim=1)
