"""Row lists: the pairs of a kernel map by output row, in both directions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops.row_lists import row_lists_reference
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid
from tests.helpers.properties import given
from tests.ops import scenes


def triples(kmap: KernelMap) -> set[tuple[int, int, int]]:
    """(output row, tap, input row) of the row lists of a map."""
    starts, taps, neighbors = kmap.row_lists()
    rows = torch.repeat_interleave(torch.arange(kmap.num_out), starts.diff())
    assert len(rows) == len(taps) == len(neighbors) == kmap.num_pairs
    return set(zip(rows.tolist(), taps.tolist(), neighbors.tolist(), strict=True))


@given(scenes.voxel_sets(), scenes.kernel_specs())
def test_lists_hold_the_pairs_of_the_map_in_both_directions(
    coords: Tensor, spec: KernelSpec
) -> None:
    kmap = VoxelGrid(coords).kernel_map(spec)
    for checked in (kmap, kmap.transposed()):
        pairs = set()
        for tap in range(checked.num_taps):
            in_rows, out_rows = checked.pairs(tap)
            pairs |= {(o, tap, i) for i, o in zip(in_rows.tolist(), out_rows.tolist(), strict=True)}
        assert triples(checked) == pairs
        assert checked.row_lists() is checked.row_lists()


def test_rows_ascend_by_tap_and_agree_with_the_reference() -> None:
    kmap = VoxelGrid(scenes.surface_voxels(3_000, seed=1, num_scenes=2)).kernel_map(KernelSpec(3))
    arrays = (kmap.in_rows, kmap.out_rows, kmap.segments)
    sizes = (kmap.num_in, kmap.num_out, kmap.num_pairs)
    found = ops.row_lists(*arrays, *sizes)
    for ours, theirs in zip(found, row_lists_reference(*arrays, kmap.num_out), strict=True):
        assert torch.equal(ours, theirs)
    torch.library.opcheck(torch.ops.pointseg.row_lists.default, (*arrays, *sizes))


def test_more_taps_than_are_known_ahead_of_time() -> None:
    """CUDA kernels look at the groups of 64 taps at a time."""
    kmap = VoxelGrid(scenes.surface_voxels(2_500, seed=2)).kernel_map(KernelSpec(5))
    expected = row_lists_reference(kmap.in_rows, kmap.out_rows, kmap.segments, kmap.num_out)
    for ours, theirs in zip(kmap.row_lists(), expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.cpu_kernels
def test_rows_that_are_not_there_are_refused() -> None:
    """On a GPU nobody looks: what a map says is trusted."""
    kmap = VoxelGrid(scenes.surface_voxels(5_000, seed=1)).kernel_map(KernelSpec(3))
    in_rows, out_rows, segments = kmap.in_rows, kmap.out_rows, kmap.segments
    rows, pairs = kmap.num_out, kmap.num_pairs
    with pytest.raises(RuntimeError, match="in_rows .* is outside"):
        ops.row_lists(in_rows + rows, out_rows, segments, rows, rows, pairs)
    with pytest.raises(RuntimeError, match="not in the block of its output row"):
        ops.row_lists(in_rows, out_rows.flip(0), segments, rows, rows, pairs)
    with pytest.raises(RuntimeError, match="segments: group 0 is outside"):
        ops.row_lists(in_rows, out_rows, segments + pairs, rows, rows, pairs)
    with pytest.raises(RuntimeError, match=rf"num_pairs: expected the {pairs} pairs"):
        ops.row_lists(in_rows, out_rows, segments, rows, rows, pairs + 1)


def test_groups_of_another_number_of_rows_are_refused() -> None:
    kmap = VoxelGrid(scenes.surface_voxels(5_000, seed=1)).kernel_map(KernelSpec(3))
    rows = kmap.num_out
    with pytest.raises(RuntimeError, match=r"segments: expected \d+ blocks"):
        ops.row_lists(kmap.in_rows, kmap.out_rows, kmap.segments[1:], rows, rows, kmap.num_pairs)
