"""Coarser grids without a sort of their own, and the map of cubes side by side without a search."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops.downsample import downsample_reference
from pointseg.ops.voxelize import MAX_COORD
from pointseg.sparse import KernelSpec, VoxelGrid
from tests.helpers.properties import given, st
from tests.ops import scenes


def sorted_voxels(coords: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates and keys, ascending."""
    found = ops.voxelize(coords)
    return found.coords, found.keys


@given(scenes.voxel_sets(), st.sampled_from([1, 2, 3, 4, 5, 7, 8, 64]))
def test_is_unique_of_the_rounded_coordinates(coords: Tensor, stride: int) -> None:
    coords, keys = sorted_voxels(coords)
    ours, theirs = ops.downsample(keys, stride), downsample_reference(coords, stride)
    for actual, expected in zip(ours, theirs, strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("stride", [2, 3, 1000, 1024])
def test_at_both_ends_of_the_range(stride: int) -> None:
    ends = [-MAX_COORD, -MAX_COORD + 1, -1, 0, 1, MAX_COORD]
    line = torch.tensor(ends, dtype=torch.int32)
    coords = torch.cartesian_prod(torch.tensor([0, 4095], dtype=torch.int32), line, line, line)
    coords, keys = sorted_voxels(coords)
    found = ops.downsample(keys, stride)
    expected = coords.clone()
    expected[:, 1:] = torch.div(coords[:, 1:], stride, rounding_mode="floor") * stride
    assert torch.equal(found.coords[found.parents.long()], expected)
    assert (found.keys.diff() > 0).all()


def test_many_slabs_and_long_columns() -> None:
    coords, keys = sorted_voxels(scenes.surface_voxels(30_000, seed=4, num_scenes=3))
    for stride in (2, 6, 16):
        ours, theirs = ops.downsample(keys, stride), downsample_reference(coords, stride)
        for actual, expected in zip(ours, theirs, strict=True):
            assert torch.equal(actual, expected)


@given(scenes.voxel_sets(), st.sampled_from([2, 4]), st.sampled_from([1, 2, 3]))
def test_map_is_that_of_a_search(coords: Tensor, size: int, stride: int) -> None:
    """Rows in any order: the same pairs, in the same groups and order, as `kernel_map` finds."""
    coords = coords * torch.tensor([1, stride, stride, stride], dtype=torch.int32)
    grid = VoxelGrid(coords, stride)
    spec = KernelSpec(size, size)
    assert spec.covers_once
    out = grid.downsample(size)
    offsets = torch.tensor(spec.offsets, dtype=torch.int32) * stride
    searched = ops.kernel_map(grid.sorted_keys, out.sorted_keys, offsets, grid.order)
    kmap = grid.kernel_map(spec)
    for ours, theirs in zip((kmap.in_rows, kmap.out_rows, kmap.segments), searched, strict=True):
        assert torch.equal(ours, theirs)


def test_other_kernels_do_not_cover_once() -> None:
    for spec in (KernelSpec(3, 3), KernelSpec(2, 1), KernelSpec(2, 2, 2), KernelSpec(4, 2)):
        assert not spec.covers_once


def test_bad_arguments_and_opcheck() -> None:
    _, keys = sorted_voxels(scenes.random_voxels(40, 5, seed=1))
    with pytest.raises(RuntimeError, match=r"stride: expected 1\.\.1024"):
        ops.downsample(keys, 0)
    coarser = ops.downsample(keys, 2)
    with pytest.raises(RuntimeError, match="parents: expected 40"):
        ops.downsample_map(keys, coarser._replace(parents=coarser.parents[1:]), 1, 2)
    torch.library.opcheck(torch.ops.pointseg.downsample.default, (keys, 2))
    arguments = (keys, None, coarser.keys, coarser.parents, 1, 2)
    torch.library.opcheck(torch.ops.pointseg.downsample_map.default, arguments)


@pytest.mark.cpu_kernels
def test_parents_that_are_not_there_are_refused() -> None:
    """On a GPU nobody looks: there the map is found without them."""
    _, keys = sorted_voxels(scenes.random_voxels(40, 5, seed=1))
    coarser = ops.downsample(keys, 2)
    with pytest.raises(RuntimeError, match="parents: row 0 names"):
        ops.downsample_map(keys, coarser._replace(parents=coarser.parents + 1000), 1, 2)


@pytest.mark.cpu_kernels
def test_same_for_any_number_of_threads() -> None:
    _, keys = sorted_voxels(scenes.surface_voxels(30_000, seed=4))
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(ops.downsample(keys, 4))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
