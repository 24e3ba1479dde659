"""Row lists: for every output row its pairs as one run, in tap order.

Contract
--------
* ``taps[row_starts[o]:row_starts[o + 1]]`` are the taps at which output row o has a neighbour,
  ascending, and ``neighbors`` the input rows there: the pairs of a kernel map, sorted by output
  row.
* The result is the same on every device, for any number of threads. No pairs give empty lists.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pointseg.ops._common import native, register


class RowLists(NamedTuple):
    """The pairs of a map by output row.

    row_starts: int64 [N_out + 1], where the run of each output row begins.
    taps: int32 [E]. neighbors: int32 [E], input rows.
    """

    row_starts: Tensor
    taps: Tensor
    neighbors: Tensor


def row_lists(
    in_rows: Tensor,
    out_rows: Tensor,
    segments: Tensor,
    num_in: int,
    num_out: int,
    num_pairs: int,
) -> RowLists:
    """Sort the pairs of a kernel map by output row.

    Args:
        in_rows, out_rows: int32 [E], segments: int64 [blocks, T, 2]: a map as `kernel_map` gives
            it; its groups may leave pairs out.
        num_in, num_out: rows of input and output.
        num_pairs: of all groups together. Given, so that no device is asked for it.

    Raises: RuntimeError where the groups are not for `num_out` rows; on the CPU also for a row that
        is not there, a pair outside the block of its output row, or another number of pairs.
    """
    arrays = native("row_lists")(in_rows, out_rows, segments, num_in, num_out, num_pairs)
    return RowLists(*arrays)


def row_lists_reference(
    in_rows: Tensor, out_rows: Tensor, segments: Tensor, num_out: int
) -> RowLists:
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
    return RowLists(row_starts, table[:, 1].int(), table[:, 2].int())


def _fake(
    in_rows: Tensor,
    out_rows: Tensor,
    segments: Tensor,
    num_in: int,
    num_out: int,
    num_pairs: int,
) -> tuple[Tensor, Tensor, Tensor]:
    taps = in_rows.new_empty(num_pairs)
    return segments.new_empty(num_out + 1), taps, torch.empty_like(taps)


register("row_lists", _fake)
