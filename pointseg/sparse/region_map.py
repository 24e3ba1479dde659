"""The occupied taps of a codebook's regions around every voxel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor

from pointseg.ops import codebook_logits, row_lists
from pointseg.ops._common import table
from pointseg.sparse.kernel_map import KernelMap
from pointseg.sparse.region import RegionSet
from pointseg.sparse.spec import KernelSpec


@dataclass(frozen=True, eq=False)
class RegionMap:
    """Neighbours of every voxel over all entries, as one run a voxel: by entry, then by tap.

    The lists hold the taps of the regions and their mirrors, so that the same lists serve the
    backward pass: a neighbour at tap k sees the voxel at the mirrored tap. Which of them have
    weights, in either direction, is a table.

    Attributes:
        regions: the D entries.
        num_voxels: N.
        row_starts: int64 [N + 1], where the run of each voxel begins.
        taps: int32 [E], listed tap, ascending in a run.
        neighbors: int32 [E], row of the neighbour.
        weight_rows: int32 [listed taps], the row of the packed weights that a listed tap has, -1
            outside the region.
        mirrored_weight_rows: the same for the mirrored tap.
        entry_ends: int32 [D], one past the last listed tap of each entry.
    """

    regions: RegionSet
    num_voxels: int
    row_starts: Tensor
    taps: Tensor
    neighbors: Tensor
    weight_rows: Tensor
    mirrored_weight_rows: Tensor
    entry_ends: Tensor
    _shares: list[Tensor] = field(default_factory=list, repr=False)

    @classmethod
    def build(cls, regions: RegionSet, maps: Mapping[KernelSpec, KernelMap]) -> RegionMap:
        """Join the full kernel maps of the regions' kernels, all on one grid."""
        parts = list(maps.values())
        device, num_voxels = parts[0].in_rows.device, parts[0].num_out
        ends = accumulate((kmap.num_pairs for kmap in parts), initial=0)
        first = dict(zip(maps, ends, strict=False))  # of the joined pairs
        segments = [
            maps[region.spec].groups(region.listed_taps) + first[region.spec] for region in regions
        ]
        lists = row_lists(
            torch.cat([kmap.in_rows for kmap in parts]),
            torch.cat([kmap.out_rows for kmap in parts]),
            torch.cat(segments, dim=1),
            num_voxels,
            num_voxels,
            sum(maps[region.spec].pairs_of(region.listed_taps) for region in regions),
        )
        rows, mirrored = _weight_rows(regions)
        listed = accumulate(len(region.listed_taps) for region in regions)
        rows_of, mirrored_rows_of, entry_ends = (
            table(values, torch.int32, device) for values in (rows, mirrored, listed)
        )
        return cls(regions, num_voxels, *lists, rows_of, mirrored_rows_of, entry_ends)

    @property
    def num_entries(self) -> int:
        """D."""
        return len(self.regions)

    @property
    def num_weight_rows(self) -> int:
        """Rows of packed weights: the taps of all entries."""
        return self.regions.num_taps

    def shares(self) -> Tensor:
        """Occupied share of every entry's region around each voxel, float32 [N, D]. Found once."""
        if not self._shares:
            ones = torch.ones(self.num_voxels, 1, 1, device=self.taps.device)
            weights = [1.0 / region.num_taps for region in self.regions for _ in region.taps]
            scale = table(weights, torch.float32, self.taps.device)[:, None]
            with torch.autocast(ones.device.type, enabled=False):  # kept, so not in 16 bits
                self._shares.append(codebook_logits(ones, scale, self)[:, 0])
        return self._shares[0]


def _weight_rows(regions: RegionSet) -> tuple[list[int], list[int]]:
    rows, mirrored, first = [], [], 0
    for region in regions:
        row_of = {tap: first + index for index, tap in enumerate(region.taps)}
        rows += [row_of.get(tap, -1) for tap in region.listed_taps]
        mirrored += [row_of.get(region.spec.mirror[tap], -1) for tap in region.listed_taps]
        first += region.num_taps
    return rows, mirrored
