"""Problems too large for a dense box: the same sums in float64, and rows at far addresses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pointseg.sparse import KernelMap, KernelSpec


def in_double(feats: Tensor, weight: Tensor, kmap: KernelMap, grad_out: Tensor) -> list[Tensor]:
    """Output and gradients of a convolution, or of a depthwise one where weight is [K, C]."""
    x, w, g = feats.detach().double(), weight.detach().double(), grad_out.double()
    depthwise = w.dim() == 2
    out = torch.zeros_like(g)
    grad_x, grad_w = torch.zeros_like(x), torch.zeros_like(w)
    for tap in range(len(w)):
        i, o = kmap.pairs(tap)
        if depthwise:
            out.index_add_(0, o, x[i] * w[tap])
            grad_x.index_add_(0, i, g[o] * w[tap])
            grad_w[tap] = (x[i] * g[o]).sum(dim=0)
        else:
            out.index_add_(0, o, x[i] @ w[tap])
            grad_x.index_add_(0, i, g[o] @ w[tap].T)
            grad_w[tap] = x[i].T @ g[o]
    return [out, grad_x, grad_w]


def map_of_far_rows(rows: int, num_taps: int) -> tuple[KernelMap, list[int]]:
    """A map from `rows` input rows to two output rows that reads only the first and the last ones.

    Returns the map and the input rows it reads, in the order of its pairs: output 0 reads the last
    row at tap 0 and the first at tap 1, output 1 the last but one at tap 1.
    """
    far = [rows - 1, 0, rows - 2]
    segments = torch.zeros(1, num_taps, 2, dtype=torch.int64)
    segments[0, 0] = torch.tensor([0, 1])
    segments[0, 1] = torch.tensor([1, 3])
    segments[0, 2:] = 3
    in_rows = torch.tensor(far, dtype=torch.int32)
    out_rows = torch.tensor([0, 0, 1], dtype=torch.int32)
    return KernelMap(KernelSpec(2, 2), rows, 2, in_rows, out_rows, segments), far


def near_rows(kmap: KernelMap) -> KernelMap:
    """The map of :func:`map_of_far_rows` where the rows it reads are numbered 0, 1, 2."""
    in_rows = torch.arange(len(kmap.in_rows), dtype=torch.int32)
    return KernelMap(kmap.spec, len(in_rows), 2, in_rows, kmap.out_rows, kmap.segments)


def untouched_zeros(*shape: int) -> Tensor:
    """Zeros that take memory only where they are written (torch's own are written at once)."""
    try:
        return torch.from_numpy(np.zeros(shape, dtype=np.float32))
    except MemoryError:
        pytest.skip(f"this machine does not lend {4 * int(np.prod(shape)) >> 30} GiB of addresses")
