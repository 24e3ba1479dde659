"""The least time an operator can take on a device with given ceilings, in microseconds.

Bytes through memory: inputs read once, results written once, and four bytes for every neighbour.
A convolution reads a row for every pair; most come from the second-level cache.
"""

from __future__ import annotations

from torch import Tensor

from pointseg.benchmark.ceilings import Ceilings
from pointseg.sparse import KernelMap

NEIGHBOR_BYTES = 4


def memory_us(ceilings: Ceilings, num_bytes: float) -> float:
    """Through memory, at the rate of a copy."""
    return num_bytes / ceilings.copy_gb_per_s * 1e-3


def conv_us(ceilings: Ceilings, kmap: KernelMap, feats: Tensor, out: Tensor, kind: str) -> float:
    """A convolution or one of its gradients: gathered rows and written ones, or products."""
    pairs, row_bytes = kmap.num_pairs, feats.shape[1] * feats.element_size()
    moved = pairs * row_bytes + out.shape[0] * out.shape[1] * out.element_size()
    products = 2 * pairs * feats.shape[1] * out.shape[1]
    return max(
        moved / ceilings.gather(row_bytes) * 1e-3,
        products / ceilings.tflops(kind) * 1e-6,
    )


def neighbors_us(ceilings: Ceilings, num_neighbors: int, *tensors: Tensor) -> float:
    """A pass over rows and their neighbours that is bound by memory: every tensor once."""
    num_bytes = sum(x.numel() * x.element_size() for x in tensors)
    return memory_us(ceilings, num_bytes + NEIGHBOR_BYTES * num_neighbors)
