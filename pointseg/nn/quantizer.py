"""Codes that are moving averages of the vectors nearest to them (van den Oord et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pointseg import ops
from pointseg.distributed import exchange, num_ranks
from pointseg.recompute import once

SMOOTHING = 1e-5


class Quantized(NamedTuple):
    """What is known of vectors [N, H, M].

    Attributes:
        code: int64 [N, H], index of the nearest code.
        nearest: [N, H, M], that code.
        distances: [N, H, D], squared; with a gradient for the vectors.
    """

    code: Tensor
    nearest: Tensor
    distances: Tensor


class VectorQuantizer(nn.Module):
    """H codebooks of D codes in M dimensions.

    In training every call moves the codes: counts and sums of the vectors that chose a code, over
    all ranks, enter moving averages with `decay`. A code whose average count falls below
    `dead_below` of the mean is put on a random vector of the batch (the same on all ranks).
    Codes and averages are buffers, so a checkpoint holds them and a resumed run goes on with the
    same bits.
    """

    codes: Tensor
    mean_counts: Tensor
    mean_sums: Tensor

    def __init__(
        self, heads: int, entries: int, dims: int, decay: float, dead_below: float
    ) -> None:
        super().__init__()
        self.decay = decay
        self.dead_below = dead_below
        self.register_buffer("codes", torch.randn(heads, entries, dims))
        self.register_buffer("mean_counts", torch.zeros(heads, entries))
        self.register_buffer("mean_sums", torch.zeros(heads, entries, dims))

    def forward(self, vectors: Tensor) -> Quantized:
        """vectors [N, H, M]."""
        # A copy, since the buffer moves before the backward pass.
        codes = once(lambda: self.codes.to(vectors.dtype, copy=True))
        index = ops.vector_quantize(vectors, codes)
        heads = torch.arange(codes.shape[0], device=codes.device)
        distances = (
            vectors.square().sum(dim=2, keepdim=True)
            - 2 * torch.einsum("nhm,hdm->nhd", vectors, codes)
            + codes.square().sum(dim=2)
        )
        if self.training:
            # Drawn whether a code is dead or not, which only the device knows.
            rows = torch.randint(max(len(vectors), 1), codes.shape[:2], device=vectors.device)
            once(lambda: self._update(vectors.detach(), index, rows))
        return Quantized(index, codes[heads, index], distances)

    @torch.no_grad()
    def _update(self, vectors: Tensor, index: Tensor, seed_rows: Tensor) -> None:
        counts, sums = ops.code_sums(vectors, index, self.codes.shape[1])
        sums = torch.cat([sums, counts[..., None]], dim=2).to(self.codes.dtype)
        if num_ranks() > 1:
            sums = exchange(sums).sum(dim=0).to(sums.dtype)
        counts, sums = sums[..., -1], sums[..., :-1]
        # The first batch is the average so far. Only the device knows; asking would wait for it.
        weight = torch.where(self.mean_counts.any(), 1.0 - self.decay, 1.0).to(counts.dtype)
        self.mean_counts.lerp_(counts, weight)
        self.mean_sums.lerp_(sums, weight)
        moved = self.mean_sums / (self.mean_counts + SMOOTHING)[..., None]
        # A code that nothing has ever chosen stays where it is.
        self.codes.copy_(torch.where(self.mean_counts[..., None] > 0, moved, self.codes))
        self._seed_dead_codes(vectors, seed_rows)

    def _seed_dead_codes(self, vectors: Tensor, rows: Tensor) -> None:
        average = self.mean_counts.mean(dim=1, keepdim=True)
        dead = self.mean_counts < self.dead_below * average
        heads = torch.arange(dead.shape[0], device=vectors.device)[:, None]
        seeds = vectors[rows, heads].to(self.codes.dtype) if len(vectors) else self.codes.clone()
        if num_ranks() > 1:
            seeds = exchange(seeds)[0].to(seeds.dtype)
        wide = dead[..., None]
        self.codes.copy_(torch.where(wide, seeds, self.codes))
        self.mean_counts.copy_(torch.where(dead, average, self.mean_counts))
        self.mean_sums.copy_(torch.where(wide, seeds * average[..., None], self.mean_sums))

    def extra_repr(self) -> str:
        heads, entries, dims = self.codes.shape
        return f"heads={heads}, entries={entries}, dims={dims}, decay={self.decay}"
