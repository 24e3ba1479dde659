"""Kernel maps: which input voxel lies at which tap of which output voxel.

Contract
--------
* Pair (i, o) belongs to tap k if and only if ``in_coords[i] == out_coords[o] + offsets[k]``,
  batch equal.
* Pairs are grouped by block of 2,048 output rows and, inside a block, by tap: the pairs of output
  row o are in block o // 2048. Each group is in key order of the output, and in it no output row
  comes twice.
* Both grids hold unique voxels. Either may be empty. Offsets reach at most 1,024 voxels.
* The result is the same on every device, for any number of threads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointseg.ops._common import native, register

BLOCK_ROWS = 2048


def kernel_map(
    in_keys: Tensor,
    out_keys: Tensor,
    offsets: Tensor,
    in_order: Tensor | None = None,
    out_order: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the pairs of every tap.

    Args:
        in_keys, out_keys: int64, ascending packed coordinates of both grids (``voxel_keys``).
        offsets: int [K, 3] in host memory, in units of the finest voxel: stride and dilation are
            multiplied in.
        in_order, out_order: int32, row of each sorted voxel; None where rows are sorted.

    Returns: in_rows int32 [E], out_rows int32 [E], segments int64 [blocks, K, 2] (begin and end
        of a group).
    """
    in_rows, out_rows, segments = native("kernel_map")(
        in_keys, in_order, out_keys, out_order, offsets.flatten().tolist()
    )
    return in_rows, out_rows, segments


def swap_kernel_map(
    in_rows: Tensor, out_rows: Tensor, segments: Tensor, num_in: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn a map around: input rows become output rows, taps keep their index.

    Costs a pass over the pairs, no search.
    """
    swapped_in, swapped_out, swapped_segments = native("swap_kernel_map")(
        in_rows, out_rows, segments, num_in
    )
    return swapped_in, swapped_out, swapped_segments


def kernel_map_reference(in_keys: Tensor, out_keys: Tensor, deltas: Tensor) -> Tensor:
    """Neighbour table int64 [N_out, K]: the position in `in_keys` of ``out_key + delta``, or -1."""
    wanted = out_keys[:, None] + deltas[None, :]
    place = torch.searchsorted(in_keys, wanted).clamp_(max=max(in_keys.numel() - 1, 0))
    if in_keys.numel() == 0:
        return torch.full_like(wanted, -1)
    return torch.where(in_keys[place] == wanted, place, torch.full_like(place, -1))


def num_blocks(rows: int) -> int:
    """Blocks of a map to so many output rows."""
    return (rows + BLOCK_ROWS - 1) // BLOCK_ROWS


def _kernel_map_fake(
    in_keys: Tensor,
    in_order: Tensor | None,
    out_keys: Tensor,
    out_order: Tensor | None,
    offsets: list[int],
) -> tuple[Tensor, Tensor, Tensor]:
    pairs = torch.library.get_ctx().new_dynamic_size()
    rows = in_keys.new_empty(pairs, dtype=torch.int32)
    segments = in_keys.new_empty(num_blocks(out_keys.shape[0]), len(offsets) // 3, 2)
    return rows, torch.empty_like(rows), segments


def _swap_fake(
    in_rows: Tensor, out_rows: Tensor, segments: Tensor, num_in: int
) -> tuple[Tensor, Tensor, Tensor]:
    swapped = segments.new_empty(num_blocks(num_in), segments.shape[1], 2)
    return torch.empty_like(in_rows), torch.empty_like(out_rows), swapped


register("kernel_map", _kernel_map_fake)
register("swap_kernel_map", _swap_fake)
