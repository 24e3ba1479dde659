"""Vector quantisation: the nearest code of every vector, head by head.

Contract
--------
* ``index[n, h]`` is the entry d with the smallest ``|codes[h, d]|^2 / 2 - z[n, h] . codes[h, d]``,
  which orders entries as their distance to z does: a matrix product, computed in the precision of
  `z` (float32 for 16-bit vectors), and the smallest of each row, without storing the product.
* Of equal ones the lowest entry wins, everywhere. A NaN is never the smallest.
* Not differentiable: what passes a gradient around the choice is the caller's (straight-through).
* `code_sums` counts the vectors of every code and adds them up, over vectors sorted by code, in
  order: deterministic, no atomics, as `scatter_reduce`; 16-bit vectors are added in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointseg.ops._arguments import check_parameter
from pointseg.ops._common import FEATURE_DTYPES, native, register
from pointseg.ops.scatter_reduce import scatter_reduce


def vector_quantize(z: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code.

    Args:
        z: [N, H, M], M dimensions.
        codes: [H, D, M]; dtype of `z`, or float32 beside 16-bit vectors.

    Returns:
        int64 [N, H], 0 to D - 1. No gradient.

    Raises:
        ValueError, TypeError: shapes, dtypes or devices that do not fit.
    """
    if not isinstance(z, Tensor) or z.dim() != 3:
        raise ValueError("z: expected a tensor of shape [N, H, M]")
    if z.dtype not in FEATURE_DTYPES:
        raise TypeError(f"z: expected a floating-point dtype, got {z.dtype}")
    if codes.dim() != 3 or (codes.shape[0], codes.shape[2]) != tuple(z.shape[1:]):
        raise ValueError(
            f"codes: expected [{z.shape[1]}, D, {z.shape[2]}], got {list(codes.shape)}"
        )
    if codes.shape[1] < 1:
        raise ValueError("codes: expected at least one entry")
    check_parameter("codes", codes, z)
    index: Tensor = native("vector_quantize")(z.detach().contiguous(), codes.detach().contiguous())
    return index


def code_sums(z: Tensor, index: Tensor, num_entries: int) -> tuple[Tensor, Tensor]:
    """How many vectors chose each code, and their sum.

    Args:
        z: [N, H, M]. index: int64 [N, H], the code of each, 0 to D - 1. num_entries: D.

    Returns:
        counts [H, D] and sums [H, D, M], dtype of `z`, or float32 of 16-bit vectors.

    Raises:
        ValueError: shapes that do not fit, or, on the CPU, an index outside.
    """
    if z.dim() != 3:
        raise ValueError("z: expected a tensor of shape [N, H, M]")
    heads, dims = z.shape[1], z.shape[2]
    if index.shape != z.shape[:2]:
        raise ValueError(f"index: expected {list(z.shape[:2])}, got {list(index.shape)}")
    # On a GPU the indices would have to be waited for.
    if not torch.compiler.is_compiling() and index.numel() and index.device.type == "cpu":
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= num_entries:
            raise ValueError(f"index: expected codes 0 to {num_entries - 1}, got {low} to {high}")
    if z.element_size() == 2:
        z = z.float()
    bins = index + torch.arange(heads, device=index.device) * num_entries
    rows = torch.cat([z, z.new_ones(*z.shape[:2], 1)], dim=2).detach()
    sums = scatter_reduce(rows.reshape(-1, dims + 1), bins.reshape(-1), heads * num_entries)
    sums = sums.reshape(heads, num_entries, dims + 1)
    return sums[..., dims], sums[..., :dims]


def vector_quantize_reference(z: Tensor, codes: Tensor) -> Tensor:
    """The same over a table of all distances."""
    if z.element_size() == 2:
        z, codes = z.float(), codes.float()
    scores = codes.square().sum(2) / 2 - torch.einsum("nhm,hdm->nhd", z, codes)
    scores = scores.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    lowest = scores.min(dim=2, keepdim=True).values
    return (scores == lowest).int().argmax(dim=2)


def _fake(vectors: Tensor, codes: Tensor) -> Tensor:
    return vectors.new_empty(vectors.shape[0], vectors.shape[1], dtype=torch.int64)


register("vector_quantize", _fake)
