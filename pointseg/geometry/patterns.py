"""Occupancy patterns: which places around a voxel hold a voxel, one bit a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pointseg.ops import kernel_map
from pointseg.sparse import RegionSet, VoxelGrid

Offset = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Patterns:
    """The surroundings of S voxels at K places.

    Attributes:
        offsets: (x, y, z) of each place relative to the voxel, in voxels of its grid.
        bits: uint8 [S, ceil(K / 8)], bit k of a row (lowest first) tells whether place k holds a
            voxel.
    """

    offsets: tuple[Offset, ...]
    bits: NDArray[np.uint8]

    @property
    def num_voxels(self) -> int:
        """S."""
        return len(self.bits)

    def occupied(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """uint8 [rows, K] of zeros and ones, of the voxels ``start:stop``."""
        rows = self.bits[start:stop]
        return np.unpackbits(rows, axis=1, count=len(self.offsets), bitorder="little")

    def shares(self, regions: RegionSet) -> Tensor:
        """float32 [S, D]: how much of each region is occupied, 0..1.

        Raises ValueError for a region that reaches a place the patterns do not have.
        """
        column = {offset: k for k, offset in enumerate(self.offsets)}
        missing = {o for region in regions for o in region.offsets} - set(column)
        if missing:
            raise ValueError(
                f"regions: {len(missing)} places are not in these patterns, such as "
                f"{min(missing)}; take the patterns over the offsets of all regions"
            )
        columns = [[column[offset] for offset in region.offsets] for region in regions]
        shares = np.empty((self.num_voxels, len(regions)), dtype=np.float32)
        for start in range(0, self.num_voxels, _ROWS):
            rows = slice(start, start + _ROWS)
            occupied = self.occupied(start, start + _ROWS)
            for d, wanted in enumerate(columns):
                shares[rows, d] = occupied[:, wanted].sum(axis=1, dtype=np.int64) / len(wanted)
        return torch.from_numpy(shares)


# Voxels that are unpacked at a time.
_ROWS = 65536
# Of kernel maps, in voxels of the finest grid.
_MAX_REACH = 1024


def occupancy_patterns(
    grid: VoxelGrid,
    offsets: Sequence[Offset],
    max_voxels: int | None = None,
    seed: Sequence[int] = (0,),
) -> Patterns:
    """The patterns of a grid's voxels, or of ``max_voxels`` of them drawn without replacement.

    Voxels come in key order. Neighbours are looked for among all voxels of the grid, but only
    around those that are drawn: memory is that of their pairs.

    Args:
        offsets: (x, y, z) in voxels of the grid, dilation multiplied in.
        seed: what the draw depends on, besides the grid.

    Raises ValueError for offsets that reach further than 1,024 voxels of the finest grid.
    """
    furthest = grid.stride * max((abs(v) for offset in offsets for v in offset), default=0)
    if furthest > _MAX_REACH:
        raise ValueError(
            f"offsets: at stride {grid.stride} a place is {furthest} voxels of the finest grid "
            f"away, the limit is {_MAX_REACH}; use a smaller kernel, dilation or stride"
        )
    keys = grid.sorted_keys
    if max_voxels is not None and max_voxels < grid.num_voxels:
        drawn = np.random.default_rng(list(seed)).choice(
            grid.num_voxels, max_voxels, replace=False, shuffle=False
        )
        keys = keys[torch.from_numpy(np.sort(drawn)).to(keys.device)]
    reach = torch.tensor(offsets, dtype=torch.int32).reshape(-1, 3) * grid.stride
    _, out_rows, segments = kernel_map(grid.sorted_keys, keys, reach.to(keys.device))
    rows = out_rows.cpu().numpy()
    occupied = np.zeros((len(keys), len(offsets)), dtype=np.uint8)
    for block in segments.tolist():
        for tap, (begin, end) in enumerate(block):
            occupied[rows[begin:end], tap] = 1
    return Patterns(tuple(offsets), np.packbits(occupied, axis=1, bitorder="little"))


def merge_patterns(parts: Sequence[Patterns]) -> Patterns:
    """The patterns of several grids, one after another."""
    if not parts or any(part.offsets != parts[0].offsets for part in parts):
        raise ValueError("parts: expected patterns over the same offsets, at least one")
    return Patterns(parts[0].offsets, np.concatenate([part.bits for part in parts]))
