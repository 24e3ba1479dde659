"""Mask order: an order of output rows in which those with the same taps stand together.

Contract
--------
* The taps are split in equal ranges, ``s * K // splits`` to ``(s + 1) * K // splits``, and each has
  an order of its own: ``order[s]`` is a permutation of the output rows.
* A row's mask has a bit for each tap of the range at which it has a neighbour, the nearest taps as
  low bits. Rows are sorted by the place of their mask in a Gray code, so that masks beside each
  other differ in few bits; rows of equal masks keep their order.
* Of more than 62 taps of a range the nearest 62 count, and none from number 1024 on.
* For CUDA alone, where a convolution skips the taps that no row of a tile has. No host
  synchronisation. No rows give no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from pointseg.ops._common import native, register
from pointseg.ops.row_lists import RowLists


def mask_order(lists: RowLists, nearest_first: Sequence[int], num_splits: int) -> Tensor:
    """Sort the output rows of a map by the taps they have.

    Args:
        lists: the map by output row.
        nearest_first: the K taps, those that most rows have first.
        num_splits: ranges of the taps.

    Returns:
        int32 [num_splits, N_out].
    """
    result: Tensor = native("mask_order")(*lists, list(nearest_first), num_splits)
    return result


def mask_order_reference(lists: RowLists, nearest_first: Sequence[int], num_splits: int) -> Tensor:
    """The same, row by row."""
    num_taps, num_rows = len(nearest_first), len(lists.row_starts) - 1
    order = torch.empty(num_splits, num_rows, dtype=torch.int32)
    for split in range(num_splits):
        taps = range(split * num_taps // num_splits, (split + 1) * num_taps // num_splits)
        ranked = [tap for tap in nearest_first if tap in taps and tap < 1024][:62]
        places = []
        for begin, end in pairwise(lists.row_starts.tolist()):
            present = set(lists.taps[begin:end].tolist())
            mask = sum(1 << bit for bit, tap in enumerate(ranked) if tap in present)
            places.append(_place_in_gray_code(mask))
        order[split] = torch.tensor(sorted(range(num_rows), key=places.__getitem__)).int()
    return order


def _place_in_gray_code(mask: int) -> int:
    place = 0
    while mask:
        place ^= mask
        mask >>= 1
    return place


def _fake(
    row_starts: Tensor,
    taps: Tensor,
    neighbors: Tensor,
    nearest_first: Sequence[int],
    num_splits: int,
) -> Tensor:
    return taps.new_empty(num_splits, row_starts.shape[0] - 1)


register("mask_order", _fake)
