"""Row lists: for every voxel its neighbours as one run, in tap order.

Contract
--------
* ``taps[row_starts[n]:row_starts[n + 1]]`` are the taps at which voxel n has a neighbour,
  ascending, and ``neighbors`` the rows of those neighbours: the pairs of a kernel map, sorted by
  output row.
* Input and output are the same voxels. The result is the same for any number of threads. No pairs
  give empty lists.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pointseg.ops._common import native, register


class RowLists(Protocol):
    """What the codebook operators read of a map, see :class:`pointseg.sparse.RegionMap`."""

    @property
    def row_starts(self) -> Tensor: ...
    @property
    def taps(self) -> Tensor: ...
    @property
    def neighbors(self) -> Tensor: ...
    @property
    def weight_rows(self) -> Tensor: ...
    @property
    def mirrored_weight_rows(self) -> Tensor: ...
    @property
    def entry_ends(self) -> Tensor: ...
    @property
    def num_voxels(self) -> int: ...
    @property
    def num_entries(self) -> int: ...
    @property
    def num_weight_rows(self) -> int: ...


def region_map(
    in_rows: Tensor, out_rows: Tensor, segments: Tensor, num_out: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort the pairs of a kernel map by output row.

    Args:
        in_rows, out_rows: int32 [E], segments: int64 [blocks, T, 2]: a map as `kernel_map` gives
            it; its groups may leave pairs out.
        num_out: rows of the output.

    Raises: RuntimeError for rows that are not of the `num_out` voxels, or that two blocks list.

    Returns: row_starts int64 [num_out + 1], taps int32 and neighbors int32 [pairs in groups].
    """
    row_starts, taps, neighbors = native("region_map")(in_rows, out_rows, segments, num_out)
    return row_starts, taps, neighbors


def region_map_reference(
    in_rows: Tensor, out_rows: Tensor, segments: Tensor, num_out: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with one sort over (row, tap)."""
    triples = [
        (int(out_rows[pair]), tap, int(in_rows[pair]))
        for block in segments.tolist()
        for tap, (begin, end) in enumerate(block)
        for pair in range(begin, end)
    ]
    table = torch.tensor(sorted(triples), dtype=torch.int64).reshape(-1, 3)
    counts = torch.bincount(table[:, 0], minlength=num_out)
    row_starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return row_starts, table[:, 1].int(), table[:, 2].int()


def _fake(
    in_rows: Tensor, out_rows: Tensor, segments: Tensor, num_out: int
) -> tuple[Tensor, Tensor, Tensor]:
    taps = in_rows.new_empty(torch.library.get_ctx().new_dynamic_size())
    return segments.new_empty(num_out + 1), taps, torch.empty_like(taps)


register("region_map", _fake)
